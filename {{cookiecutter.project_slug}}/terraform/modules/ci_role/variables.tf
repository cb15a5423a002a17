variable "name" {
  description = "The role's name; at most 64 characters."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,63}$", var.name))
    error_message = "A role's name is small letters, digits and hyphens, at most 64 characters."
  }
}

variable "description" {
  description = "What the role is for, in a sentence."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[ -~]{1,1000}$", var.description))
    error_message = "A role is described in plain characters, at most 1000 of them."
  }
}

variable "host" {
  description = "Whose pipelines take the role: github or gitlab."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["github", "gitlab"], var.host)
    error_message = "The host of a pipeline is github or gitlab."
  }
}

variable "partition" {
  description = "Partition of AWS, such as aws."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^aws[a-z-]*$", var.partition))
    error_message = "A partition is aws, aws-cn or aws-us-gov."
  }
}

variable "account_id" {
  description = "The account that knows the host as an identity provider, 12 digits."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An account is 12 digits."
  }
}

variable "subjects" {
  description = "Which pipelines: subjects of the host's tokens, such as repo:owner/name:environment:dev. A * stands for anything."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subjects) > 0
    error_message = "A role that nobody may take is none: name at least one subject."
  }

  validation {
    condition     = alltrue([for each in var.subjects : can(regex("^(repo|project_path):[^*/:]+(/[^*/:]+)+:[^:]", each))])
    error_message = "A subject begins with repo:owner/name: or project_path:group/name: in full, or strangers' repositories could take the role."
  }
}

variable "claims" {
  description = "What else the host's token must say, word for word: values by claim, such as ref."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for claim in keys(var.claims) : can(regex("^[a-z_]+$", claim)) && !contains(["aud", "sub"], claim)])
    error_message = "A claim is a small word such as ref; aud and sub are asked for anyway."
  }
}

variable "policies" {
  description = "What the role may do: statements by policy name."
  type = map(list(object({
    sid               = string
    effect            = optional(string, "Allow")
    actions           = list(string)
    resources         = optional(list(string))
    all_resources_but = optional(list(string))
    conditions        = optional(map(map(list(string))))
  })))
  nullable = false

  validation {
    condition     = alltrue(flatten([for all in var.policies : [for each in all : [for action in each.actions : !strcontains(action, "*")]]]))
    error_message = "Actions are named one by one: with a *, a role would get what AWS invents next."
  }

  validation {
    condition     = alltrue(flatten([for all in var.policies : [for each in all : !try(contains(each.resources, "*"), false) || each.effect == "Deny" || each.conditions != null]]))
    error_message = "Where AWS knows no resource, a condition takes its place."
  }

  validation {
    condition = alltrue(flatten([for all in var.policies : [
      for each in all : (each.resources == null) != (each.all_resources_but == null) && (each.resources != null || each.effect == "Deny")
    ]]))
    error_message = "A statement names its resources; only one that denies may name those that it is not about."
  }
}
