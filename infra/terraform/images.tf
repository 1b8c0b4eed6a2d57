# Images: of the functions, which Cloud Build makes of their bundles, and of the migrations.

resource "google_artifact_registry_repository" "functions" {
  repository_id = "drivestream"
  description   = "Images of Drivestream's functions and migrations"
  location      = var.region
  format        = "DOCKER"
  kms_key_name  = local.kms_key

  cleanup_policies {
    id     = "keep-the-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-the-old"
    action = "DELETE"
    condition {
      older_than = "7776000s"
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.artifactregistry]
}
