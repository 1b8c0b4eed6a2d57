variable "addresses" {
  description = "Own domains of the three doors, such as { dashboard = \"https://drive.example.com\" }; without one a door has its run.app address."
  type = object({
    oauth_callback = optional(string, "")
    drive_webhook  = optional(string, "")
    dashboard      = optional(string, "")
  })
  default = {}

  validation {
    condition     = alltrue([for address in values(var.addresses) : address == "" || can(regex("^https://[a-z0-9.-]+$", address))])
    error_message = "An address is https:// and a host name, without a path or a slash at its end."
  }
}

variable "alert_email" {
  description = "Who is told when something is wrong."
  type        = string

  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.alert_email))
    error_message = "Give one e-mail address."
  }
}

variable "budget" {
  description = "A monthly budget on a billing account, with warnings at 50, 90 and 100 %. Without a billing account there is none."
  type = object({
    billing_account = optional(string, "")
    amount          = optional(number, 500)
    currency        = optional(string, "USD")
  })
  default = {}

  validation {
    condition     = var.budget.billing_account == "" || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account))
    error_message = "A billing account looks like 012345-6789AB-CDEF01."
  }

  validation {
    condition     = var.budget.amount >= 1 && floor(var.budget.amount) == var.budget.amount
    error_message = "A budget is a whole number of at least 1."
  }
}

variable "bundles" {
  description = "The folder that ./dev bundle has written."
  type        = string
  default     = "../../dist"
}

variable "database" {
  description = "The machine that Postgres runs on. Its memory must carry the connections of all instances, about 10 MB each."
  type = object({
    tier              = optional(string, "db-custom-4-16384")
    disk_gb           = optional(number, 100)
    highly_available  = optional(bool, true)
    retained_backups  = optional(number, 30)
    point_in_time_log = optional(number, 7)
  })
  default = {}

  validation {
    condition     = can(regex("^db-custom-[0-9]+-[0-9]+$", var.database.tier))
    error_message = "A tier looks like db-custom-CORES-MEGABYTES: shared cores carry neither the connections nor the index."
  }

  validation {
    condition     = var.database.point_in_time_log >= 1 && var.database.point_in_time_log <= 7
    error_message = "Cloud SQL keeps the log for going back to a moment for 1 to 7 days."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete what holds people's data. Turn it off, and apply, before tearing everything down."
  type        = bool
  default     = true
}

variable "document_ai" {
  description = "Where pages are recognised, and by which version of the processor: never by a default that moves."
  type = object({
    location = optional(string, "us")
    version  = optional(string, "pretrained-ocr-v2.0-2023-06-02")
  })
  default = {}

  validation {
    condition     = contains(["us", "eu"], var.document_ai.location)
    error_message = "Document AI's recognition is in us or eu."
  }

  validation {
    condition     = can(regex("^pretrained-ocr-v[0-9.]+-[0-9-]+$", var.document_ai.version))
    error_message = "Name one pretrained version, such as pretrained-ocr-v2.0-2023-06-02."
  }
}

variable "kms_key" {
  description = "A key of your own that what is stored is encrypted with, projects/P/locations/REGION/keyRings/R/cryptoKeys/K; Google's where it is empty."
  type        = string
  default     = ""

  validation {
    condition     = var.kms_key == "" || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "A key looks like projects/P/locations/REGION/keyRings/R/cryptoKeys/K."
  }
}

variable "oauth_client_id" {
  description = "The OAuth client (web application) that people give their consent to. Its secret is a version of oauth-client-secret."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+-[a-z0-9]+\\.apps\\.googleusercontent\\.com$", var.oauth_client_id))
    error_message = "A client id ends in .apps.googleusercontent.com; make the client in the console under APIs and services, Credentials."
  }
}

variable "project" {
  description = "The project that Drivestream has for itself."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "Give a project's id: 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "Where everything runs and is stored, except Document AI and the models."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region looks like us-central1."
  }
}

variable "repository" {
  description = "The repository that Cloud Build is connected to, projects/P/locations/REGION/connections/C/repositories/R. Without one there is no pipeline, and a person deploys."
  type        = string
  default     = ""

  validation {
    condition     = var.repository == "" || can(regex("^projects/[^/]+/locations/[^/]+/connections/[^/]+/repositories/[^/]+$", var.repository))
    error_message = "A repository looks like projects/P/locations/REGION/connections/C/repositories/R."
  }
}

variable "settings" {
  description = "Other values for settings of shared/config.py, for all functions alike, such as { ENTITIES = \"off\" }."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.settings), jsondecode(file("${path.module}/../topology.json")).settings.tunable)) == 0
    error_message = "Only the names under settings.tunable in infra/topology.json can be set; what names this project's parts is computed."
  }
}

variable "state_bucket" {
  description = "The bucket that holds the state, made before the first terraform init. The pipeline keeps its plans and what it has released there, too."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$", var.state_bucket))
    error_message = "Give the name of a bucket, without gs://."
  }
}

variable "vertex_location" {
  description = "The region of the models."
  type        = string
  default     = "us-central1"

  validation {
    condition     = var.vertex_location == "global" || can(regex("^[a-z]+-[a-z]+[0-9]+$", var.vertex_location))
    error_message = "A location is global or looks like us-central1."
  }
}
