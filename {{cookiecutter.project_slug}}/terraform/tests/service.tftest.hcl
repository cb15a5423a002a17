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

run "limits_are_kept" {
  command = plan

  variables {
    timeout_seconds   = 301
    max_receive_count = 1
    readable_keys     = ["*"]
    writable_keys     = ["*"]
    deletable_keys    = ["*"]
  }

  module {
    source = "./modules/service"
  }

  expect_failures = [var.timeout_seconds, var.max_receive_count, var.readable_keys, var.writable_keys, var.deletable_keys]
}
