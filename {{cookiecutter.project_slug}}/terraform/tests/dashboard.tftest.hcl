mock_provider "aws" {}

variables {
  name   = "acme-etl-dev"
  region = "eu-west-1"
  services = {
    parse_file = { queue = "acme-etl-dev-parse-file", dead_letter_queue = "acme-etl-dev-parse-file-dlq", function = "acme-etl-dev-parse-file" }
  }
}

run "a_service_has_a_row" {
  module {
    source = "./modules/dashboard"
  }

  assert {
    condition = [for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : "${widget.y} ${widget.properties.title}"] == [
      "0 parse_file: waiting", "0 parse_file: dead letters", "0 parse_file: function",
    ]
    error_message = "The row is another."
  }
}

run "names_and_services_are_needed" {
  command = plan

  variables {
    name     = "no spaces"
    region   = "here"
    services = {}
  }

  module {
    source = "./modules/dashboard"
  }

  expect_failures = [var.name, var.region, var.services]
}
