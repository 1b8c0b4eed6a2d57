# Are the doors open? Asked from outside, without touching anything behind them.

locals {
  uptime = {
    dashboard      = { path = "/healthz", status = 200 }
    drive_webhook  = { path = "/", status = 405 } # it takes notifications by POST only
    oauth_callback = { path = "/", status = 404 } # its pages write a state each time; that there is nothing here it says itself
  }
}

resource "google_monitoring_uptime_check_config" "door" {
  for_each = local.uptime

  display_name = each.key
  period       = "300s"
  timeout      = "30s" # a first start may take some seconds

  http_check {
    path         = each.value.path
    port         = 443
    use_ssl      = true
    validate_ssl = true

    accepted_response_status_codes {
      status_value = each.value.status
    }
  }

  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project
      host       = trimprefix(local.doors[each.key], "https://")
    }
  }

  depends_on = [google_project_service.this]
}
