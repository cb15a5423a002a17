"""Clocks for one machine: one that only moves when told, and a real one that can skip what nobody needs to wait for."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from typing_extensions import override

from qualtrics_etl.clock import SystemClock
from qualtrics_etl.ports import Clock


class VirtualClock(Clock):
    """A clock that stands still until somebody sleeps on it or advances it; safe to share between threads."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)
        self._lock = threading.Lock()

    @override
    def now(self) -> datetime:
        return self._now

    @override
    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move the hand forward.

        Raises:
            ValueError: `seconds` is negative: time does not go back.
        """
        with self._lock:
            self._now += _forward(seconds)


class SkippingClock(SystemClock):
    """Real time that may be ahead: where everything is delayed, `skip` does the waiting.

    Args:
        offset_seconds: How far it is ahead from the start on; what `offset_seconds` said when a run was paused, so
            that a resumed run does not fall back behind what it has written.
    """

    def __init__(self, offset_seconds: float = 0.0) -> None:
        self._offset = _forward(offset_seconds)
        self._lock = threading.Lock()

    @property
    def offset_seconds(self) -> float:
        """How far the clock is ahead of the machine's."""
        return self._offset.total_seconds()

    @override
    def now(self) -> datetime:
        return super().now() + self._offset

    def skip(self, seconds: float) -> None:
        """Go forward at once.

        Raises:
            ValueError: `seconds` is negative: time does not go back.
        """
        with self._lock:
            self._offset += _forward(seconds)


def _forward(seconds: float) -> timedelta:
    if seconds < 0:
        raise ValueError(f"time does not go back: {seconds} seconds")
    return timedelta(seconds=seconds)
