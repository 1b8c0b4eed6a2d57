# The database has no public address, so what changes its tables runs beside it: a job that the pipeline starts.

resource "google_service_account" "migrations" {
  account_id   = "migrations"
  display_name = "Drivestream, changing tables"

  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_iam_member" "migrations" {
  secret_id = google_secret_manager_secret.this["database-admin"].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.migrations.member
}

resource "google_cloud_run_v2_job" "migrations" {
  name                = "migrations"
  location            = var.region
  deletion_protection = var.deletion_protection

  template {
    template {
      service_account = google_service_account.migrations.email
      encryption_key  = local.kms_key
      max_retries     = 0
      timeout         = "3600s"

      containers {
        image = local.migrations_image
        args = concat(
          ["--url-secret", "${google_secret_manager_secret.this["database-admin"].id}/versions/latest"],
          flatten([for name, user in google_sql_user.function : ["--login", "drivestream_${name}=${user.name}"]]),
        )

        env {
          name  = "GOOGLE_CLOUD_PROJECT"
          value = var.project
        }
      }

      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"

        network_interfaces {
          network    = google_compute_network.this.id
          subnetwork = google_compute_subnetwork.functions.id
        }
      }
    }
  }

  lifecycle {
    # The pipeline starts it with the image of the release before it applies the rest.
    ignore_changes = [template[0].template[0].containers[0].image]
  }

  depends_on = [google_secret_manager_secret_iam_member.migrations]
}

locals {
  # Something that ends at once, until the first release has an image of its own.
  migrations_image = "us-docker.pkg.dev/cloudrun/container/job:latest"
}
