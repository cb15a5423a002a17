locals {
  # Widgets of a row: what waits, what is dead, what the function does. A row is 24 wide.
  rows = {
    for service, names in var.services : service => [
      {
        title = "${service}: waiting"
        metrics = [
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", names.queue],
          ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", names.queue],
          ["AWS/SQS", "ApproximateNumberOfMessagesDelayed", "QueueName", names.queue],
        ]
      },
      {
        title   = "${service}: dead letters"
        metrics = [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", names.dead_letter_queue]]
      },
      {
        title = "${service}: function"
        metrics = [
          ["AWS/Lambda", "Invocations", "FunctionName", names.function, { stat = "Sum" }],
          ["AWS/Lambda", "Errors", "FunctionName", names.function, { stat = "Sum" }],
          ["AWS/Lambda", "Duration", "FunctionName", names.function, { stat = "p95", yAxis = "right" }],
        ]
      },
    ]
  }

  widgets = flatten([
    for row, service in keys(local.rows) : [
      for column, widget in local.rows[service] : {
        type   = "metric"
        x      = column * 8
        y      = row * 6
        width  = 8
        height = 6
        properties = {
          title   = widget.title
          metrics = widget.metrics
          region  = var.region
          stat    = "Maximum"
          period  = 300
          view    = "timeSeries"
        }
      }
    ]
  ])
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({ widgets = local.widgets })
}
