variable "name" {
  description = "The dashboard's name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,255}$", var.name))
    error_message = "A dashboard's name is letters, digits, hyphens and underscores."
  }
}

variable "region" {
  description = "Region of the metrics."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region is named like eu-west-1."
  }
}

variable "services" {
  description = "Names of queue, dead-letter queue and function by service: one row each."
  type = map(object({
    queue             = string
    dead_letter_queue = string
    function          = string
  }))
  nullable = false

  validation {
    condition     = length(var.services) > 0
    error_message = "A dashboard shows at least one service."
  }
}
