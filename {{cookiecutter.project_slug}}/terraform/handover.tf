# What serverless.yml has to know of what is made here, beside each service's own parameters.

resource "aws_ssm_parameter" "bucket" {
  name        = "${local.parameter_prefix}/bucket"
  description = "Name of the data bucket."
  type        = "String"
  value       = module.data_bucket.name
}

resource "aws_ssm_parameter" "artifacts_bucket" {
  name        = "${local.parameter_prefix}/artifacts_bucket"
  description = "Name of the bucket for packages."
  type        = "String"
  value       = module.artifacts_bucket.name
}

resource "aws_ssm_parameter" "queue_urls" {
  for_each = local.services

  name        = "${local.parameter_prefix}/${each.key}/queue_urls"
  description = "JSON: queue URL by service, of ${each.key} and of those it sends to."
  type        = "String"
  value = jsonencode({
    for service in concat([each.key], local.recipients[each.key]) : service => module.service[service].queue_url
  })

  tags = { service = each.key }
}
