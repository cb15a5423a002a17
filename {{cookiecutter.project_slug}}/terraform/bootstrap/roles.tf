# What pipelines may do. Everything is named by the stage's prefix, so a pipeline of one stage can't touch another one.
# No pipeline may itself read a secret, or change its own role, the boundary or this root's state: all of that is for
# who runs `make bootstrap`. But a pipeline deploys functions, and those read secrets and data: whoever may merge code
# decides what becomes of both.

locals {
  ci         = try(local.config.ci, null)
  repository = try(local.ci.repository, "")
  branch     = coalesce(try(local.ci.branch, null), "main")

  # How GitHub's tokens name the repository. One that was created, renamed or transferred since 15 July 2026 has its
  # ids in the name, so that nobody else can ever have the same; an older one has them once its owner asks for it.
  repositories = compact([
    local.repository,
    try(format("%s@%s/%s@%s",
      split("/", local.repository)[0], regex("^[0-9]+$", tostring(local.ci.owner_id)),
      split("/", local.repository)[1], regex("^[0-9]+$", tostring(local.ci.repository_id)),
    ), null),
  ])

  # GitHub's token names the environment of a job, which has its rules on who approves. GitLab's names only the branch;
  # that of a merge request's pipeline is the request's own, which may have any name.
  subjects = {
    github = {
      deploy = [for name in local.repositories : "repo:${name}:environment:${var.stage}"]
      plan = flatten([
        for name in local.repositories : ["repo:${name}:pull_request", "repo:${name}:ref:refs/heads/${local.branch}"]
      ])
    }
    gitlab = {
      deploy = ["project_path:${local.repository}:ref_type:branch:ref:${local.branch}"]
      plan   = ["project_path:${local.repository}:ref_type:branch:ref:*"]
    }
  }

  # A subject with an environment says nothing of the branch, and whoever can push a branch writes its workflows. AWS
  # compares GitHub's claim `ref` since January 2026, in its commercial regions; elsewhere the branches that GitHub lets
  # into the environment are what keeps others out.
  claims = {
    github = { deploy = { for claim in ["ref"] : claim => "refs/heads/${local.branch}" if local.partition == "aws" }, plan = {} }
    gitlab = { deploy = {}, plan = {} }
  }

  named = {
    alarms     = ["${local.arn.cloudwatch}:alarm:${local.prefix}-*"]
    artifacts  = ["${local.buckets.artifacts}/*"]
    buckets    = [local.buckets.artifacts, local.buckets.data]
    dashboards = ["arn:${local.partition}:cloudwatch::${local.account_id}:dashboard/${local.prefix}"]
    functions  = ["${local.arn.lambda}:function:${local.prefix}-*"]
    layers     = ["${local.arn.lambda}:layer:${local.prefix}-*"]
    logs       = ["${local.arn.logs}:log-group:/aws/lambda/${local.prefix}-*"]
    mappings   = ["${local.arn.lambda}:event-source-mapping:*"]
    queues     = ["${local.arn.sqs}:${local.prefix}-*"]
    roles      = ["arn:${local.partition}:iam::${local.account_id}:role/${local.prefix}-*"]
    rules      = ["${local.arn.events}:rule/${local.prefix}-*"]
    stack      = ["${local.arn.cloudformation}:stack/${local.prefix}/*"]
    state      = ["${local.buckets.state}/stage.tfstate"]
    lock       = ["${local.buckets.state}/stage.tfstate.tflock"]
    topics     = ["${local.arn.sns}:${local.prefix}-*"]

    # What Terraform hands over: names of buckets, and one level deeper all of a service. Beside the former lie secrets.
    parameters = [for name in ["*bucket", "*/*"] : "${local.arn.ssm}:parameter${local.parameter_prefix}/${name}"]
  }

  ci_roles          = [for purpose in ["deploy", "plan"] : "arn:${local.partition}:iam::${local.account_id}:role/${local.prefix}-${purpose}"]
  boundary_arn      = "arn:${local.partition}:iam::${local.account_id}:policy/${local.prefix}-boundary"
  within_boundary   = { StringEquals = { "iam:PermissionsBoundary" = [local.boundary_arn] } }
  in_region         = { StringEquals = { "aws:RequestedRegion" = [local.region] } }
  for_our_functions = { ArnLike = { "lambda:FunctionArn" = local.named.functions } }

  # What Terraform and sls look at before they change anything; what a plan needs.
  reading = {
    state = [
      { sid = "State", actions = ["s3:GetObject"], resources = local.named.state },
      { sid = "StateBucket", actions = ["s3:ListBucket"], resources = [local.buckets.state] },
    ]
    buckets = [{
      sid = "ReadBuckets"
      actions = [
        "s3:GetAccelerateConfiguration", "s3:GetBucketAcl", "s3:GetBucketCORS", "s3:GetBucketLocation",
        "s3:GetBucketLogging", "s3:GetBucketObjectLockConfiguration", "s3:GetBucketOwnershipControls",
        "s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock", "s3:GetBucketRequestPayment", "s3:GetBucketTagging",
        "s3:GetBucketVersioning", "s3:GetBucketWebsite", "s3:GetEncryptionConfiguration",
        "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration", "s3:ListBucket", "s3:ListTagsForResource",
      ]
      resources = local.named.buckets
    }]
    queues = [{
      sid       = "ReadQueues"
      actions   = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueueTags"]
      resources = local.named.queues
    }]
    roles = [{
      sid       = "ReadRoles"
      actions   = ["iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"]
      resources = local.named.roles
    }]
    parameters = [{
      sid       = "ReadParameters"
      actions   = ["ssm:GetParameter", "ssm:GetParameters", "ssm:ListTagsForResource"]
      resources = local.named.parameters
    }]
    logs = [{
      sid       = "ReadLogGroups"
      actions   = ["logs:DescribeMetricFilters", "logs:ListTagsForResource"]
      resources = local.named.logs
    }]
    alarms = [
      { sid = "ReadAlarms", actions = ["cloudwatch:ListTagsForResource"], resources = local.named.alarms },
      { sid = "ReadDashboard", actions = ["cloudwatch:GetDashboard"], resources = local.named.dashboards },
    ]
    topics = [{
      sid       = "ReadTopics"
      actions   = ["sns:GetTopicAttributes", "sns:ListTagsForResource"]
      resources = local.named.topics
    }]
    # Whether what sls made has drifted, and whether it is there at all.
    stack = [{ sid = "ReadStack", actions = ["cloudformation:DescribeStacks"], resources = local.named.stack }]
    # AWS knows no resource for these, or asks for the right to list all, whatever the filter: names and settings of the
    # account's region, and no content.
    unnamed = [{
      sid = "ReadWhatHasNoName"
      actions = [
        "cloudwatch:DescribeAlarms", "logs:DescribeLogGroups", "sns:GetSubscriptionAttributes",
        "ssm:DescribeParameters",
      ]
      resources  = ["*"]
      conditions = local.in_region
    }]
  }

  # Of parameters nothing but what is handed over, also when somebody gives a role a policy of AWS's own, such as
  # ReadOnlyAccess. Nothing by path: whoever may read a path reads all below, whatever is denied there.
  no_secrets = [{
    sid               = "NoSecrets"
    effect            = "Deny"
    actions           = ["ssm:GetParameter", "ssm:GetParameterHistory", "ssm:GetParameters", "ssm:GetParametersByPath"]
    all_resources_but = local.named.parameters
  }]

  # What Terraform changes: the stage's root.
  terraform = [
    { sid = "WriteState", actions = ["s3:PutObject"], resources = local.named.state },
    { sid = "Lock", actions = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], resources = local.named.lock },
    {
      # A bucket is deleted by hand alone. What lies in the data bucket is for functions to read, not for pipelines.
      sid = "Buckets"
      actions = [
        "s3:CreateBucket", "s3:DeleteBucketPolicy", "s3:PutBucketOwnershipControls", "s3:PutBucketPolicy",
        "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning",
        "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration", "s3:TagResource", "s3:UntagResource",
      ]
      resources = local.named.buckets
    },
    {
      sid       = "Queues"
      actions   = ["sqs:CreateQueue", "sqs:DeleteQueue", "sqs:SetQueueAttributes", "sqs:TagQueue", "sqs:UntagQueue"]
      resources = local.named.queues
    },
    {
      sid = "Parameters"
      actions = [
        "ssm:AddTagsToResource", "ssm:DeleteParameter", "ssm:PutParameter", "ssm:RemoveTagsFromResource",
      ]
      resources = local.named.parameters
    },
    {
      sid = "Logs"
      actions = [
        "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:DeleteMetricFilter", "logs:DeleteRetentionPolicy",
        "logs:PutMetricFilter", "logs:PutRetentionPolicy", "logs:TagResource", "logs:UntagResource",
      ]
      resources = local.named.logs
    },
    {
      sid = "Alarms"
      actions = [
        "cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:UntagResource",
      ]
      resources = local.named.alarms
    },
    {
      sid       = "Dashboard"
      actions   = ["cloudwatch:DeleteDashboards", "cloudwatch:PutDashboard"]
      resources = local.named.dashboards
    },
    {
      sid = "Topics"
      actions = [
        "sns:CreateTopic", "sns:DeleteTopic", "sns:SetTopicAttributes", "sns:Subscribe", "sns:TagResource",
        "sns:UntagResource",
      ]
      resources = local.named.topics
    },
  ]

  # What makes roles stronger works within the boundary alone, and nothing here takes it off a role again.
  role_growing  = ["iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
  role_changing = ["iam:DeleteRole", "iam:DeleteRolePolicy", "iam:ListInstanceProfilesForRole", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:UpdateRoleDescription"]
  roles = [
    { sid = "GrowRoles", actions = local.role_growing, resources = local.named.roles, conditions = local.within_boundary },
    { sid = "ChangeRoles", actions = local.role_changing, resources = local.named.roles },
    {
      sid        = "GiveRoles"
      actions    = ["iam:PassRole"]
      resources  = local.named.roles
      conditions = { StringEquals = { "iam:PassedToService" = ["lambda.amazonaws.com"] } }
    },
    {
      # Their names begin like a service's.
      sid       = "NotTheRolesOfPipelines"
      effect    = "Deny"
      actions   = concat(local.role_growing, local.role_changing, ["iam:PassRole"])
      resources = local.ci_roles
    },
  ]

  # What sls changes: the stack, and by it functions, layers and what feeds them. CloudFormation acts in the name of
  # who calls it.
  serverless = [
    { sid = "Artifacts", actions = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], resources = local.named.artifacts },
    {
      sid = "Stack"
      actions = [
        "cloudformation:CreateChangeSet", "cloudformation:CreateStack", "cloudformation:DeleteChangeSet",
        "cloudformation:DeleteStack", "cloudformation:DescribeChangeSet", "cloudformation:DescribeStackEvents",
        "cloudformation:DescribeStackResource", "cloudformation:DescribeStackResources",
        "cloudformation:ExecuteChangeSet", "cloudformation:GetTemplate", "cloudformation:ListStackResources",
        "cloudformation:TagResource", "cloudformation:UntagResource", "cloudformation:UpdateStack",
      ]
      resources = local.named.stack
    },
    {
      sid = "Functions"
      actions = [
        "lambda:AddPermission", "lambda:CreateFunction", "lambda:DeleteFunction", "lambda:GetFunction",
        "lambda:GetFunctionCodeSigningConfig", "lambda:GetFunctionConfiguration", "lambda:GetFunctionRecursionConfig",
        "lambda:GetPolicy", "lambda:GetRuntimeManagementConfig", "lambda:ListTags", "lambda:ListVersionsByFunction",
        "lambda:RemovePermission", "lambda:TagResource", "lambda:UntagResource", "lambda:UpdateFunctionCode",
        "lambda:UpdateFunctionConfiguration",
      ]
      resources = local.named.functions
    },
    {
      sid       = "Layers"
      actions   = ["lambda:DeleteLayerVersion", "lambda:GetLayerVersion", "lambda:PublishLayerVersion"]
      resources = local.named.layers
    },
    # A mapping's name is AWS's own: which function it feeds is what tells ours.
    {
      sid        = "NewMappings"
      actions    = ["lambda:CreateEventSourceMapping"]
      resources  = ["*"]
      conditions = local.for_our_functions
    },
    {
      sid        = "Mappings"
      actions    = ["lambda:DeleteEventSourceMapping", "lambda:UpdateEventSourceMapping"]
      resources  = local.named.mappings
      conditions = local.for_our_functions
    },
    { sid = "TagMappings", actions = ["lambda:ListTags", "lambda:TagResource", "lambda:UntagResource"], resources = local.named.mappings },
    {
      sid = "Schedules"
      actions = [
        "events:DeleteRule", "events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule",
        "events:PutRule", "events:PutTargets", "events:RemoveTargets", "events:TagResource", "events:UntagResource",
      ]
      resources = local.named.rules
    },
  ]

  # AWS knows HTTP APIs by ids of its own, so these are all of the account, which is the stage's alone; only a workflow
  # that takes POSTs has one.
  takes_posts = contains([for each in values(local.workflow.services) : each.kind], "receive_post")
  http_apis = local.takes_posts ? [{
    sid       = "HttpApis"
    actions   = [for verb in ["DELETE", "GET", "PATCH", "POST", "PUT"] : "apigateway:${verb}"]
    resources = [for name in ["apis", "apis/*", "tags/*"] : "arn:${local.partition}:apigateway:${local.region}::/${name}"]
  }] : []

  # AWS knows no resource for a template that is nowhere yet, nor for a subscription. A mapping that is gone feeds no
  # function, and CloudFormation asks until it is gone; a list of mappings has no function either. One statement for
  # all, since AWS counts a role's characters.
  unnamed = [{
    sid = "WhatHasNoName"
    actions = [
      "cloudformation:ValidateTemplate", "lambda:GetEventSourceMapping", "lambda:ListEventSourceMappings",
      "sns:Unsubscribe",
    ]
    resources  = ["*"]
    conditions = local.in_region
  }]

  pipelines = {
    deploy = {
      description = "Deploys ${local.prefix} from a pipeline."
      policies = {
        read       = concat(flatten(values(local.reading)), local.no_secrets)
        terraform  = local.terraform
        roles      = local.roles
        serverless = concat(local.serverless, local.http_apis)
        unnamed    = local.unnamed
      }
    }
    plan = {
      description = "Shows from a pipeline what a deploy of ${local.prefix} would change, and changes nothing."
      policies    = { read = concat(flatten(values(local.reading)), local.no_secrets) }
    }
  }
}

module "ci_role" {
  source   = "../modules/ci_role"
  for_each = { for purpose, each in local.pipelines : purpose => each if local.ci != null }

  name        = "${local.prefix}-${each.key}"
  description = each.value.description
  host        = local.ci.host
  partition   = local.partition
  account_id  = local.account_id
  subjects    = local.subjects[local.ci.host][each.key]
  claims      = local.claims[local.ci.host][each.key]
  policies    = each.value.policies
}
