variable "name" {
  description = "The bucket's name; 3 to 63 small letters, digits and hyphens."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name))
    error_message = "A bucket's name is 3 to 63 small letters, digits and hyphens."
  }
}

variable "lifecycle_rules" {
  description = "How long objects live, in days, by prefix (empty: all of them); without expire_after_days they stay. Old versions are what overwriting or deleting leaves."
  type = map(object({
    prefix                         = string
    expire_after_days              = optional(number)
    expire_old_versions_after_days = number
  }))
  nullable = false

  validation {
    condition     = alltrue([for rule in var.lifecycle_rules : rule.prefix == "" || endswith(rule.prefix, "/")])
    error_message = "A prefix ends with a slash: without it, a rule would reach folders that only begin alike."
  }

  validation {
    condition     = alltrue([for rule in var.lifecycle_rules : rule.expire_old_versions_after_days >= 1])
    error_message = "Old versions live for at least a day."
  }

  validation {
    condition = alltrue([
      for rule in var.lifecycle_rules : rule.expire_after_days == null ? true : rule.expire_after_days >= 60
      if rule.prefix == "ledger/"
    ])
    error_message = "The ledger is kept for at least 60 days: a message that outlived its entry would do its work twice."
  }
}
