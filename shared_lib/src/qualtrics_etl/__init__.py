"""Steps for ETL automations around Qualtrics: each is one API call, retried alone, done once."""
