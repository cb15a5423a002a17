"""The service schedule_third_reminder does what every step must do."""

from __future__ import annotations

from qualtrics_etl.testing import StepChecks


class TestScheduleThirdReminder(StepChecks):
    """The checks that every step must pass, run on our handler."""

    service = "schedule_third_reminder"
