# What is planned for a new project, with a provider that makes nothing: `./dev infra` runs it.

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

run "a_new_project" {
  command = plan

  assert {
    condition     = length(google_cloudfunctions2_function.this) == 11
    error_message = "Seven functions, two of which have three lanes."
  }

  assert {
    condition     = toset(keys(google_cloud_run_v2_service_iam_member.anybody)) == toset(["dashboard", "drive-webhook", "oauth-callback"])
    error_message = "Anybody may call the three doors and nothing else."
  }

  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.this : function.service_config[0].min_instance_count == 0 && function.service_config[0].max_instance_count <= 100])
    error_message = "An idle function costs nothing, and none grows beyond 100 instances."
  }

  assert {
    condition     = google_cloudfunctions2_function.this["ai-processor-ocr"].service_config[0].environment_variables.PUSH_AUDIENCE == "https://ai-processor-ocr-123456789012.us-central1.run.app"
    error_message = "A push is meant for one deployment."
  }

  assert {
    condition     = google_cloudfunctions2_function.this["ai-processor"].service_config[0].environment_variables.DOCUMENTAI_PROCESSOR == "projects/123456789012/locations/us/processors/0123456789abcdef/processorVersions/pretrained-ocr-v2.0-2023-06-02"
    error_message = "The processor is named with its version."
  }

  assert {
    condition     = google_pubsub_subscription.this["file-streamer-ocr"].push_config[0].oidc_token[0].audience == google_cloudfunctions2_function.this["file-streamer-ocr"].service_config[0].environment_variables.PUSH_AUDIENCE
    error_message = "Who pushes and who is pushed to agree about the audience."
  }

  assert {
    condition     = alltrue([for name, subscription in google_pubsub_subscription.this : length(subscription.dead_letter_policy) == 1 || name == "dead-letters"])
    error_message = "Only dead letters have no dead letters."
  }

  assert {
    condition     = !contains(keys(google_cloudfunctions2_function.this["drive-webhook"].service_config[0].environment_variables), "CLOUD_SQL_INSTANCE") && length(google_cloudfunctions2_function.this["drive-webhook"].service_config[0].direct_vpc_network_interface) == 0
    error_message = "The public door for notifications has no way to the database."
  }

  assert {
    condition     = output.oauth_redirect == "https://oauth-callback-123456789012.us-central1.run.app/callback"
    error_message = "The redirect URI is known before anything is made."
  }

  assert {
    condition     = length(google_billing_budget.month) == 0 && length(google_kms_crypto_key_iam_member.pubsub) == 0 && length(google_cloudbuild_trigger.release) == 0
    error_message = "Without a billing account, a key and a repository there is nothing of theirs."
  }
}

run "with_all_that_may_be_chosen" {
  command = plan

  variables {
    addresses       = { dashboard = "https://drive.example.com" }
    budget          = { billing_account = "012345-6789AB-CDEF01", amount = 900 }
    kms_key         = "projects/keys/locations/us-central1/keyRings/r/cryptoKeys/k"
    repository      = "projects/drivestream-test/locations/us-central1/connections/c/repositories/r"
    settings        = { ENTITIES = "off" }
    vertex_location = "global"
  }

  assert {
    condition     = google_cloudfunctions2_function.this["dashboard"].service_config[0].environment_variables.DASHBOARD_URL == "https://drive.example.com"
    error_message = "An own domain is what a function is told."
  }

  assert {
    condition     = alltrue([for function in google_cloudfunctions2_function.this : function.service_config[0].environment_variables.ENTITIES == "off"])
    error_message = "A setting is the same in all functions, or one file would have two models."
  }

  assert {
    condition     = google_cloudfunctions2_function.this["dashboard"].service_config[0].environment_variables.VERTEX_ENDPOINT == "https://aiplatform.googleapis.com"
    error_message = "The global location has a host of its own."
  }

  assert {
    condition     = google_sql_database_instance.this.encryption_key_name == var.kms_key && google_pubsub_topic.this["file-chunks"].kms_key_name == var.kms_key
    error_message = "What is stored is encrypted with the operator's key."
  }

  assert {
    condition     = google_cloudbuild_trigger.release["this"].approval_config[0].approval_required
    error_message = "Nothing is deployed that nobody approved."
  }
}

run "a_database_too_small_for_the_connections" {
  command = plan

  variables {
    database = { tier = "db-custom-1-3840" }
  }

  expect_failures = [google_sql_database_instance.this]
}

run "values_that_cannot_be_meant" {
  command = plan

  variables {
    addresses       = { dashboard = "http://drive.example.com/" }
    alert_email     = "operator"
    budget          = { billing_account = "mine" }
    kms_key         = "k"
    oauth_client_id = "x"
    project         = "P"
    region          = "Europe"
    repository      = "https://github.com/x/y"
    settings        = { DATABASE_URL = "postgresql://elsewhere" }
    state_bucket    = "gs://state"
    vertex_location = "here"
    document_ai     = { location = "mars" }
  }

  expect_failures = [
    var.addresses,
    var.alert_email,
    var.budget,
    var.document_ai,
    var.kms_key,
    var.oauth_client_id,
    var.project,
    var.region,
    var.repository,
    var.settings,
    var.state_bucket,
    var.vertex_location,
  ]
}
