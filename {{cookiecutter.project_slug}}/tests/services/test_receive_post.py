"""The service receive_post does what every step must do."""

from __future__ import annotations

from qualtrics_etl.testing import StepChecks


class TestReceivePost(StepChecks):
    """The checks that every step must pass, run on our handler."""

    service = "receive_post"
