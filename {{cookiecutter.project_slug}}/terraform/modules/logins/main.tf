# The secrets of each login. Both roots ask here: one makes the parameters, the other lets roles read them.
locals {
  secrets = {
    qualtrics = {
      api_token = ["qualtrics_api_token"]
      oauth     = ["qualtrics_client_id", "qualtrics_client_secret"]
    }
    sftp = {
      password    = ["sftp_password"]
      private_key = ["sftp_private_key"]
    }
    post = {
      signature = ["post_signing_secret"]
    }
  }
}
