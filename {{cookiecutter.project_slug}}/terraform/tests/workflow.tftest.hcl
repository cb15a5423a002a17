# The whole tree as workflow.yml and config/local.yml describe it, with no account: what AWS would answer is made up.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "000000000000" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::some-bucket" }
  }

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-west-1:000000000000:some-topic" }
  }

  mock_resource "aws_ssm_parameter" {
    defaults = { arn = "arn:aws:ssm:eu-west-1:000000000000:parameter/some/parameter" }
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

  assert {
    condition     = aws_ssm_parameter.artifacts_bucket.value == "${local.workflow.name}-local-artifacts-000000000000"
    error_message = "What uploads packages is told another bucket."
  }

  assert {
    condition = alltrue([
      for service in module.service : service.permissions_boundary_arn == "arn:aws:iam::000000000000:policy/${local.prefix}-boundary"
    ])
    error_message = "A role lies outside the boundary of the stage, and no pipeline could make it."
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
