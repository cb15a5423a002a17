mock_provider "aws" {}

variables {
  name       = "acme-etl-dev-alarms"
  email      = "on-call@client.example"
  account_id = "111122223333"
}

run "alarms_of_the_account_reach_the_address" {
  module {
    source = "./modules/notifications"
  }

  assert {
    condition     = aws_sns_topic_subscription.email.endpoint == "on-call@client.example"
    error_message = "Alarms go elsewhere."
  }
}

run "an_address_and_an_account_are_needed" {
  command = plan

  variables {
    email      = "nobody"
    account_id = "12"
  }

  module {
    source = "./modules/notifications"
  }

  expect_failures = [var.email, var.account_id]
}
