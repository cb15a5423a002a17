locals {
  suffix = var.serial ? ".fifo" : ""
  tags   = { service = var.service }
}

# Queue and dead-letter queue

resource "aws_sqs_queue" "this" {
  name                       = "${var.name}${local.suffix}"
  visibility_timeout_seconds = max(30, 6 * var.timeout_seconds)
  message_retention_seconds  = 4 * 24 * 3600
  max_message_size           = 1024 * 1024
  sqs_managed_sse_enabled    = true

  # One message group and explicit deduplication ids: what is true of the whole queue, and of nothing smaller.
  fifo_queue            = var.serial ? true : null
  deduplication_scope   = var.serial ? "queue" : null
  fifo_throughput_limit = var.serial ? "perQueue" : null

  tags = local.tags
}

resource "aws_sqs_queue" "dead_letters" {
  name = "${var.name}-dlq${local.suffix}"

  # A dead letter's age counts from its first sending, so it is kept longer than a message.
  message_retention_seconds  = 14 * 24 * 3600
  visibility_timeout_seconds = 30
  max_message_size           = 1024 * 1024
  sqs_managed_sse_enabled    = true
  fifo_queue                 = var.serial ? true : null

  tags = local.tags
}

# Resources of their own: as arguments of the queues, each would need the other queue first.
resource "aws_sqs_queue_redrive_policy" "this" {
  queue_url = aws_sqs_queue.this.id
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = var.max_receive_count
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this.arn]
  })
}

resource "aws_sqs_queue_policy" "tls_only" {
  for_each = {
    messages     = aws_sqs_queue.this
    dead_letters = aws_sqs_queue.dead_letters
  }

  queue_url = each.value.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "RefuseWithoutTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = each.value.arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

# Role

resource "aws_iam_role" "this" {
  name        = var.name
  description = "What the function of ${var.service} may do."

  # Whatever the policy below says, it stays within this: what makes roles may make none that is stronger.
  permissions_boundary = var.permissions_boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })

  tags = local.tags
}

locals {
  # Where the secrets' key is: a secret's ARN is arn:<partition>:ssm:<region>:<account>:parameter/...
  key_arns = distinct([
    for parts in [for arn in var.secret_arns : split(":", arn)] : "arn:${parts[1]}:kms:${parts[3]}:${parts[4]}:key/*"
  ])
  ssm_names = distinct([for arn in var.secret_arns : "ssm.${split(":", arn)[3]}.amazonaws.com"])

  statements = [
    {
      Sid    = "OwnQueue"
      Effect = "Allow"
      Action = [
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        "sqs:SendMessage",
      ]
      Resource = [aws_sqs_queue.this.arn]
    },
    {
      Sid      = "SendOn"
      Effect   = "Allow"
      Action   = ["sqs:SendMessage"]
      Resource = concat([aws_sqs_queue.dead_letters.arn], var.recipient_queue_arns)
    },
    {
      Sid      = "ReadObjects"
      Effect   = "Allow"
      Action   = ["s3:GetObject"]
      Resource = [for key in var.readable_keys : "${var.bucket_arn}/${key}"]
    },
    {
      Sid      = "WriteObjects"
      Effect   = "Allow"
      Action   = ["s3:AbortMultipartUpload", "s3:PutObject"]
      Resource = [for key in var.writable_keys : "${var.bucket_arn}/${key}"]
    },
    {
      Sid      = "DeleteObjects"
      Effect   = "Allow"
      Action   = ["s3:DeleteObject"]
      Resource = [for key in var.deletable_keys : "${var.bucket_arn}/${key}"]
    },
    {
      # Without it S3 answers 403 where an object is missing, and a claim in the ledger lives by the 404. A condition
      # on the prefix would bring the 403 back, since reading an object has no prefix.
      Sid      = "TellMissingObjects"
      Effect   = "Allow"
      Action   = ["s3:ListBucket"]
      Resource = [var.bucket_arn]
    },
    {
      Sid      = "ReadSecrets"
      Effect   = "Allow"
      Action   = ["ssm:GetParameter"]
      Resource = var.secret_arns
    },
    {
      # SSM encrypts them with the account's key for it, whose id is AWS's own. The conditions say what may be decrypted
      # with it: these secrets, and only by SSM.
      Sid      = "DecryptSecrets"
      Effect   = "Allow"
      Action   = ["kms:Decrypt"]
      Resource = local.key_arns
      Condition = {
        StringEquals = {
          "kms:EncryptionContext:PARAMETER_ARN" = var.secret_arns
          "kms:ViaService"                      = local.ssm_names
        }
      }
    },
    {
      # Streams of its own log group, whose names Lambda makes up.
      Sid      = "WriteLogs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = ["${aws_cloudwatch_log_group.this.arn}:*"]
    },
  ]
}

resource "aws_iam_role_policy" "this" {
  name = "step"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [for statement in local.statements : statement if length(statement.Resource) > 0]
  })
}

# Logs

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days

  tags = local.tags
}

# A setting that Qualtrics refuses, such as a token, is looked at again for an hour before it makes a dead letter: the
# log says so at once.
resource "aws_cloudwatch_log_metric_filter" "setting_wrong" {
  name           = "${var.name}-setting-wrong"
  log_group_name = aws_cloudwatch_log_group.this.name
  pattern        = "{ $.message = \"setting_wrong\" }"

  metric_transformation {
    namespace = "qualtrics-etl"
    name      = "${var.name}-setting-wrong"
    value     = "1"
  }
}

# Alarms: docs/runbook.md has a heading of the same words for each

locals {
  # A run that is missing is told from one that is late after twice the time. CloudWatch counts in periods of a day at
  # most, seven of them in all; what is rarer can't be waited for.
  patience_seconds = try(2 * var.every_seconds, 0)
  no_run = {
    for service in [var.service] : "no-run" => {
      heading    = "Schedule does not run"
      namespace  = "AWS/Lambda"
      metric     = "Invocations"
      dimensions = { FunctionName = var.name }
      statistic  = "Sum"
      period     = min(86400, max(300, local.patience_seconds))
      periods    = ceil(local.patience_seconds / 86400)
      threshold  = 1
      missing    = "breaching"
      comparison = "LessThanThreshold"
    } if local.patience_seconds > 0 && local.patience_seconds <= 7 * 86400
  }

  alarms = {
    dead-letters = {
      heading    = "Dead-letter queue is not empty"
      namespace  = "AWS/SQS"
      metric     = "ApproximateNumberOfMessagesVisible"
      dimensions = { QueueName = aws_sqs_queue.dead_letters.name }
      statistic  = "Maximum"
      period     = 60
      threshold  = 0
    }
    oldest-message = {
      heading    = "Messages wait too long"
      namespace  = "AWS/SQS"
      metric     = "ApproximateAgeOfOldestMessage"
      dimensions = { QueueName = aws_sqs_queue.this.name }
      statistic  = "Maximum"
      period     = 300
      threshold  = var.oldest_message_alarm_seconds
    }
    function-errors = {
      heading    = "Function fails"
      namespace  = "AWS/Lambda"
      metric     = "Errors"
      dimensions = { FunctionName = var.name }
      statistic  = "Sum"
      period     = 300
      threshold  = 0
    }
    function-throttles = {
      heading    = "Function is throttled"
      namespace  = "AWS/Lambda"
      metric     = "Throttles"
      dimensions = { FunctionName = var.name }
      statistic  = "Sum"
      period     = 300
      threshold  = 0
    }
    setting-wrong = {
      heading    = "Token or setting is refused"
      namespace  = aws_cloudwatch_log_metric_filter.setting_wrong.metric_transformation[0].namespace
      metric     = aws_cloudwatch_log_metric_filter.setting_wrong.metric_transformation[0].name
      dimensions = {}
      statistic  = "Sum"
      period     = 300
      threshold  = 0
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = merge(local.alarms, local.no_run)

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.heading}: ${var.service}. What it means and what to do stands in docs/runbook.md."
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = try(each.value.periods, 1)
  comparison_operator = try(each.value.comparison, "GreaterThanThreshold")
  threshold           = each.value.threshold
  treat_missing_data  = try(each.value.missing, "notBreaching")
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]

  tags = local.tags
}

# Hand-over to serverless.yml

resource "aws_ssm_parameter" "this" {
  for_each = {
    dead_letter_queue_url = { value = aws_sqs_queue.dead_letters.url, description = "URL of the dead-letter queue." }
    queue_arn             = { value = aws_sqs_queue.this.arn, description = "ARN of the queue that feeds the function." }
    role_arn              = { value = aws_iam_role.this.arn, description = "ARN of the function's role." }
  }

  name        = "${var.parameter_prefix}/${var.service}/${each.key}"
  description = each.value.description
  type        = "String"
  value       = each.value.value

  tags = local.tags
}
