"""Clocks tell UTC, and only go forward."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from qualtrics_etl.clock import SystemClock
from qualtrics_etl.local.clock import SkippingClock, VirtualClock

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


def test_system_clock_tells_the_time_in_utc() -> None:
    """Now is now, with UTC as its zone."""
    before, now, after = datetime.now(UTC), SystemClock().now(), datetime.now(UTC)

    assert before <= now <= after
    assert now.utcoffset() == timedelta(0)


def test_virtual_clock_stands_still_until_it_is_moved() -> None:
    """Sleeping moves the hand, to the microsecond, and takes no time."""
    clock = VirtualClock(START)
    seen = [clock.now(), clock.now()]
    clock.sleep(900)
    seen.append(clock.now())
    clock.advance(0.25)

    assert [*seen, clock.now()] == [START, START, START + timedelta(minutes=15), START + timedelta(seconds=900.25)]


def test_virtual_clock_starts_in_any_zone() -> None:
    """A start in another zone is the same moment, told in UTC."""
    clock = VirtualClock(datetime(2026, 3, 1, 9, tzinfo=timezone(timedelta(hours=1))))

    assert (clock.now(), clock.now().tzinfo) == (START, UTC)


def test_skipping_clock_runs_ahead_of_the_machine() -> None:
    """What is skipped stays skipped, and a clock made with that offset goes on where the first one was."""
    first = SkippingClock()
    first.skip(600)
    first.skip(300)

    resumed = SkippingClock(first.offset_seconds)

    assert first.offset_seconds == 900
    assert timedelta(seconds=-5) < first.now() - resumed.now() <= timedelta(0)
    assert timedelta(0) <= first.now() - datetime.now(UTC) - timedelta(seconds=899) < timedelta(seconds=5)


def test_time_does_not_go_back() -> None:
    """A negative step is a mistake of the caller."""
    with pytest.raises(ValueError, match="time does not go back: -1 seconds"):
        VirtualClock(START).advance(-1)
    with pytest.raises(ValueError, match="time does not go back: -1 seconds"):
        SkippingClock().skip(-1)
