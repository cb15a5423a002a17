variable "service" {
  description = "The service's name in workflow.yml, in snake_case; at most 32 characters."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(_[a-z0-9]+)*$", var.service)) && length(var.service) <= 32
    error_message = "A service's name is snake_case, at most 32 characters."
  }

  validation {
    condition     = !contains(["boundary", "deploy", "plan"], var.service)
    error_message = "What the bootstrap makes is named deploy, plan and boundary: give the service another name."
  }
}

variable "name" {
  description = "Its name on AWS, for queue, function, role, log group and alarms; at most 64 characters."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,63}$", var.name))
    error_message = "A name on AWS is small letters, digits and hyphens, at most 64 characters, which is what a role may have."
  }
}

variable "serial" {
  description = "Whether messages are worked on strictly one after the other, in order: makes both queues FIFO."
  type        = bool
  nullable    = false
}

variable "timeout_seconds" {
  description = "The function's time-out, 1 to 300 seconds; the queue's visibility time-out is six times that, at least 30."
  type        = number
  nullable    = false

  validation {
    condition     = var.timeout_seconds >= 1 && var.timeout_seconds <= 300
    error_message = "A function's time-out is 1 to 300 seconds."
  }
}

variable "max_receive_count" {
  description = "Tries before a message goes to the dead-letter queue, 2 to 1000."
  type        = number
  nullable    = false

  validation {
    condition     = var.max_receive_count >= 2 && var.max_receive_count <= 1000
    error_message = "A message is tried 2 to 1000 times: with 1, one lost connection would make a dead letter."
  }
}

variable "every_seconds" {
  description = "How long it is from one scheduled run to the next at most, in seconds; null without a schedule that is waited for."
  type        = number
  default     = null

  validation {
    condition     = var.every_seconds == null ? true : var.every_seconds >= 60
    error_message = "A schedule's shortest step is a minute."
  }
}

variable "recipient_queue_arns" {
  description = "ARNs of the queues of the services that it sends to."
  type        = list(string)
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.recipient_queue_arns : can(regex("^arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$", arn))])
    error_message = "A service sends to queues, each named in full by its ARN."
  }
}

variable "bucket_arn" {
  description = "ARN of the data bucket."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:s3:::[a-z0-9.-]+$", var.bucket_arn))
    error_message = "A bucket's ARN is arn:aws:s3:::<name>, without anything behind it."
  }
}

variable "readable_keys" {
  description = "Patterns of the object keys that it may read, such as ledger/*."
  type        = list(string)
  nullable    = false

  validation {
    condition     = alltrue([for key in var.readable_keys : can(regex("^[a-z]+/", key))])
    error_message = "A pattern begins with a folder of the data bucket: a bare * would open all of it."
  }
}

variable "writable_keys" {
  description = "Patterns of the object keys that it may write, such as ledger/*."
  type        = list(string)
  nullable    = false

  validation {
    condition     = alltrue([for key in var.writable_keys : can(regex("^[a-z]+/", key))])
    error_message = "A pattern begins with a folder of the data bucket: a bare * would open all of it."
  }
}

variable "deletable_keys" {
  description = "Patterns of the object keys that it may delete, such as payloads/*."
  type        = list(string)
  nullable    = false

  validation {
    condition     = alltrue([for key in var.deletable_keys : can(regex("^[a-z]+/", key))])
    error_message = "A pattern begins with a folder of the data bucket: a bare * would open all of it."
  }
}

variable "secret_arns" {
  description = "ARNs of the parameters whose values it may read."
  type        = list(string)
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.secret_arns : can(regex("^arn:[^*]+:parameter/[^*]+$", arn))])
    error_message = "Secrets are named one by one, each by its parameter's ARN."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the policy that the role can never go beyond."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:policy/[^*]+$", var.permissions_boundary_arn))
    error_message = "A permissions boundary is the ARN of a policy of the account."
  }
}

variable "parameter_prefix" {
  description = "Where parameters of this stage begin, such as /acme-etl/dev."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^/[a-z0-9-]+/[a-z0-9]+$", var.parameter_prefix))
    error_message = "Parameters of a stage begin with /<name>/<stage>."
  }
}

variable "alarm_topic_arn" {
  description = "ARN of the topic that alarms speak to."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", var.alarm_topic_arn))
    error_message = "Alarms speak to a topic, named by its ARN."
  }
}

variable "oldest_message_alarm_seconds" {
  description = "A message that waits longer than this raises an alarm, in seconds."
  type        = number
  nullable    = false

  validation {
    condition     = var.oldest_message_alarm_seconds >= 300 && var.oldest_message_alarm_seconds < 345600
    error_message = "The alarm must come between 300 seconds and 4 days (345600 seconds), when queues drop messages."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept, in days."
  type        = number
  nullable    = false

  validation {
    condition     = contains([7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_retention_days)
    error_message = "Logs are kept for 7, 14, 30, 60, 90, 120, 150, 180 or 365 days."
  }
}
