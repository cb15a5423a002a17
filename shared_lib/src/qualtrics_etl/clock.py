"""The machine's clock, for the entry points that run in real time."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from typing_extensions import override

from qualtrics_etl.ports import Clock


class SystemClock(Clock):
    """The machine's clock; sleeping really waits."""

    @override
    def now(self) -> datetime:
        return datetime.now(UTC)

    @override
    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
