"""The service fetch_sftp_file does what every step must do."""

from __future__ import annotations

from qualtrics_etl.testing import StepChecks


class TestFetchSftpFile(StepChecks):
    """The checks that every step must pass, run on our handler."""

    service = "fetch_sftp_file"
