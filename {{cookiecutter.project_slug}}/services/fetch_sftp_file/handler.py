"""Each finished file on the client's SFTP server comes into our store, once."""

from __future__ import annotations

from qualtrics_etl import FetchSftpFile, lambda_handler


class FetchClientFile(FetchSftpFile):
    """Which files, and from where, is in workflow.yml and config/; nothing of it is special here."""


handler = lambda_handler(FetchClientFile)
