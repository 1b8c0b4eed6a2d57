# With a key of the operator's own, the services that store may use it; without one there is nothing here.

locals {
  key_users = {
    artifactregistry = ["serviceAccount:${local.service_agent.artifactregistry}"]
    cloudsql         = ["serviceAccount:${local.service_agent.cloud-sql}"]
    firestore        = ["serviceAccount:service-${data.google_project.this.number}@gcp-sa-firestore.iam.gserviceaccount.com"]
    functions = [
      "serviceAccount:service-${data.google_project.this.number}@gcf-admin-robot.iam.gserviceaccount.com",
      "serviceAccount:service-${data.google_project.this.number}@serverless-robot-prod.iam.gserviceaccount.com",
    ]
    pubsub        = ["serviceAccount:${local.service_agent.pubsub}"]
    secretmanager = ["serviceAccount:${local.service_agent.secretmanager}"]
    storage       = ["serviceAccount:service-${data.google_project.this.number}@gs-project-accounts.iam.gserviceaccount.com"]
  }
}

resource "google_kms_crypto_key_iam_member" "artifactregistry" {
  for_each = local.kms_key == null ? [] : toset(local.key_users.artifactregistry)

  crypto_key_id = local.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.key
}

resource "google_kms_crypto_key_iam_member" "cloudsql" {
  for_each = local.kms_key == null ? [] : toset(local.key_users.cloudsql)

  crypto_key_id = local.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.key
}

resource "google_kms_crypto_key_iam_member" "firestore" {
  for_each = local.kms_key == null ? [] : toset(local.key_users.firestore)

  crypto_key_id = local.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.key
}

resource "google_kms_crypto_key_iam_member" "functions" {
  for_each = local.kms_key == null ? [] : toset(local.key_users.functions)

  crypto_key_id = local.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.key
}

resource "google_kms_crypto_key_iam_member" "pubsub" {
  for_each = local.kms_key == null ? [] : toset(local.key_users.pubsub)

  crypto_key_id = local.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.key
}

resource "google_kms_crypto_key_iam_member" "secretmanager" {
  for_each = local.kms_key == null ? [] : toset(local.key_users.secretmanager)

  crypto_key_id = local.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.key
}

resource "google_kms_crypto_key_iam_member" "storage" {
  for_each = local.kms_key == null ? [] : toset(local.key_users.storage)

  crypto_key_id = local.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.key
}
