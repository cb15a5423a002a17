"""Who has not answered is reminded."""

from __future__ import annotations

from qualtrics_etl import ScheduleReminder, lambda_handler


class ScheduleFirstReminder(ScheduleReminder):
    """How many days after the invitation is in workflow.yml, the text in config/; nothing of it is special here."""


handler = lambda_handler(ScheduleFirstReminder)
