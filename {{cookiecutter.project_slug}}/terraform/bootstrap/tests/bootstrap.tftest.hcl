# The whole root as workflow.yml and config/local.yml describe it, with no account: what AWS would answer is made up.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "000000000000" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  # It is imported, and what is made up can't be.
  override_resource {
    target = module.state_bucket.aws_s3_bucket.this
    values = { arn = "arn:aws:s3:::some-bucket" }
  }
}

variables {
  stage = "local"
}

run "the_newest_state_never_expires" {
  assert {
    condition     = output.state_bucket == "${local.prefix}-state-000000000000"
    error_message = "The state lies in another bucket than make bootstrap creates."
  }
}

run "roles_are_there_for_a_stage_with_pipelines_alone" {
  assert {
    condition     = join(" ", keys(output.ci_role_arns)) == (local.ci == null ? "" : "deploy plan")
    error_message = "There are roles without pipelines, or pipelines without roles."
  }
}

run "roles_of_services_stay_within_their_stage" {
  assert {
    condition = alltrue(flatten([
      for statement in jsondecode(aws_iam_policy.boundary.policy).Statement : [
        # A statement on keys, which have no names of ours, is bound by its condition.
        for name in try(flatten(values(statement.Condition.StringLike)), statement.Resource) :
        strcontains(name, local.prefix) || strcontains(name, "${local.parameter_prefix}/")
      ]
    ]))
    error_message = "The boundary reaches beyond the stage."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_policy.boundary.policy).Statement : statement.Condition.StringEquals
      if contains(statement.Action, "kms:Decrypt")
    ] == [{ "kms:ViaService" = ["ssm.${local.region}.amazonaws.com"] }]
    error_message = "A service could decrypt something else than parameters, or can't read a secret at all."
  }
}

run "secrets_are_those_of_the_stage_s_logins" {
  assert {
    condition     = join(" ", keys(output.secret_parameters)) == join(" ", sort(concat(module.logins.qualtrics, module.logins.sftp, module.logins.post)))
    error_message = "A login lacks its secret, or a secret is made that nobody reads."
  }
}

run "no_pipeline_reads_a_secret" {
  assert {
    condition = length(module.logins.all) > 0 && alltrue([
      for secret in module.logins.all : alltrue([
        for pattern in local.no_secrets[0].all_resources_but :
        !can(regex("^${replace(pattern, "*", ".*")}$", "${local.arn.ssm}:parameter${local.parameter_prefix}/${secret}"))
      ])
    ])
    error_message = "A secret lies among what the roles of pipelines may read."
  }

  assert {
    condition     = alltrue([for each in local.pipelines : contains(each.policies.read[*].sid, "NoSecrets")])
    error_message = "A role of a pipeline lacks the denial."
  }
}

run "plans_see_the_stack_and_deploys_a_mapping_that_is_gone" {
  assert {
    condition     = alltrue([for each in local.pipelines : contains(flatten(each.policies.read[*].actions), "cloudformation:DescribeStacks")])
    error_message = "A look for drift asks whether the stack is there."
  }

  assert {
    condition = [
      for each in flatten(values(local.pipelines.deploy.policies)) : each.conditions
      if contains(each.actions, "lambda:GetEventSourceMapping") || contains(each.actions, "lambda:ListEventSourceMappings")
    ] == [local.in_region]
    error_message = "What is gone feeds no function, so a condition on functions would refuse to say that it is gone."
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
