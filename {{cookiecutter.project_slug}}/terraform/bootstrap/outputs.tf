output "state_bucket" {
  description = "Name of the bucket of the stage's state."
  value       = module.state_bucket.name
}

output "permissions_boundary_arn" {
  description = "ARN of the policy that limits every role of the stage."
  value       = aws_iam_policy.boundary.arn
}

output "ci_role_arns" {
  description = "ARN of each role that a pipeline takes, deploy and plan; none where config/<stage>.yml has no `ci`."
  value       = { for purpose, role in module.ci_role : purpose => role.arn }
}

output "secret_parameters" {
  description = "Name of the parameter of each secret; values are set by hand, never here."
  value       = module.secrets.parameter_names
}
