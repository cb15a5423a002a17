output "arn" {
  description = "The role's ARN, which a pipeline names when it takes the role."
  value       = aws_iam_role.this.arn
}

output "name" {
  description = "The role's name."
  value       = aws_iam_role.this.name
}
