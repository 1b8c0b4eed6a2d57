# Money: what a month may cost before somebody is told. A budget warns and stops nothing.

resource "google_monitoring_notification_channel" "operator" {
  display_name = "Drivestream's operator"
  type         = "email"

  labels = {
    email_address = var.alert_email
  }

  depends_on = [google_project_service.this]
}

resource "google_billing_budget" "month" {
  for_each = toset(compact([var.budget.billing_account]))

  billing_account = each.key
  display_name    = "Drivestream in ${var.project}"

  amount {
    specified_amount {
      currency_code = var.budget.currency
      units         = tostring(var.budget.amount)
    }
  }

  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }

  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  all_updates_rule {
    monitoring_notification_channels = [google_monitoring_notification_channel.operator.id]
  }

  depends_on = [google_project_service.this]
}
