# What is counted, promised and called out. All of it is said in infra/observability.json; docs/observability.md explains it.

locals {
  observability = jsondecode(file("${path.module}/../observability.json"))

  log_filters = {
    for name, metric in local.observability.metrics : name => join(" AND ", concat(
      ["resource.type=\"cloud_run_revision\""],
      [for field, value in metric.where : value == "*" ? "jsonPayload.${field}:*" : "jsonPayload.${field}=\"${value}\""],
    ))
  }

  # What one alert or tile looks at: a metric of ours, which comes with the log of Cloud Run, or one of Google's.
  looked_at = {
    for key, one in merge(
      { for name, alert in local.observability.alerts : "alert/${name}" => alert },
      { for index, tile in local.observability.tiles : "tile/${index}" => tile },
      ) : key => join(" AND ", concat(
        [
          "metric.type=\"${can(one.metric) ? "logging.googleapis.com/user/${google_logging_metric.this[one.metric].name}" : one.type}\"",
          "resource.type=\"${try(one.resource, "cloud_run_revision")}\"",
        ],
        [for label, value in try(one.only, {}) : "${label}=${value}"],
    ))
  }
  grouped_by = {
    for key, one in merge(
      { for name, alert in local.observability.alerts : "alert/${name}" => alert },
      { for index, tile in local.observability.tiles : "tile/${index}" => tile },
      ) : key => concat(
      [for label in try(one.by, []) : "metric.label.${label}"],
      [for label in try(one.by_resource, []) : "resource.label.${label}"],
    )
  }

  # How many times faster than allowed the error budget goes when this share of it is gone within so many hours.
  burns = {
    for name, burn in local.observability.burns : name => merge(local.observability.burn_rates[burn.rate], {
      slo       = burn.slo
      threshold = local.observability.burn_rates[burn.rate].budget * local.observability.slos[burn.slo].days * 24 / local.observability.burn_rates[burn.rate].hours
    })
  }
}

variable "runbooks" {
  description = "Where docs/runbooks is read: alerts link to its pages."
  type        = string
  default     = "https://github.com/drivestream/drivestream/blob/main/docs/runbooks"

  validation {
    condition     = can(regex("^https://[^ ]+[^/ ]$", var.runbooks))
    error_message = "Give an address that begins with https:// and does not end with a slash."
  }
}

resource "google_logging_metric" "this" {
  for_each = local.observability.metrics

  name        = "drivestream/${each.key}"
  description = each.value.description
  filter      = local.log_filters[each.key]

  value_extractor  = can(each.value.value) ? "EXTRACT(jsonPayload.${each.value.value})" : null
  label_extractors = { for label in each.value.labels : label => "EXTRACT(jsonPayload.${label})" }

  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = can(each.value.value) ? "DISTRIBUTION" : "INT64"
    unit         = try(each.value.unit, "1")
    display_name = each.value.description

    dynamic "labels" {
      for_each = each.value.labels
      content {
        key        = labels.value
        value_type = "STRING"
      }
    }
  }

  # A number that is a state and no duration may be anything from a millionth to billions.
  dynamic "bucket_options" {
    for_each = can(each.value.value) ? [try(each.value.bounds, null)] : []
    content {
      dynamic "explicit_buckets" {
        for_each = [for bounds in [bucket_options.value] : bounds if bounds != null]
        content {
          bounds = explicit_buckets.value
        }
      }
      dynamic "exponential_buckets" {
        for_each = bucket_options.value == null ? [1] : []
        content {
          num_finite_buckets = 160
          growth_factor      = 1.3
          scale              = 0.000001
        }
      }
    }
  }
}

# Promises -------------------------------------------------------------------------------------------------------------

resource "google_monitoring_custom_service" "this" {
  service_id   = "drivestream"
  display_name = "Drivestream"
}

resource "google_monitoring_slo" "this" {
  for_each = local.observability.slos

  service             = google_monitoring_custom_service.this.service_id
  slo_id              = each.key
  display_name        = each.value.description
  goal                = each.value.goal
  rolling_period_days = each.value.days

  request_based_sli {
    dynamic "distribution_cut" {
      for_each = can(each.value.metric) ? [each.value] : []
      content {
        distribution_filter = join(" AND ", concat(
          ["metric.type=\"logging.googleapis.com/user/${google_logging_metric.this[distribution_cut.value.metric].name}\"", "resource.type=\"cloud_run_revision\""],
          [for label, value in distribution_cut.value.labels : "metric.labels.${label}=\"${value}\""],
        ))
        range {
          min = try(distribution_cut.value.range.min, null)
          max = try(distribution_cut.value.range.max, null)
        }
      }
    }

    dynamic "good_total_ratio" {
      for_each = can(each.value.services) ? [join(" AND ", [
        "metric.type=\"run.googleapis.com/request_count\"",
        "resource.type=\"cloud_run_revision\"",
        "resource.labels.service_name=one_of(${join(", ", [for service in each.value.services : "\"${service}\""])})",
      ])] : []
      content {
        total_service_filter = good_total_ratio.value
        bad_service_filter   = "${good_total_ratio.value} AND metric.labels.response_code_class=\"5xx\""
      }
    }
  }
}

# Both windows must burn: the long one says that it matters, the short one that it still goes on.
resource "google_monitoring_alert_policy" "burn" {
  for_each = local.burns

  display_name          = "${each.key}: ${local.observability.slos[each.value.slo].description}"
  combiner              = "AND"
  severity              = each.value.severity
  notification_channels = [google_monitoring_notification_channel.operator.id]

  dynamic "conditions" {
    for_each = { long = each.value.hours * 3600, short = each.value.short_minutes * 60 }
    content {
      display_name = "${conditions.key} window of ${conditions.value} s"
      condition_threshold {
        filter          = "select_slo_burn_rate(\"${google_monitoring_slo.this[each.value.slo].id}\", \"${conditions.value}s\")"
        comparison      = "COMPARISON_GT"
        threshold_value = each.value.threshold
        duration        = "0s"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "What to do: ${var.runbooks}/${each.key}.md"
  }
}

# Alerts ---------------------------------------------------------------------------------------------------------------

resource "google_monitoring_alert_policy" "this" {
  for_each = local.observability.alerts

  display_name          = "${each.key}: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = [google_monitoring_notification_channel.operator.id]

  conditions {
    display_name = each.value.title

    dynamic "condition_threshold" {
      for_each = try(each.value.absent, false) ? [] : [each.value]
      content {
        filter          = local.looked_at["alert/${each.key}"]
        comparison      = can(each.value.above) ? "COMPARISON_GT" : "COMPARISON_LT"
        threshold_value = try(each.value.above, each.value.below)
        duration        = "0s"

        aggregations {
          alignment_period     = "${each.value.minutes * 60}s"
          per_series_aligner   = each.value.aligner
          cross_series_reducer = each.value.reducer
          group_by_fields      = local.grouped_by["alert/${each.key}"]
        }
      }
    }

    dynamic "condition_absent" {
      for_each = try(each.value.absent, false) ? [each.value] : []
      content {
        filter   = local.looked_at["alert/${each.key}"]
        duration = "${each.value.minutes * 60}s"

        aggregations {
          alignment_period     = "300s"
          per_series_aligner   = each.value.aligner
          cross_series_reducer = each.value.reducer
        }
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "What to do: ${var.runbooks}/${each.key}.md"
  }
}

# The page -------------------------------------------------------------------------------------------------------------

resource "google_monitoring_dashboard" "this" {
  dashboard_json = jsonencode({
    displayName = "Drivestream"
    mosaicLayout = {
      columns = 48
      tiles = [for index, tile in local.observability.tiles : {
        xPos   = index % 2 * 24
        yPos   = floor(index / 2) * 16
        width  = 24
        height = 16
        widget = {
          title = tile.title
          xyChart = {
            dataSets = [{
              plotType = "LINE"
              timeSeriesQuery = {
                timeSeriesFilter = {
                  filter = local.looked_at["tile/${index}"]
                  aggregation = {
                    alignmentPeriod    = "900s"
                    perSeriesAligner   = tile.aligner
                    crossSeriesReducer = tile.reducer
                    groupByFields      = local.grouped_by["tile/${index}"]
                  }
                }
              }
            }]
          }
        }
      }]
    }
  })
}

# How old a secret is its metadata say, which whoever may read the secret may not see by that.
resource "google_secret_manager_secret_iam_member" "age" {
  secret_id = google_secret_manager_secret.this["token-keys"].id
  role      = "roles/secretmanager.viewer"
  member    = google_service_account.function["channel_renewer"].member
}

# Traces ---------------------------------------------------------------------------------------------------------------

resource "google_project_service" "traces" {
  for_each = toset(["cloudtrace.googleapis.com", "telemetry.googleapis.com"])

  service            = each.key
  disable_on_destroy = false
}

resource "google_project_iam_member" "traces" {
  for_each = google_service_account.function

  project = var.project
  role    = "roles/telemetry.tracesWriter"
  member  = "serviceAccount:${each.value.email}"
}
