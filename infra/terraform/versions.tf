terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
  }

  # terraform init -backend-config=bucket=BUCKET: where the state is kept is the operator's choice.
  backend "gcs" {
    prefix = "drivestream"
  }
}

provider "google" {
  project         = var.project
  region          = var.region
  billing_project = var.project

  # Budgets and some others are billed to a project by their caller, not by what they name.
  user_project_override = true

  default_labels = {
    application = "drivestream"
  }
}
