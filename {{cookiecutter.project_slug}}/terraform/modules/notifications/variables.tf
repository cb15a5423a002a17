variable "name" {
  description = "The topic's name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,99}$", var.name))
    error_message = "A topic's name is small letters, digits and hyphens."
  }
}

variable "email" {
  description = "Who gets the alarms. AWS sends this address one message that must be confirmed first."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+$", var.email))
    error_message = "alarm_email is one e-mail address."
  }
}

variable "account_id" {
  description = "The account whose alarms may speak here, 12 digits."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An account is 12 digits."
  }
}
