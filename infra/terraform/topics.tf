# What functions say to each other: topics that refuse what does not parse, and our own push subscriptions.

resource "google_pubsub_schema" "this" {
  for_each = toset([for topic in values(local.topics) : topic.schema if topic.schema != null])

  name       = trimsuffix(each.key, ".proto")
  type       = "PROTOCOL_BUFFER"
  definition = file("${path.module}/../../schemas/messages/${each.key}")

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic" "this" {
  for_each = local.topics

  name                       = each.key
  kms_key_name               = local.kms_key
  message_retention_duration = "604800s" # a week can be told again, as after a restore

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  dynamic "schema_settings" {
    for_each = each.value.schema[*]
    content {
      schema   = google_pubsub_schema.this[schema_settings.value].id
      encoding = "BINARY"
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.pubsub]
}

resource "google_pubsub_subscription" "this" {
  for_each = local.subscriptions

  name                       = each.key
  topic                      = google_pubsub_topic.this[each.value.topic].id
  filter                     = try(each.value.filter, null)
  ack_deadline_seconds       = each.value.ack_deadline_seconds
  message_retention_duration = "604800s"

  # Without this a subscription that nothing was said to for a month is gone.
  expiration_policy {
    ttl = ""
  }

  push_config {
    push_endpoint = local.functions[each.value.deployment].url

    oidc_token {
      service_account_email = google_service_account.pusher[each.value.function].email
      audience              = local.functions[each.value.deployment].url
    }
  }

  retry_policy {
    minimum_backoff = "${each.value.minimum_backoff_seconds}s"
    maximum_backoff = "${each.value.maximum_backoff_seconds}s"
  }

  dynamic "dead_letter_policy" {
    for_each = each.value.max_delivery_attempts[*]
    content {
      dead_letter_topic     = google_pubsub_topic.this["dead-letters"].id
      max_delivery_attempts = dead_letter_policy.value
    }
  }

  # A message that comes before its function does is only tried again; one that nobody may push is a dead letter.
  depends_on = [google_cloud_run_v2_service_iam_member.pusher, google_pubsub_topic_iam_member.dead_letters]
}

# Pub/Sub itself moves a dead letter: it publishes it there, and acknowledges it here.
resource "google_pubsub_topic_iam_member" "dead_letters" {
  topic  = google_pubsub_topic.this["dead-letters"].name
  role   = "roles/pubsub.publisher"
  member = "serviceAccount:${local.service_agent.pubsub}"
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = { for name, subscription in local.subscriptions : name => subscription if subscription.max_delivery_attempts != null }

  subscription = google_pubsub_subscription.this[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = "serviceAccount:${local.service_agent.pubsub}"
}
