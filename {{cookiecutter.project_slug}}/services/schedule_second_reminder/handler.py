"""Who has still not answered is reminded a second time."""

from __future__ import annotations

from qualtrics_etl import ScheduleReminder, lambda_handler


class ScheduleSecondReminder(ScheduleReminder):
    """How many days after the invitation is in workflow.yml, the text in config/; nothing of it is special here."""


handler = lambda_handler(ScheduleSecondReminder)
