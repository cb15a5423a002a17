"""The service create_mailing_list does what every step must do."""

from __future__ import annotations

from qualtrics_etl.testing import StepChecks


class TestCreateMailingList(StepChecks):
    """The checks that every step must pass, run on our handler."""

    service = "create_mailing_list"
