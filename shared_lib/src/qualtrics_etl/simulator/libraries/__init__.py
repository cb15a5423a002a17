"""Libraries and the messages in them."""
