output "qualtrics" {
  description = "Names of the secrets that the stage's login at Qualtrics needs."
  value       = local.secrets.qualtrics[var.config.qualtrics.auth]
}

output "sftp" {
  description = "Names of the secrets that the stage's login at the SFTP server needs."
  value       = var.config.sftp == null ? [] : local.secrets.sftp[var.config.sftp.auth]
}

output "post" {
  description = "Names of the secrets that clients' POSTs are signed with."
  value       = var.config.post == null ? [] : local.secrets.post.signature
}

output "all" {
  description = "Names of the secrets of all logins, also of those that the stage did not choose."
  value       = flatten([for logins in local.secrets : values(logins)])
}
