"""The simulator's own time: a source of seconds plus an offset that tests and the local engine may move."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


class SimulatedClock:
    """Seconds since 1970, UTC.

    Attributes:
        offset_seconds: What is added to the source's time.
    """

    def __init__(self, source: Callable[[], float] = time.time, *, offset_seconds: float = 0.0) -> None:
        self._source = source
        self.offset_seconds = offset_seconds

    def now(self) -> float:
        """Return the simulated time, in seconds since 1970."""
        return self._source() + self.offset_seconds

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Raises:
            ValueError: `seconds` is negative: what has been sent can't be unsent.
        """
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"The clock can only be advanced; {seconds} seconds would turn it back.")
        self.offset_seconds += seconds

    def set(self, instant: float) -> None:
        """Set the clock to `instant` (seconds since 1970); it runs on from there."""
        self.offset_seconds = instant - self._source()


def iso(instant: float) -> str:
    """Write seconds since 1970 as the API writes dates: UTC, whole seconds, `Z`.

    Source: Qualtrics API reference, the page on dates and times.
    """
    return datetime.fromtimestamp(int(instant), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(instant: float) -> int:
    """Write seconds since 1970 as the API writes a contact's dates.

    Source: Qualtrics API reference, the page on a contact in a mailing list.
    """
    return int(instant * 1000)


def parse_instant(text: str) -> float:
    """Read `YYYY-MM-DDThh:mm:ssZ` as seconds since 1970.

    Raises:
        ValueError: It is written otherwise (with milliseconds or another zone, for example), or no such time exists.
    """
    if not INSTANT.fullmatch(text):
        raise ValueError("must be a date like 2026-11-22T09:00:00Z (UTC, no milliseconds)")
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError as exc:
        raise ValueError("must be a date that exists") from exc
