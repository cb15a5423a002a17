mock_provider "aws" {}

variables {
  name        = "acme-etl-dev-deploy"
  description = "Deploys acme-etl-dev from a pipeline."
  host        = "github"
  partition   = "aws"
  account_id  = "111122223333"
  subjects    = ["repo:acme/etl:environment:dev", "repo:acme@1/etl@2:environment:dev"]
  claims      = { ref = "refs/heads/main" }
  policies = {
    read = [
      { sid = "Named", actions = ["sqs:GetQueueUrl"], resources = ["arn:aws:sqs:eu-west-1:111122223333:acme-etl-dev-*"] },
      {
        sid        = "Unnamed"
        actions    = ["ssm:DescribeParameters"]
        resources  = ["*"]
        conditions = { StringEquals = { "aws:RequestedRegion" = ["eu-west-1"] } }
      },
      {
        sid               = "NothingElse"
        effect            = "Deny"
        actions           = ["ssm:GetParameter"]
        all_resources_but = ["arn:aws:ssm:eu-west-1:111122223333:parameter/acme-etl/dev/bucket"]
      },
    ]
  }
}

run "only_the_named_pipeline_takes_the_role" {
  module {
    source = "./modules/ci_role"
  }

  assert {
    condition = jsondecode(aws_iam_role.this.assume_role_policy).Statement == [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com" }
      Condition = {
        StringEquals = {
          "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
          "token.actions.githubusercontent.com:ref" = "refs/heads/main"
        }
        StringLike = { "token.actions.githubusercontent.com:sub" = ["repo:acme/etl:environment:dev", "repo:acme@1/etl@2:environment:dev"] }
      }
    }]
    error_message = "Somebody else may take the role."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.this["read"].policy).Statement[1].Condition.StringEquals == { "aws:RequestedRegion" = ["eu-west-1"] }
    error_message = "A condition was lost."
  }

  assert {
    condition = jsondecode(aws_iam_role_policy.this["read"].policy).Statement[2] == {
      Sid         = "NothingElse"
      Effect      = "Deny"
      Action      = ["ssm:GetParameter"]
      NotResource = ["arn:aws:ssm:eu-west-1:111122223333:parameter/acme-etl/dev/bucket"]
    }
    error_message = "A denial of all else became another."
  }
}

run "gitlab_speaks_of_itself" {
  variables {
    host     = "gitlab"
    subjects = ["project_path:acme/etl:ref_type:branch:ref:main"]
    claims   = {}
  }

  module {
    source = "./modules/ci_role"
  }

  assert {
    condition     = keys(jsondecode(aws_iam_role.this.assume_role_policy).Statement[0].Condition.StringLike) == ["gitlab.com:sub"]
    error_message = "The token of another host is asked for."
  }
}

run "all_but_something_is_never_allowed" {
  command = plan

  variables {
    policies = { all = [{ sid = "All", actions = ["sqs:GetQueueUrl"], all_resources_but = ["arn:aws:sqs:eu-west-1:111122223333:x"] }] }
  }

  module {
    source = "./modules/ci_role"
  }

  expect_failures = [var.policies]
}

run "too_much_is_refused" {
  command = plan

  variables {
    name        = "Deploy"
    description = ""
    host        = "elsewhere"
    partition   = "gcp"
    account_id  = "12"
    subjects    = ["repo:*"]
    claims      = { sub = "repo:acme/etl:pull_request" }
    policies    = { all = [{ sid = "All", actions = ["sqs:*"], resources = ["*"] }] }
  }

  module {
    source = "./modules/ci_role"
  }

  expect_failures = [var.name, var.description, var.host, var.partition, var.account_id, var.subjects, var.claims, var.policies]
}
