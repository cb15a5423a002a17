variables {
  config = {}
}

run "a_stage_that_says_nothing_has_a_token" {
  module {
    source = "./modules/logins"
  }

  assert {
    condition     = join(" ", output.qualtrics) == "qualtrics_api_token" && length(concat(output.sftp, output.post)) == 0
    error_message = "Secrets are asked for that no login needs."
  }
}

run "each_login_has_its_secrets" {
  variables {
    config = { qualtrics = { auth = "oauth" }, sftp = {}, post = {} }
  }

  module {
    source = "./modules/logins"
  }

  assert {
    condition     = join(" ", concat(output.qualtrics, output.sftp, output.post)) == "qualtrics_client_id qualtrics_client_secret sftp_private_key post_signing_secret"
    error_message = "A login lacks a secret, or has another's."
  }

  assert {
    condition     = length(setsubtract(concat(output.qualtrics, output.sftp, output.post, ["qualtrics_api_token", "sftp_password"]), output.all)) == 0
    error_message = "A secret is missing from the list of all."
  }
}

run "unknown_logins_are_refused" {
  command = plan

  variables {
    config = { qualtrics = { auth = "none" } }
  }

  module {
    source = "./modules/logins"
  }

  expect_failures = [var.config]
}
