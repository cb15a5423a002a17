# What a stage needs before its first deploy: the bucket of its state, the parameters of its secrets, the limit of all
# its roles, and the roles that pipelines take. Applied by hand, with rights that no pipeline has.

locals {
  workflow = yamldecode(file("${path.root}/../../workflow.yml"))
  config   = yamldecode(file("${path.root}/../../config/${var.stage}.yml"))

  prefix           = "${local.workflow.name}-${var.stage}"
  parameter_prefix = "/${local.workflow.name}/${var.stage}"
  region           = local.config.aws_region
  partition        = data.aws_partition.current.partition

  # Empty in a stage that nobody has filled in yet.
  account_id = local.config.aws_account_id == null ? "" : tostring(local.config.aws_account_id)

  # Of an AWS service in this stage's region and account: "${local.arn.sqs}:<queue>".
  arn = {
    for service in ["cloudformation", "cloudwatch", "events", "kms", "lambda", "logs", "sns", "sqs", "ssm"] :
    service => "arn:${local.partition}:${service}:${local.region}:${local.account_id}"
  }
  buckets = {
    for name in ["artifacts", "data", "state"] :
    name => "arn:${local.partition}:s3:::${local.prefix}-${name}-${local.account_id}"
  }
}

provider "aws" {
  region = local.region

  # Refuses another account before anything is read or destroyed there; the check below refuses it at every plan.
  allowed_account_ids = compact([local.account_id])

  # A place on this machine has one address for all buckets.
  s3_use_path_style = var.stage == "local"

  default_tags {
    tags = {
      client = local.workflow.name
      stage  = var.stage
    }
  }
}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {
  lifecycle {
    precondition {
      condition     = can(regex("^[0-9]{12}$", local.account_id))
      error_message = "config/${var.stage}.yml: aws_account_id is 12 digits, in quotes, since YAML drops leading zeros."
    }

    # It goes into a pattern, where a * would let every branch in.
    precondition {
      condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]*$", local.branch))
      error_message = "config/${var.stage}.yml: ci.branch is one branch, named in full: letters, digits, dots, slashes, hyphens and underscores."
    }

    postcondition {
      condition     = self.account_id == local.account_id
      error_message = "These credentials belong to account ${self.account_id}, and config/${var.stage}.yml names ${local.account_id}. Use credentials of that account, or correct aws_account_id there."
    }
  }
}

# It is there already, since the state of this very root lies in it.
import {
  to = module.state_bucket.aws_s3_bucket.this
  id = "${local.prefix}-state-${local.account_id}"
}

module "state_bucket" {
  source = "../modules/bucket"

  name = "${local.prefix}-state-${local.account_id}"

  # The newest state never expires. An old one helps after a mishap, which may be seen late.
  lifecycle_rules = {
    states = { prefix = "", expire_old_versions_after_days = 365 }
  }
}

module "logins" {
  source = "../modules/logins"

  config = local.config
}

# Here and not in the stage's root, since Terraform's provider decrypts what it refreshes: whoever opened a pull request
# could let its plan show a secret.
module "secrets" {
  source = "../modules/secrets"

  names            = toset(concat(module.logins.qualtrics, module.logins.sftp, module.logins.post))
  parameter_prefix = local.parameter_prefix
}

# The most that a role of a service may ever do, whatever its own policy says: roles are made by a pipeline, and one
# that could make a role of any power would have that power.
resource "aws_iam_policy" "boundary" {
  name        = "${local.prefix}-boundary"
  description = "The most that a service of ${local.prefix} may do."
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Queues"
        Effect = "Allow"
        Action = [
          "sqs:ChangeMessageVisibility",
          "sqs:DeleteMessage",
          "sqs:GetQueueAttributes",
          "sqs:ReceiveMessage",
          "sqs:SendMessage",
        ]
        Resource = ["${local.arn.sqs}:${local.prefix}-*"]
      },
      {
        Sid      = "Objects"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = ["${local.buckets.data}/*"]
      },
      {
        Sid      = "TellMissingObjects"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [local.buckets.data]
      },
      {
        Sid      = "Secrets"
        Effect   = "Allow"
        Action   = ["ssm:GetParameter"]
        Resource = ["${local.arn.ssm}:parameter${local.parameter_prefix}/*"]
      },
      {
        # SSM encrypts them with the account's key for it, whose id is AWS's own. The conditions say what may be
        # decrypted with it: this stage's parameters, and only by SSM.
        Sid      = "DecryptSecrets"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = ["${local.arn.kms}:key/*"]
        Condition = {
          StringEquals = { "kms:ViaService" = ["ssm.${local.region}.amazonaws.com"] }
          StringLike   = { "kms:EncryptionContext:PARAMETER_ARN" = ["${local.arn.ssm}:parameter${local.parameter_prefix}/*"] }
        }
      },
      {
        Sid      = "Logs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${local.arn.logs}:log-group:/aws/lambda/${local.prefix}-*"]
      },
    ]
  })
}
