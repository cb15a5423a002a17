"""What AWS provider 3.39 does not know of the tree's Terraform, and what takes its place: all of it, with reasons.

A generated repository is written for provider 6. Tests apply it with the one that can be installed here, on a copy that
these rules change, and that nothing else changes. A rule that finds nothing to change is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BUCKET = "modules/bucket/main.tf"
SERVICE = "modules/service/main.tf"
SERVICE_OUTPUTS = "modules/service/outputs.tf"
SECRETS = "modules/secrets/main.tf"


@dataclass(frozen=True, slots=True)
class DropResource:
    """Take a resource away: `address` is `type.name`."""

    file: str
    address: str
    reason: str

    def apply(self, text: str) -> str:
        """Return a file's text without the resource."""
        kind, name = self.address.split(".")
        block = rf'(?ms)^resource "{kind}" "{name}" \{{$.*?^\}}\n'
        return _changed(self, *re.subn(block, "", text))


@dataclass(frozen=True, slots=True)
class DropArgument:
    """Take an argument of one line away, wherever the file has it."""

    file: str
    argument: str
    reason: str

    def apply(self, text: str) -> str:
        """Return a file's text without the argument."""
        return _changed(self, *re.subn(rf"(?m)^ *{self.argument} *=.*\n", "", text))


@dataclass(frozen=True, slots=True)
class Replace:
    """Put one text into the place of another, wherever the file has it; spaces between words may be any."""

    file: str
    old: str
    new: str
    reason: str

    def apply(self, text: str) -> str:
        """Return a file's text with the other words."""
        pattern = r"\s+".join(map(re.escape, self.old.split()))
        return _changed(self, *re.subn(pattern, lambda _: self.new, text))


Rule = DropResource | DropArgument | Replace


class RuleFoundNothingError(Exception):
    """A rule has nothing to change: the tree moved on, and the rule must too."""


def _changed(rule: Rule, text: str, times: int) -> str:
    if not times:
        raise RuleFoundNothingError(f"terraform/{rule.file} has nothing that this rule is for: {rule}")
    return text


INLINE_BUCKET = """\
resource "aws_s3_bucket" "this" {
  bucket = var.name

  versioning {
    enabled = true
  }

  server_side_encryption_configuration {
    rule {
      apply_server_side_encryption_by_default {
        sse_algorithm = "AES256"
      }
    }
  }

  dynamic "lifecycle_rule" {
    for_each = var.lifecycle_rules

    content {
      id      = lifecycle_rule.key
      prefix  = lifecycle_rule.value.prefix
      enabled = true

      dynamic "expiration" {
        for_each = lifecycle_rule.value.expire_after_days[*]

        content {
          days = expiration.value
        }
      }

      noncurrent_version_expiration {
        days = lifecycle_rule.value.expire_old_versions_after_days
      }
    }
  }

  lifecycle_rule {
    id                                     = "leftovers"
    enabled                                = true
    abort_incomplete_multipart_upload_days = 1

    expiration {
      expired_object_delete_marker = true
    }
  }
}"""

WITH_ACLS = """\
resource "aws_s3_bucket_ownership_controls" "before" {
  bucket = "${local.prefix}-state-${local.account_id}"

  rule {
    object_ownership = "BucketOwnerPreferred"
  }
}

module "state_bucket" {
  source     = "../modules/bucket"
  depends_on = [aws_s3_bucket_ownership_controls.before]
"""

ALARM_AS_IT_IS = """\
resource "aws_cloudwatch_metric_alarm" "this" {
  lifecycle {
    ignore_changes = [
      actions_enabled, alarm_actions, alarm_description, dimensions, ok_actions, period, statistic, treat_missing_data,
    ]
  }
"""

INLINE_REDRIVE = """\
resource "aws_sqs_queue" "this" {
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = var.max_receive_count
  })
"""

PLAIN_SECRET = """\
value = "unset"

  lifecycle {
    ignore_changes = [value]
  }"""

RULES: tuple[Rule, ...] = (
    Replace(
        BUCKET,
        'resource "aws_s3_bucket" "this" { bucket = var.name }',
        INLINE_BUCKET,
        "3.39 has versioning, encryption and lifecycle as blocks of the bucket",
    ),
    DropResource(BUCKET, "aws_s3_bucket_versioning.this", "a block of the bucket"),
    DropResource(BUCKET, "aws_s3_bucket_server_side_encryption_configuration.this", "a block of the bucket"),
    DropResource(BUCKET, "aws_s3_bucket_lifecycle_configuration.this", "blocks of the bucket"),
    Replace(
        BUCKET,
        '"BucketOwnerEnforced"',
        '"BucketOwnerPreferred"',
        "3.39 is older than the setting; nobody writes here with an ACL",
    ),
    Replace(
        SERVICE,
        'resource "aws_sqs_queue" "this" {',
        INLINE_REDRIVE,
        "3.39 has the redrive policy as an argument of the queue",
    ),
    DropResource(SERVICE, "aws_sqs_queue_redrive_policy.this", "an argument of the queue"),
    DropResource(
        SERVICE,
        "aws_sqs_queue_redrive_allow_policy.dead_letters",
        "3.39 does not know it, and the emulator only stores it",
    ),
    DropArgument(SERVICE, "sqs_managed_sse_enabled", "3.39 does not know it; encryption is SQS's default"),
    DropArgument(SERVICE, "deduplication_scope", "3.39 does not know it; `queue` is SQS's default"),
    DropArgument(SERVICE, "fifo_throughput_limit", "3.39 does not know it; `perQueue` is SQS's default"),
    Replace(
        SERVICE,
        'resource "aws_cloudwatch_metric_alarm" "this" {',
        ALARM_AS_IT_IS,
        "the emulator tells 3.39 nothing of these, so each plan would set them again",
    ),
    Replace(SERVICE, "aws_sqs_queue.dead_letters.url", "aws_sqs_queue.dead_letters.id", "the same by its older name"),
    Replace(SERVICE_OUTPUTS, "aws_sqs_queue.this.url", "aws_sqs_queue.this.id", "the same by its older name"),
    Replace(
        SERVICE_OUTPUTS, "aws_sqs_queue.dead_letters.url", "aws_sqs_queue.dead_letters.id", "the same by its older name"
    ),
    Replace(
        SECRETS,
        'value_wo = "unset" value_wo_version = 1',
        PLAIN_SECRET,
        "3.39 has no write-only arguments; the value is left alone all the same, but lies in this state",
    ),
    Replace("main.tf", "s3_use_path_style", "s3_force_path_style", "the argument's older name"),
    Replace(
        "bootstrap/main.tf",
        'module "state_bucket" { source = "../modules/bucket"',
        WITH_ACLS,
        "3.39 gives a bucket that it takes over an ACL, which a new bucket refuses",
    ),
    Replace(
        "bootstrap/roles.tf",
        'for claim in ["ref"]',
        'for claim in ["amr"]',
        "the emulator compares no claims but aud, sub and amr; tests say the branch there",
    ),
    Replace("bootstrap/main.tf", "s3_use_path_style", "s3_force_path_style", "the argument's older name"),
)

ENDPOINTS = ("cloudwatch", "cloudwatchevents", "cloudwatchlogs", "iam", "s3", "sns", "sqs", "ssm", "sts")
"""The services that the tree uses, as 3.39 calls them. It does not read AWS_ENDPOINT_URL: without an address here, it
would ask AWS itself."""


def adapt(file: str, text: str) -> str:
    """Return what a file of the tree (its path below terraform/) says to provider 3.39.

    Raises:
        RuleFoundNothingError: A rule for this file has nothing to change.
    """
    for rule in RULES:
        if rule.file == file:
            text = rule.apply(text)
    return text


def override(endpoint: str) -> str:
    """Return the file that makes a root use provider 3.39 and one address for every service."""
    endpoints = "\n".join(f'    {service} = "{endpoint}"' for service in ENDPOINTS)
    return f"""\
terraform {{
  required_providers {{
    aws = {{
      source  = "hashicorp/aws"
      version = "3.39.0"
    }}
  }}
}}

provider "aws" {{
  skip_credentials_validation = true
  skip_get_ec2_platforms      = true
  skip_metadata_api_check     = true
  skip_region_validation      = true

  endpoints {{
{endpoints}
  }}
}}
"""
