# From a commit to a release, where a repository is connected: one build checks it and saves a plan; another one, which a
# person must approve, applies that plan. Neither uses Cloud Build's default identity.

locals {
  pipelines = toset([for repository in compact([var.repository]) : "this"])

  # What a plan must see, and what applying it must do. Nobody here is an editor or an owner.
  planner_roles = [
    "roles/browser",
    "roles/iam.securityReviewer",
    "roles/logging.logWriter",
    "roles/viewer",
  ]
  releaser_roles = [
    "roles/artifactregistry.admin",
    "roles/cloudbuild.connectionViewer",
    "roles/cloudbuild.builds.editor",
    "roles/cloudfunctions.admin",
    "roles/cloudscheduler.admin",
    "roles/cloudsql.admin",
    "roles/compute.networkAdmin",
    "roles/datastore.owner",
    "roles/documentai.admin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountUser",
    "roles/logging.admin",
    "roles/monitoring.admin",
    "roles/pubsub.admin",
    "roles/resourcemanager.projectIamAdmin",
    "roles/run.admin",
    "roles/secretmanager.admin",
    "roles/serviceusage.serviceUsageAdmin",
    "roles/storage.admin",
  ]
}

resource "google_service_account" "planner" {
  for_each = local.pipelines

  account_id   = "pipeline-planner"
  display_name = "Drivestream's pipeline, checking and planning"
}

resource "google_service_account" "releaser" {
  for_each = local.pipelines

  account_id   = "pipeline-releaser"
  display_name = "Drivestream's pipeline, applying what was approved"
}

resource "google_project_iam_member" "planner" {
  for_each = { for role in local.planner_roles : role => role if length(local.pipelines) > 0 }

  project = var.project
  role    = each.key
  member  = google_service_account.planner["this"].member
}

resource "google_project_iam_member" "releaser" {
  for_each = { for role in local.releaser_roles : role => role if length(local.pipelines) > 0 }

  project = var.project
  role    = each.key
  member  = google_service_account.releaser["this"].member
}

# The planner keeps its plan beside the state, and its image beside the others; it changes nothing else.
resource "google_storage_bucket_iam_member" "planner" {
  for_each = local.pipelines

  bucket = var.state_bucket
  role   = "roles/storage.objectUser"
  member = google_service_account.planner[each.key].member
}

resource "google_artifact_registry_repository_iam_member" "planner" {
  for_each = local.pipelines

  repository = google_artifact_registry_repository.functions.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.planner[each.key].member
}

# It may ask for a release, which then waits for a person.
resource "google_project_iam_custom_role" "release_asker" {
  for_each = local.pipelines

  role_id     = "drivestreamReleaseAsker"
  title       = "Asks for a release of Drivestream"
  permissions = ["cloudbuild.builds.create", "cloudbuild.builds.get"]
}

resource "google_project_iam_member" "release_asker" {
  for_each = local.pipelines

  project = var.project
  role    = google_project_iam_custom_role.release_asker[each.key].id
  member  = google_service_account.planner[each.key].member
}

resource "google_service_account_iam_member" "release_asker" {
  for_each = local.pipelines

  service_account_id = google_service_account.releaser[each.key].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.planner[each.key].member
}

resource "google_cloudbuild_trigger" "check" {
  for_each = local.pipelines

  name            = "drivestream-check"
  description     = "Every commit on main: checked, bundled, planned"
  location        = var.region
  filename        = "cloudbuild.yaml"
  service_account = google_service_account.planner[each.key].id

  repository_event_config {
    repository = var.repository

    push {
      branch = "^main$"
    }
  }

  substitutions = {
    _REGION       = var.region
    _STATE_BUCKET = var.state_bucket
  }
}

resource "google_cloudbuild_trigger" "release" {
  for_each = local.pipelines

  name            = "drivestream-release"
  description     = "What was planned, after somebody approved it: migrated, applied, tried, or rolled back"
  location        = var.region
  service_account = google_service_account.releaser[each.key].id

  source_to_build {
    repository = var.repository
    ref        = "refs/heads/main"
    repo_type  = "UNKNOWN"
  }

  git_file_source {
    path       = "infra/cloudbuild/release.yaml"
    repository = var.repository
    revision   = "refs/heads/main"
    repo_type  = "UNKNOWN"
  }

  approval_config {
    approval_required = true
  }

  substitutions = {
    _PLANNED      = ""
    _REGION       = var.region
    _STATE_BUCKET = var.state_bucket
  }
}
