output "dashboard_url" {
  description = "Where people search, and connect their Drive."
  value       = local.doors.dashboard
  depends_on  = [google_cloud_run_v2_service_iam_member.anybody]
}

output "database_connection_name" {
  description = "The Cloud SQL instance, as its connectors name it."
  value       = google_sql_database_instance.this.connection_name
}

output "database_private_address" {
  description = "The address of Postgres inside the network."
  value       = google_sql_database_instance.this.private_ip_address
}

output "next_steps" {
  description = "What is left to a person after the first apply."
  value       = <<-EOT
    1. Register ${local.doors.oauth_callback}/callback as a redirect URI of the OAuth client ${var.oauth_client_id}.
    2. Give the secrets their values:
         gcloud secrets versions add oauth-client-secret --project ${var.project} --data-file=-
         python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())' | gcloud secrets versions add token-keys --project ${var.project} --data-file=-
         gcloud sql users set-password postgres --instance ${google_sql_database_instance.this.name} --project ${var.project} --prompt-for-password
         gcloud secrets versions add database-admin --project ${var.project} --data-file=-
       The last is postgresql://postgres:PASSWORD@${google_sql_database_instance.this.private_ip_address}/${google_sql_database.this.name}?sslmode=require
    3. Make the tables (the pipeline, where there is one, does so at each release):
         gcloud builds submit --config infra/cloudbuild/migrations.yaml --substitutions _REGION=${var.region},_TAG=first --project ${var.project} .
         gcloud run jobs update ${google_cloud_run_v2_job.migrations.name} --image ${google_artifact_registry_repository.functions.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.functions.repository_id}/migrations:first --region ${var.region} --project ${var.project}
         gcloud run jobs execute ${google_cloud_run_v2_job.migrations.name} --region ${var.region} --project ${var.project} --wait
    4. ./dev preflight --project ${var.project} --region ${var.region}
    5. Open ${local.doors.dashboard} and connect a first person.
  EOT
}

output "oauth_redirect" {
  description = "The redirect URI to register with the OAuth client."
  value       = "${local.doors.oauth_callback}/callback"
  depends_on  = [google_cloud_run_v2_service_iam_member.anybody]
}

output "webhook_address" {
  description = "Where Drive sends its notifications."
  value       = local.doors.drive_webhook
  depends_on  = [google_cloud_run_v2_service_iam_member.anybody]
}
