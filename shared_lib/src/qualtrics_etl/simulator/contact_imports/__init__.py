"""Bulk import of contacts into a mailing list (transactioncontacts): a job that is started and looked at."""
