# Who does what: an identity per function with no more than it needs, one per function that pushes to it, and the builder.

locals {
  roles_of_service = {
    cloud_sql   = ["roles/cloudsql.client", "roles/cloudsql.instanceUser"]
    document_ai = ["roles/documentai.apiUser"]
    firestore   = ["roles/datastore.user"]
    vertex_ai   = ["roles/aiplatform.user"]
  }

  function_roles = merge([
    for name, function in local.roles : {
      for role in flatten([for service in function.touches : local.roles_of_service[service]]) :
      "${name}/${role}" => { function = name, role = role }
    }
  ]...)

  function_topics = merge([
    for name, function in local.roles : {
      for topic in function.publishes : "${name}/${topic}" => { function = name, topic = topic }
    }
  ]...)

  function_secrets = merge([
    for name, function in local.roles : {
      for secret, of in local.secrets : "${name}/${secret}" => { function = name, secret = secret }
      if of.environment != null && contains(function.environment, coalesce(of.environment, "none"))
    }
  ]...)
}

resource "google_service_account" "function" {
  for_each = local.roles

  account_id   = replace(each.key, "_", "-")
  display_name = "Drivestream ${each.key}"

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "function" {
  for_each = local.function_roles

  project = var.project
  role    = each.value.role
  member  = google_service_account.function[each.value.function].member
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = local.function_topics

  topic  = google_pubsub_topic.this[each.value.topic].name
  role   = "roles/pubsub.publisher"
  member = google_service_account.function[each.value.function].member
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = local.function_secrets

  secret_id = google_secret_manager_secret.this[each.value.secret].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.function[each.value.function].member
}

# Pub/Sub speaks as one of these, and each may call the deployments of one function only.
resource "google_service_account" "pusher" {
  for_each = local.pushed

  account_id   = "push-${replace(each.key, "_", "-")}"
  display_name = "Pub/Sub, pushing to Drivestream's ${each.key}"

  depends_on = [google_project_service.this]
}

# Older projects lack this right of Pub/Sub's own agent; newer ones have it anyway.
resource "google_service_account_iam_member" "push_token" {
  for_each = local.pushed

  service_account_id = google_service_account.pusher[each.key].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:${local.service_agent.pubsub}"
}

# Builds the functions' images from their bundles.
resource "google_service_account" "builder" {
  account_id   = "function-builder"
  display_name = "Drivestream, building images of functions"

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "builder" {
  for_each = toset(["roles/logging.logWriter"])

  project = var.project
  role    = each.key
  member  = google_service_account.builder.member
}

resource "google_artifact_registry_repository_iam_member" "builder" {
  repository = google_artifact_registry_repository.functions.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.builder.member
}

resource "google_storage_bucket_iam_member" "builder" {
  bucket = google_storage_bucket.bundles.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.builder.member
}
