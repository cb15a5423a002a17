mock_provider "aws" {}

variables {
  name = "acme-etl-dev-data-111122223333"
  lifecycle_rules = {
    ledger = { prefix = "ledger/", expire_after_days = 60, expire_old_versions_after_days = 7 }
    files  = { prefix = "files/", expire_old_versions_after_days = 7 }
  }
}

run "objects_expire_only_where_a_rule_says_so" {
  module {
    source = "./modules/bucket"
  }

  assert {
    condition = [for rule in aws_s3_bucket_lifecycle_configuration.this.rule : "${rule.id} ${join(",", rule.expiration[*].days)}"
      if rule.id != "leftovers"
    ] == ["files ", "ledger 60"]
    error_message = "The rules of the bucket are not those that were asked for."
  }
}

run "what_expires_leaves_no_old_version_no_marker_and_no_part_behind" {
  module {
    source = "./modules/bucket"
  }

  assert {
    condition = [for rule in aws_s3_bucket_lifecycle_configuration.this.rule :
      "${rule.status} ${one(rule.noncurrent_version_expiration).noncurrent_days}" if rule.id != "leftovers"
    ] == ["Enabled 7", "Enabled 7"]
    error_message = "Old versions must expire by each rule for objects, and every rule must be at work."
  }

  assert {
    condition = [for rule in aws_s3_bucket_lifecycle_configuration.this.rule :
      "${rule.status} ${one(rule.expiration).expired_object_delete_marker} ${one(rule.abort_incomplete_multipart_upload).days_after_initiation}"
      if rule.id == "leftovers"
    ] == ["Enabled true 1"]
    error_message = "Delete markers that hide nothing, and parts of uploads that never ended, must go in the whole bucket."
  }
}

run "the_ledger_outlives_every_message" {
  command = plan

  variables {
    lifecycle_rules = {
      ledger = { prefix = "ledger/", expire_after_days = 59, expire_old_versions_after_days = 7 }
    }
  }

  module {
    source = "./modules/bucket"
  }

  expect_failures = [var.lifecycle_rules]
}

run "a_rule_may_be_for_all_objects_and_no_other_names_half_a_folder" {
  command = plan

  variables {
    lifecycle_rules = {
      all  = { prefix = "", expire_old_versions_after_days = 365 }
      half = { prefix = "ledger", expire_old_versions_after_days = 7 }
    }
  }

  module {
    source = "./modules/bucket"
  }

  expect_failures = [var.lifecycle_rules]
}
