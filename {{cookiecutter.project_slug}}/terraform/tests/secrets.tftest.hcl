mock_provider "aws" {}

variables {
  names            = ["qualtrics_api_token"]
  parameter_prefix = "/acme-etl/dev"
}

run "no_value_enters_the_state" {
  module {
    source = "./modules/secrets"
  }

  assert {
    condition     = aws_ssm_parameter.this["qualtrics_api_token"].value == null
    error_message = "The parameter has a value that the state keeps."
  }

  assert {
    condition     = output.parameter_names == { qualtrics_api_token = "/acme-etl/dev/qualtrics_api_token" }
    error_message = "Secrets are looked for at /<name>/<stage>/<secret>."
  }
}
