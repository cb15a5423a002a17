# The whole tree as workflow.yml and config/local.yml describe it, with no account: what AWS would answer is made up.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "000000000000" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  stage = "local"
}

run "every_service_of_the_workflow_has_its_queue" {
  assert {
    condition     = keys(output.queue_urls) == keys(local.workflow.services)
    error_message = "Services and workflow.yml differ."
  }

  assert {
    condition     = output.bucket == "${local.workflow.name}-local-data-000000000000"
    error_message = "The data bucket has another name."
  }
}

run "every_chain_is_followed" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for chain in values(local.workflow.chains) : [
        for position, service in slice(chain, 1, length(chain)) : contains(local.next_services[chain[position]], service)
      ]
    ]))
    error_message = "A service may not send to the service behind it."
  }
}

run "another_account_is_refused" {
  command = plan

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "999999999999" }
  }

  expect_failures = [data.aws_caller_identity.current]
}

run "a_stage_without_configuration_is_refused" {
  command = plan

  variables {
    stage = "nowhere"
  }

  expect_failures = [var.stage]
}
