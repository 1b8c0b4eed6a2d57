# What Terraform makes of infra/observability.json.

mock_provider "google" {
  override_during = plan

  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }

  mock_resource "google_service_account" {
    defaults = {
      name   = "projects/drivestream-test/serviceAccounts/x@drivestream-test.iam.gserviceaccount.com"
      email  = "x@drivestream-test.iam.gserviceaccount.com"
      member = "serviceAccount:x@drivestream-test.iam.gserviceaccount.com"
    }
  }

  mock_resource "google_document_ai_processor" {
    defaults = {
      id = "projects/123456789012/locations/us/processors/0123456789abcdef"
    }
  }

  mock_resource "google_monitoring_slo" {
    defaults = {
      id = "projects/drivestream-test/services/drivestream/serviceLevelObjectives/x"
    }
  }

  mock_resource "google_secret_manager_secret" {
    defaults = {
      id = "projects/drivestream-test/secrets/x"
    }
  }

  mock_resource "google_sql_database_instance" {
    defaults = {
      connection_name    = "drivestream-test:us-central1:drivestream"
      private_ip_address = "10.9.0.3"
    }
  }
}

variables {
  alert_email     = "operator@example.com"
  oauth_client_id = "123456789012-abc.apps.googleusercontent.com"
  project         = "drivestream-test"
  state_bucket    = "drivestream-test-state"
}

run "what_is_called_out" {
  command = plan

  assert {
    condition     = google_logging_metric.this["freshness_seconds"].filter == "resource.type=\"cloud_run_revision\" AND jsonPayload.message=\"file\" AND jsonPayload.seconds_to_search:* AND jsonPayload.state=\"indexed\""
    error_message = "A metric takes the lines that its definition says."
  }

  assert {
    condition = (
      abs(google_monitoring_alert_policy.burn["freshness-fast"].conditions[0].condition_threshold[0].threshold_value - 13.44) < 0.001 &&
      abs(google_monitoring_alert_policy.burn["availability-slow"].conditions[1].condition_threshold[0].threshold_value - 5.6) < 0.001
    )
    error_message = "2 % of 28 days within an hour is 13.44 times too fast, 5 % within six hours 5.6 times."
  }

  assert {
    condition     = google_monitoring_alert_policy.burn["availability-fast"].combiner == "AND" && length(google_monitoring_alert_policy.burn["availability-fast"].conditions) == 2
    error_message = "Both windows must burn."
  }

  assert {
    condition     = endswith(google_monitoring_alert_policy.this["drive-quota"].documentation[0].content, "/docs/runbooks/drive-quota.md")
    error_message = "An alert leads to its page."
  }

  assert {
    condition     = length(jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles) == length(local.observability.tiles)
    error_message = "Every tile is on the page."
  }
}
