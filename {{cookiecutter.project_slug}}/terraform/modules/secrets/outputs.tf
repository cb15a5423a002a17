output "parameter_names" {
  description = "Name of each secret's parameter, by the secret's name."
  value       = { for name, parameter in aws_ssm_parameter.this : name => parameter.name }
}
