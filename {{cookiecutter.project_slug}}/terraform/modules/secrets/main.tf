# A parameter for each secret, with a placeholder. The value is set by hand, and neither plan nor state ever holds it:
# the write-only argument is sent once (its version never rises, so a value set later stays), and the provider does not
# keep what it reads back. With `value` and ignore_changes, the next refresh would copy the real value into the state,
# and so would an import. No argument may change later: the provider would send it without a value, which SSM refuses.
resource "aws_ssm_parameter" "this" {
  for_each = var.names

  name             = "${var.parameter_prefix}/${each.key}"
  description      = "Secret; set by hand. While it is the word `unset`, there is none."
  type             = "SecureString"
  value_wo         = "unset"
  value_wo_version = 1
}
