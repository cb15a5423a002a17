"""The service schedule_distribution does what every step must do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from qualtrics_etl.testing import StepChecks, run_context, wired_step


class TestScheduleDistribution(StepChecks):
    """The checks that every step must pass, run on our handler."""

    service = "schedule_distribution"


@pytest.mark.parametrize(
    ("now", "sent"),
    [
        (datetime(2026, 1, 15, 12, 0, tzinfo=UTC), datetime(2026, 1, 15, 13, 0, tzinfo=UTC)),
        (datetime(2026, 1, 15, 2, 30, tzinfo=UTC), datetime(2026, 1, 15, 8, 0, tzinfo=UTC)),
        (datetime(2026, 1, 15, 22, 0, tzinfo=UTC), datetime(2026, 1, 16, 8, 0, tzinfo=UTC)),
    ],
)
def test_nobody_is_written_to_at_night(now: datetime, sent: datetime) -> None:
    """An hour after the contacts are in, or at 8 in the morning."""
    step = wired_step("schedule_distribution")
    assert step.choose_send_date(context=run_context(now=now)) == sent
