provider "aws" {
  region = local.config.aws_region

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

    postcondition {
      condition     = self.account_id == local.account_id
      error_message = "These credentials belong to account ${self.account_id}, and config/${var.stage}.yml names ${local.account_id}. Use credentials of that account, or correct aws_account_id there."
    }
  }
}

module "notifications" {
  source = "./modules/notifications"

  name       = "${local.prefix}-alarms"
  email      = local.config.alarm_email
  account_id = local.account_id
}

module "data_bucket" {
  source = "./modules/bucket"

  name = "${local.prefix}-data-${local.account_id}"

  # Personal data lies under payloads/ and rejects/; outcomes/ has only line numbers and reasons, but in words that hooks
  # and Qualtrics chose. A dead letter can be sent again for 14 days and its message lives
  # for 30, so payloads live as long; the ledger must outlive both. What was taken under files/ is never forgotten: a
  # file that still lies at the client's would be taken again.
  lifecycle_rules = {
    ledger   = { prefix = "ledger/", expire_after_days = 90, expire_old_versions_after_days = 7 }
    payloads = { prefix = "payloads/", expire_after_days = 30, expire_old_versions_after_days = 3 }
    rejects  = { prefix = "rejects/", expire_after_days = 30, expire_old_versions_after_days = 3 }
    outcomes = { prefix = "outcomes/", expire_after_days = 30, expire_old_versions_after_days = 3 }
    files    = { prefix = "files/", expire_old_versions_after_days = 7 }
    pace     = { prefix = "pace/", expire_after_days = 2, expire_old_versions_after_days = 1 }
  }
}

# Packages of functions and layers, as sls uploads them.
module "artifacts_bucket" {
  source = "./modules/bucket"

  name = "${local.prefix}-artifacts-${local.account_id}"

  # What is deployed must stay, however old: a deploy that fails is rolled back to it. With each deploy sls deletes all
  # but the last few, and those expire here.
  lifecycle_rules = {
    packages = { prefix = "serverless/", expire_old_versions_after_days = 30 }
  }
}

module "service" {
  source   = "./modules/service"
  for_each = local.services

  service           = each.key
  name              = each.value.name
  serial            = each.value.serial
  timeout_seconds   = each.value.timeout_seconds
  max_receive_count = each.value.max_receive_count
  every_seconds     = each.value.every_seconds

  recipient_queue_arns = [for recipient in local.recipients[each.key] : local.queue_arns[recipient]]
  bucket_arn           = module.data_bucket.arn
  readable_keys        = local.permissions[each.key].read
  writable_keys        = local.permissions[each.key].write
  deletable_keys       = local.permissions[each.key].delete
  secret_arns          = [for secret in local.permissions[each.key].secrets : local.secret_arns[secret]]

  permissions_boundary_arn     = "arn:${data.aws_partition.current.partition}:iam::${local.account_id}:policy/${local.prefix}-boundary"
  parameter_prefix             = local.parameter_prefix
  alarm_topic_arn              = module.notifications.topic_arn
  oldest_message_alarm_seconds = var.oldest_message_alarm_seconds
  log_retention_days           = var.log_retention_days
}

module "dashboard" {
  source = "./modules/dashboard"

  name     = local.prefix
  region   = local.config.aws_region
  services = { for service in keys(local.services) : service => module.service[service].names }
}
