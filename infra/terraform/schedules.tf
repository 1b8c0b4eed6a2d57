# The caretaker's clock: a tick for each duty when its time has come. One that is lost is made good by the next.

resource "google_cloud_scheduler_job" "tick" {
  for_each = local.schedules

  name        = each.key
  description = "Tells the caretaker to ${each.key}"
  region      = var.region
  schedule    = each.value.cron
  time_zone   = "Etc/UTC"

  pubsub_target {
    topic_name = google_pubsub_topic.this["ticks"].id
    data       = each.value.tick
  }

  retry_config {
    retry_count = 3
  }
}
