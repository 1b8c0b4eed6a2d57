# What is hot: cursors, channels, states of a consent. Expiry is checked in code; the policies here collect what is over.

resource "google_firestore_database" "this" {
  name                              = "(default)"
  location_id                       = var.region
  type                              = "FIRESTORE_NATIVE"
  concurrency_mode                  = "PESSIMISTIC"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = "DELETE"

  dynamic "cmek_config" {
    for_each = local.kms_key[*]
    content {
      kms_key_name = cmek_config.value
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.firestore]
}

resource "google_firestore_field" "ttl" {
  for_each = local.topology.firestore.ttl

  database   = google_firestore_database.this.name
  collection = each.key
  field      = each.value

  ttl_config {}

  # Nobody asks by it, and an index of a growing time is a hot place.
  index_config {}
}

resource "google_firestore_index" "this" {
  for_each = { for index in local.topology.firestore.indexes : "${index.collection}/${join(",", index.fields[*].path)}" => index }

  database    = google_firestore_database.this.name
  collection  = each.value.collection
  query_scope = try(each.value.query_scope, "COLLECTION")

  dynamic "fields" {
    for_each = each.value.fields
    content {
      field_path   = fields.value.path
      order        = try(fields.value.order, null)
      array_config = try(fields.value.array_config, null)
    }
  }
}
