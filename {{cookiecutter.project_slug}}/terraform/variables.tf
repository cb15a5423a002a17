variable "stage" {
  description = "Which stage this is: local, dev, staging or prod. Its configuration is config/<stage>.yml."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,9}$", var.stage))
    error_message = "A stage is 2 to 10 small letters and digits: names on AWS are built from it."
  }

  validation {
    condition     = fileexists("${path.root}/../config/${var.stage}.yml")
    error_message = "There is no config/${var.stage}.yml. Pass a stage that has one, or write it."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept, in days; one of the values that CloudWatch Logs accepts."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_retention_days)
    error_message = "Logs are kept for 7, 14, 30, 60, 90, 120, 150, 180 or 365 days."
  }
}

variable "oldest_message_alarm_seconds" {
  description = "A message that waits longer than this in a queue raises an alarm; 300 seconds to 4 days."
  type        = number
  default     = 3600
  nullable    = false

  validation {
    condition     = var.oldest_message_alarm_seconds >= 300 && var.oldest_message_alarm_seconds < 345600
    error_message = "The alarm must come between 300 seconds and 4 days (345600 seconds), when queues drop messages."
  }
}
