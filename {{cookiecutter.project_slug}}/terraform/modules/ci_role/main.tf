# A role that one CI host's pipelines may take, by the token that the host gives each of them; no key is kept anywhere.

locals {
  # What each host calls itself in its tokens, and whom a token of ours must be made for.
  hosts = {
    github = { issuer = "token.actions.githubusercontent.com", audience = "sts.amazonaws.com" }
    gitlab = { issuer = "gitlab.com", audience = "https://gitlab.com" }
  }
  issuer = local.hosts[var.host].issuer

  policies = {
    for name, statements in var.policies : name => {
      Version = "2012-10-17"
      Statement = [
        for each in statements : {
          for key, value in {
            Sid         = each.sid
            Effect      = each.effect
            Action      = each.actions
            Resource    = each.resources
            NotResource = each.all_resources_but
            Condition   = each.conditions
          } : key => value if value != null
        }
      ]
    }
  }
}

resource "aws_iam_role" "this" {
  name                 = var.name
  description          = var.description
  max_session_duration = 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:${var.partition}:iam::${var.account_id}:oidc-provider/${local.issuer}" }
      Condition = {
        StringEquals = merge(
          { "${local.issuer}:aud" = local.hosts[var.host].audience },
          { for claim, value in var.claims : "${local.issuer}:${claim}" => value },
        )
        StringLike = { "${local.issuer}:sub" = var.subjects }
      }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = local.policies

  name   = each.key
  role   = aws_iam_role.this.id
  policy = jsonencode(each.value)

  lifecycle {
    precondition {
      condition     = sum([for policy in local.policies : length(jsonencode(policy))]) <= 10240
      error_message = "AWS takes policies of 10240 characters in all into a role, and those of ${var.name} are longer."
    }
  }
}
