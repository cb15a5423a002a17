variable "stage" {
  description = "Which stage this is: local, dev, staging or prod. Its configuration is config/<stage>.yml."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,9}$", var.stage))
    error_message = "A stage is 2 to 10 small letters and digits: names on AWS are built from it."
  }

  validation {
    condition     = fileexists("${path.root}/../../config/${var.stage}.yml")
    error_message = "There is no config/${var.stage}.yml. Pass a stage that has one, or write it."
  }
}
