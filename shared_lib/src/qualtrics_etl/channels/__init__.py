"""The ways in which input comes: files by SFTP, requests by HTTP and their signatures; one module a way."""
