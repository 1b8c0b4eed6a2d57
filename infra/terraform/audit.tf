# Who read what people keep, and who changed what may: logged by Google, beside what changes anyway are.

resource "google_project_iam_audit_config" "reads" {
  for_each = toset([
    "cloudkms.googleapis.com",
    "cloudsql.googleapis.com",
    "iam.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
  ])

  project = var.project
  service = each.key

  audit_log_config {
    log_type = "ADMIN_READ"
  }
  audit_log_config {
    log_type = "DATA_READ"
  }
  audit_log_config {
    log_type = "DATA_WRITE"
  }
}
