# Secrets without values: an operator adds the versions, so that no value is ever in a state or a plan.

resource "google_secret_manager_secret" "this" {
  for_each = local.secrets

  secret_id = each.key

  replication {
    user_managed {
      replicas {
        location = var.region

        dynamic "customer_managed_encryption" {
          for_each = local.kms_key[*]
          content {
            kms_key_name = customer_managed_encryption.value
          }
        }
      }
    }
  }

  # A key that opens everybody's grants can be had back for a week after somebody destroyed its version.
  version_destroy_ttl = "604800s"

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.secretmanager]
}
