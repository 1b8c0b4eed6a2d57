# Postgres with pgvector. Functions log in as themselves, by IAM; roles and tables are made by infra/migrate.

locals {
  # Every instance of every deployment at its largest, and a fifth left over for people and for maintenance.
  connections     = sum([for function in values(local.functions) : function.maximum_instances * function.connections * function.pools])
  max_connections = ceil(local.connections / 0.8)
  memory_mb       = tonumber(element(split("-", var.database.tier), 3))
}

resource "google_sql_database_instance" "this" {
  name                = "drivestream"
  region              = var.region
  database_version    = "POSTGRES_18"
  encryption_key_name = local.kms_key
  deletion_protection = var.deletion_protection

  settings {
    tier                        = var.database.tier
    edition                     = "ENTERPRISE"
    availability_type           = var.database.highly_available ? "REGIONAL" : "ZONAL"
    disk_type                   = "PD_SSD"
    disk_size                   = var.database.disk_gb
    disk_autoresize             = true
    deletion_protection_enabled = var.deletion_protection

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.this.id
      ssl_mode        = "ENCRYPTED_ONLY"
      # Its own authority: whoever has a certificate of it is this instance. Functions are told it (CLOUD_SQL_CA).
      server_ca_mode = "GOOGLE_MANAGED_INTERNAL_CA"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = var.database.point_in_time_log
      start_time                     = "02:00"

      backup_retention_settings {
        retained_backups = var.database.retained_backups
      }
    }

    maintenance_window {
      day  = 7
      hour = 4
    }

    insights_config {
      query_insights_enabled = true
      # A statement is text of ours; what it is asked with is people's, and stays out.
      record_application_tags = true
      record_client_address   = false
    }

    database_flags {
      name  = "cloudsql.iam_authentication"
      value = "on"
    }

    database_flags {
      name  = "cloudsql.enable_pgaudit"
      value = "on"
    }

    database_flags {
      name  = "pgaudit.log"
      value = "ddl,role"
    }

    database_flags {
      name  = "max_connections"
      value = tostring(local.max_connections)
    }

    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }

    database_flags {
      name  = "log_connections"
      value = "on"
    }

    database_flags {
      name  = "log_disconnections"
      value = "on"
    }

    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }

    database_flags {
      name  = "log_min_messages"
      value = "error"
    }

    database_flags {
      name  = "log_min_error_statement"
      value = "error"
    }

    # A slow statement would be logged with what it was asked with; Query Insights shows it without.
    database_flags {
      name  = "log_min_duration_statement"
      value = "-1"
    }

    database_flags {
      name  = "log_statement"
      value = "ddl"
    }

    database_flags {
      name  = "log_temp_files"
      value = "0"
    }
  }

  lifecycle {
    precondition {
      condition     = local.memory_mb >= 10 * local.max_connections
      error_message = "${var.database.tier} has ${local.memory_mb} MB; ${local.max_connections} connections want 10 MB each. Take a larger tier, or fewer instances in infra/topology.json."
    }
  }

  depends_on = [google_service_networking_connection.services, google_kms_crypto_key_iam_member.cloudsql]
}

resource "google_sql_database" "this" {
  name     = "drivestream"
  instance = google_sql_database_instance.this.name
}

# The logins. What they may do says schemas/sql/roles.sql, by `python -m infra.migrate --login`.
resource "google_sql_user" "function" {
  for_each = { for name, function in local.roles : name => function if contains(function.touches, "cloud_sql") }

  name     = trimsuffix(google_service_account.function[each.key].email, ".gserviceaccount.com")
  instance = google_sql_database_instance.this.name
  type     = "CLOUD_IAM_SERVICE_ACCOUNT"
}
