"""The invitation goes to the whole mailing list, when all its contacts are in."""

from __future__ import annotations

from datetime import datetime, timedelta

from qualtrics_etl import RunContext, ScheduleDistribution, lambda_handler
from typing_extensions import override


class ScheduleInvitation(ScheduleDistribution):
    """Sends from 8 in the morning till 8 in the evening (UTC) only."""

    @override
    def choose_send_date(self, *, context: RunContext) -> datetime:
        date = super().choose_send_date(context=context)
        if 8 <= date.hour < 20:
            return date
        return (date + timedelta(hours=4)).replace(hour=8, minute=0)


handler = lambda_handler(ScheduleInvitation)
