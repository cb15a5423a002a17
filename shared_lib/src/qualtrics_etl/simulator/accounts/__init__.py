"""Who calls: users, API tokens, OAuth clients."""
