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
