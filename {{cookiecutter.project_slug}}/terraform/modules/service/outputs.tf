output "queue_arn" {
  description = "ARN of the queue."
  value       = aws_sqs_queue.this.arn
}

output "queue_url" {
  description = "URL of the queue."
  value       = aws_sqs_queue.this.url
}

output "dead_letter_queue_url" {
  description = "URL of the dead-letter queue."
  value       = aws_sqs_queue.dead_letters.url
}

output "role_arn" {
  description = "ARN of the function's role."
  value       = aws_iam_role.this.arn
}

output "permissions_boundary_arn" {
  description = "ARN of the policy that the role can never go beyond."
  value       = aws_iam_role.this.permissions_boundary
}

output "names" {
  description = "Names of the queue, the dead-letter queue and the function, as metrics know them."
  value = {
    queue             = aws_sqs_queue.this.name
    dead_letter_queue = aws_sqs_queue.dead_letters.name
    function          = var.name
  }
}
