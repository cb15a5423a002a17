mock_provider "aws" {}

variables {
  service                      = "import_contacts"
  name                         = "acme-etl-dev-import-contacts"
  serial                       = false
  timeout_seconds              = 60
  max_receive_count            = 5
  recipient_queue_arns         = ["arn:aws:sqs:eu-west-1:111122223333:acme-etl-dev-schedule-distribution"]
  bucket_arn                   = "arn:aws:s3:::acme-etl-dev-data-111122223333"
  readable_keys                = ["ledger/*"]
  writable_keys                = ["ledger/*"]
  deletable_keys               = []
  secret_arns                  = []
  permissions_boundary_arn     = "arn:aws:iam::111122223333:policy/acme-etl-dev-boundary"
  parameter_prefix             = "/acme-etl/dev"
  alarm_topic_arn              = "arn:aws:sns:eu-west-1:111122223333:acme-etl-dev-alarms"
  oldest_message_alarm_seconds = 3600
  log_retention_days           = 30
}

run "a_message_stays_hidden_for_six_time_outs" {
  module {
    source = "./modules/service"
  }

  assert {
    condition     = aws_sqs_queue.this.visibility_timeout_seconds == 360
    error_message = "Lambda could deliver a message again while it is still worked on."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue_redrive_policy.this.redrive_policy).maxReceiveCount == 5
    error_message = "The workflow's max_receive_count is not the queue's."
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.message_retention_seconds > aws_sqs_queue.this.message_retention_seconds
    error_message = "A dead letter could expire on arrival: its age counts from its first sending."
  }
}

run "a_serial_service_has_a_fifo_pair" {
  variables {
    serial = true
  }

  module {
    source = "./modules/service"
  }

  assert {
    condition = [aws_sqs_queue.this.name, aws_sqs_queue.dead_letters.name] == [
      "acme-etl-dev-import-contacts.fifo", "acme-etl-dev-import-contacts-dlq.fifo",
    ]
    error_message = "Both queues of a serial service are FIFO, and their names say so."
  }

  assert {
    condition     = aws_sqs_queue.this.fifo_queue && aws_sqs_queue.dead_letters.fifo_queue
    error_message = "Both queues of a serial service are FIFO."
  }
}

run "rights_without_an_object_are_left_out" {
  module {
    source = "./modules/service"
  }

  assert {
    condition = jsondecode(aws_iam_role_policy.this.policy).Statement[*].Sid == [
      "OwnQueue", "SendOn", "ReadObjects", "WriteObjects", "TellMissingObjects", "WriteLogs",
    ]
    error_message = "AWS refuses a statement without resources: what there is nothing to do with stays away."
  }
}

run "a_secret_is_decrypted_by_ssm_and_nothing_else_is" {
  variables {
    secret_arns = ["arn:aws:ssm:eu-west-1:111122223333:parameter/acme-etl/dev/qualtrics_api_token"]
  }

  module {
    source = "./modules/service"
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement if contains(statement.Action, "kms:Decrypt")
      ] == [{
        Sid      = "DecryptSecrets"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = ["arn:aws:kms:eu-west-1:111122223333:key/*"]
        Condition = {
          StringEquals = {
            "kms:EncryptionContext:PARAMETER_ARN" = ["arn:aws:ssm:eu-west-1:111122223333:parameter/acme-etl/dev/qualtrics_api_token"]
            "kms:ViaService"                      = ["ssm.eu-west-1.amazonaws.com"]
          }
        }
    }]
    error_message = "The function can't read its secret, or could decrypt something else."
  }
}

run "without_a_schedule_no_run_is_missed" {
  module {
    source = "./modules/service"
  }

  assert {
    condition = keys(aws_cloudwatch_metric_alarm.this) == [
      "dead-letters", "function-errors", "function-throttles", "oldest-message", "setting-wrong",
    ]
    error_message = "The alarms are others."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["setting-wrong"].metric_name == aws_cloudwatch_log_metric_filter.setting_wrong.metric_transformation[0].name
    error_message = "The alarm does not look at what the log's filter counts."
  }
}

run "a_missed_run_is_told_after_twice_the_time" {
  variables {
    every_seconds = 900
  }

  module {
    source = "./modules/service"
  }

  assert {
    condition = [
      for alarm in [aws_cloudwatch_metric_alarm.this["no-run"]] :
      [alarm.period, alarm.evaluation_periods, alarm.comparison_operator, alarm.treat_missing_data]
    ] == [[1800, 1, "LessThanThreshold", "breaching"]]
    error_message = "A function that nobody calls any more would go unnoticed."
  }
}

run "what_runs_on_weekdays_is_awaited_over_a_weekend" {
  variables {
    every_seconds = 259200
  }

  module {
    source = "./modules/service"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["no-run"].period * aws_cloudwatch_metric_alarm.this["no-run"].evaluation_periods == 6 * 86400
    error_message = "CloudWatch takes periods of a day at most, seven days in all."
  }
}

run "what_runs_weekly_is_not_awaited" {
  variables {
    every_seconds = 604800
  }

  module {
    source = "./modules/service"
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.this), "no-run")
    error_message = "CloudWatch looks back for seven days, and refuses an alarm of more."
  }
}

run "limits_are_kept" {
  command = plan

  variables {
    every_seconds                = 30
    service                      = "deploy"
    recipient_queue_arns         = ["*"]
    bucket_arn                   = "arn:aws:s3:::acme-etl-dev-data-111122223333/*"
    secret_arns                  = ["arn:aws:ssm:eu-west-1:111122223333:parameter/acme-etl/dev/*"]
    permissions_boundary_arn     = "none"
    alarm_topic_arn              = "*"
    oldest_message_alarm_seconds = 60
    log_retention_days           = 8
    timeout_seconds              = 301
    max_receive_count            = 1
    readable_keys                = ["*"]
    writable_keys                = ["*"]
    deletable_keys               = ["*"]
  }

  module {
    source = "./modules/service"
  }

  expect_failures = [
    var.service,
    var.every_seconds,
    var.timeout_seconds,
    var.max_receive_count,
    var.recipient_queue_arns,
    var.bucket_arn,
    var.readable_keys,
    var.writable_keys,
    var.deletable_keys,
    var.secret_arns,
    var.permissions_boundary_arn,
    var.alarm_topic_arn,
    var.oldest_message_alarm_seconds,
    var.log_retention_days,
  ]
}
