variable "config" {
  description = "What config/<stage>.yml says; how it logs in is taken from it. No sftp, no login there; no post, no signatures."
  type = object({
    qualtrics = optional(object({ auth = optional(string, "api_token") }), {})
    sftp      = optional(object({ auth = optional(string, "private_key") }))
    post      = optional(object({}))
  })
  nullable = false

  validation {
    condition     = contains(["api_token", "oauth"], var.config.qualtrics.auth)
    error_message = "The login at Qualtrics (qualtrics.auth) is api_token or oauth."
  }

  validation {
    condition     = var.config.sftp == null ? true : contains(["password", "private_key"], var.config.sftp.auth)
    error_message = "The login at the SFTP server (sftp.auth) is private_key or password."
  }
}
