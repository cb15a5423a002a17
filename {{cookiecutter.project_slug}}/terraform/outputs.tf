output "bucket" {
  description = "Name of the data bucket: ledger, payloads, rejects, outcomes, files."
  value       = module.data_bucket.name
}

output "artifacts_bucket" {
  description = "Name of the bucket for packages of functions and layers."
  value       = module.artifacts_bucket.name
}

output "alarm_topic_arn" {
  description = "Topic that alarms speak to; its e-mail subscription must be confirmed once."
  value       = module.notifications.topic_arn
}

output "queue_urls" {
  description = "Queue URL by service."
  value       = { for service, each in module.service : service => each.queue_url }
}

output "dead_letter_queue_urls" {
  description = "Dead-letter queue URL by service."
  value       = { for service, each in module.service : service => each.dead_letter_queue_url }
}
