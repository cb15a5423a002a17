variable "names" {
  description = "Names of the secrets, such as qualtrics_api_token."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for name in var.names : can(regex("^[a-z][a-z0-9_]*$", name))])
    error_message = "A secret's name is snake_case."
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
