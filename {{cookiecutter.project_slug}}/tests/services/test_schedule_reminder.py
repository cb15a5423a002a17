"""The service schedule_reminder does what every step must do."""

from __future__ import annotations

from qualtrics_etl.testing import StepChecks


class TestScheduleReminder(StepChecks):
    """The checks that every step must pass, run on our handler."""

    service = "schedule_reminder"
