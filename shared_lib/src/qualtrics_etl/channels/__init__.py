"""The ways in which files come and go: SFTP today, one module a way."""
