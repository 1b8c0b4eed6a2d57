# The functions, from bundles whose hash is in the name of the object: other bytes are another deployment, equal ones none.

resource "google_storage_bucket" "bundles" {
  name     = "${var.project}-drivestream-bundles"
  location = var.region

  public_access_prevention    = "enforced"
  uniform_bucket_level_access = true
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = true
  }

  # A bundle is rebuilt from its commit, so that old ones are kept for rolling back only.
  lifecycle_rule {
    condition {
      age                = 90
      num_newer_versions = 3
    }
    action {
      type = "Delete"
    }
  }

  dynamic "encryption" {
    for_each = local.kms_key[*]
    content {
      default_kms_key_name = encryption.value
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.storage]
}

resource "google_storage_bucket_object" "bundle" {
  for_each = local.roles

  bucket          = google_storage_bucket.bundles.name
  name            = "${each.key}/${local.bundles[each.key].sha256}.zip"
  source          = "${var.bundles}/${each.key}.zip"
  deletion_policy = "ABANDON" # what ran yesterday must be there to be rolled back to

  lifecycle {
    precondition {
      condition     = filesha256("${var.bundles}/${each.key}.zip") == local.bundles[each.key].sha256
      error_message = "${each.key}.zip is not the bundle that bundles.json names: run ./dev bundle again."
    }
  }
}

resource "google_cloudfunctions2_function" "this" {
  for_each = local.functions

  name         = each.key
  location     = var.region
  description  = "Drivestream's ${each.value.function}"
  kms_key_name = local.kms_key

  build_config {
    runtime           = "python312"
    entry_point       = each.value.function
    service_account   = google_service_account.builder.id
    docker_repository = google_artifact_registry_repository.functions.id

    source {
      storage_source {
        bucket = google_storage_bucket.bundles.name
        object = google_storage_bucket_object.bundle[each.value.function].name
      }
    }
  }

  service_config {
    available_memory                 = each.value.memory
    available_cpu                    = each.value.cpu
    max_instance_request_concurrency = each.value.concurrency
    timeout_seconds                  = each.value.timeout_seconds
    min_instance_count               = each.value.minimum_instances
    max_instance_count               = each.value.maximum_instances
    service_account_email            = google_service_account.function[each.value.function].email
    all_traffic_on_latest_revision   = true
    # Pub/Sub of the same project comes from inside; nobody else has anything to say to what is pushed to.
    ingress_settings = each.value.public ? "ALLOW_ALL" : "ALLOW_INTERNAL_ONLY"
    environment_variables = merge(
      { for name in each.value.environment : name => local.environment[each.key][name] },
      var.settings,
      { THREADS = tostring(each.value.concurrency) }, # of the server: fewer would let requests wait inside an instance
    )

    # Only Postgres is behind the private network; Google's own services are reached as ever.
    direct_vpc_egress = contains(each.value.touches, "cloud_sql") ? "VPC_EGRESS_PRIVATE_RANGES_ONLY" : null

    dynamic "direct_vpc_network_interface" {
      for_each = contains(each.value.touches, "cloud_sql") ? [google_compute_subnetwork.functions] : []
      content {
        network    = google_compute_network.this.id
        subnetwork = direct_vpc_network_interface.value.id
      }
    }
  }

  depends_on = [
    google_project_iam_member.builder,
    google_project_iam_member.function,
    google_kms_crypto_key_iam_member.functions,
    google_sql_user.function,
  ]
}

locals {
  # What each deployment's environment may hold. The names are those of shared/config.py; a function gets those that
  # infra/topology.json lists for it.
  environment = {
    for name, function in local.functions : name => {
      GOOGLE_CLOUD_PROJECT = var.project
      CONNECT_URL          = local.doors.oauth_callback
      DASHBOARD_URL        = local.doors.dashboard
      WEBHOOK_URL          = local.doors.drive_webhook
      OAUTH_CLIENT_ID      = var.oauth_client_id
      OAUTH_CLIENT_SECRET  = "${google_secret_manager_secret.this["oauth-client-secret"].id}/versions/latest"
      TOKEN_KEYS_SECRET    = "${google_secret_manager_secret.this["token-keys"].id}/versions/latest"
      PUSH_SERVICE_ACCOUNT = try(google_service_account.pusher[function.function].email, null)
      PUSH_AUDIENCE        = function.url
      DOCUMENTAI_ENDPOINT  = "https://${var.document_ai.location}-documentai.googleapis.com"
      DOCUMENTAI_PROCESSOR = "${google_document_ai_processor.ocr.id}/processorVersions/${var.document_ai.version}"
      VERTEX_ENDPOINT      = var.vertex_location == "global" ? "https://aiplatform.googleapis.com" : "https://${var.vertex_location}-aiplatform.googleapis.com"
      VERTEX_LOCATION      = var.vertex_location
      CLOUD_SQL_INSTANCE   = google_sql_database_instance.this.connection_name
      CLOUD_SQL_ADDRESS    = google_sql_database_instance.this.private_ip_address
      CLOUD_SQL_CA         = join("\n", google_sql_database_instance.this.server_ca_cert[*].cert)
      CLOUD_SQL_USER       = trimsuffix(google_service_account.function[function.function].email, ".gserviceaccount.com")
      CLOUD_SQL_DATABASE   = google_sql_database.this.name
      DATABASE_CONNECTIONS = tostring(function.connections)

      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = "https://telemetry.googleapis.com/v1/traces"
    }
  }
}

# Drive and browsers cannot sign in to Google Cloud: these three check who calls themselves.
resource "google_cloud_run_v2_service_iam_member" "anybody" {
  for_each = { for name, function in local.functions : name => function if function.public }

  name     = google_cloudfunctions2_function.this[each.key].service_config[0].service
  location = var.region
  role     = "roles/run.invoker"
  member   = "allUsers"
}

resource "google_cloud_run_v2_service_iam_member" "pusher" {
  for_each = { for name, function in local.functions : name => function if !function.public }

  name     = google_cloudfunctions2_function.this[each.key].service_config[0].service
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.pusher[each.value.function].member
}
