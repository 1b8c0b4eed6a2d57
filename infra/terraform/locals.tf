# What infra/topology.json says, once, for the one-machine stack and for this project; and what follows from it.

data "google_project" "this" {
  project_id = var.project
}

locals {
  topology = jsondecode(file("${path.module}/../topology.json"))

  topics        = local.topology.topics
  subscriptions = local.topology.subscriptions
  schedules     = local.topology.schedules
  secrets       = local.topology.secrets
  # What is deployed: the seven functions, and each lane of two of them on its own.
  functions = {
    for name, deployment in local.topology.deployments : name => merge(
      local.topology.functions[deployment.function],
      deployment,
      # Known before it is made, so that a function can be told its own address.
      { url = "https://${name}-${data.google_project.this.number}.${var.region}.run.app" },
    )
  }
  # Per function, not per lane: identity and rights.
  roles = local.topology.functions
  doors = {
    for name in ["oauth_callback", "drive_webhook", "dashboard"] :
    name => var.addresses[name] != "" ? var.addresses[name] : local.functions[replace(name, "_", "-")].url
  }
  # Who is pushed to.
  pushed = toset([for subscription in values(local.subscriptions) : subscription.function])

  bundles = jsondecode(file("${var.bundles}/bundles.json"))
  kms_key = var.kms_key == "" ? null : var.kms_key

  service_agent = {
    for service in ["artifactregistry", "cloud-sql", "pubsub", "secretmanager"] :
    service => "service-${data.google_project.this.number}@gcp-sa-${service}.iam.gserviceaccount.com"
  }
}
