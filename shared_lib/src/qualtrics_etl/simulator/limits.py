"""Requests a minute: the brand's limit, and each endpoint's own inside it.

Source: Qualtrics API reference, the page on limits, for the numbers (they stand at the routes). Not documented; chosen:
a minute is the clock's minute, and a refused request is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from qualtrics_etl.simulator.errors import too_many_requests

BRAND_PER_MINUTE = 3_000
"""For all users and endpoints of a brand together."""


class RateLimits:
    """Counts the requests of the current minute.

    Args:
        scale: Factor on every limit: 0.1 lets a tenth through. None switches limits off.
        retry_after: Whether a refusal says when to come again.
    """

    def __init__(self, *, scale: float | None = 1.0, retry_after: bool = True) -> None:
        if scale is not None and not scale > 0:
            raise ValueError("The scale of the rate limits must be above 0; switch them off with None.")
        self._scale = scale
        self._retry_after = retry_after
        self._minute = 0
        self._taken: Counter[str] = Counter()

    def take(self, endpoint: str, per_minute: int, now: float) -> None:
        """Count a request.

        Raises:
            ApiError: 429, one of the two limits is reached.
        """
        if self._scale is None:
            return
        self._turn(now)
        for counter, limit in self._limits(endpoint, per_minute):
            if self._taken[counter] >= max(1, int(limit * self._scale)):
                raise self._refusal(now)
        self._taken.update(("brand", endpoint))

    def forget(self) -> None:
        """Begin the minute anew."""
        self._taken.clear()

    def _limits(self, endpoint: str, per_minute: int) -> Iterator[tuple[str, int]]:
        yield "brand", BRAND_PER_MINUTE
        yield endpoint, per_minute

    def _turn(self, now: float) -> None:
        minute = int(now // 60)
        if minute != self._minute:
            self._minute = minute
            self._taken.clear()

    def _refusal(self, now: float) -> Exception:
        seconds = 60 - int(now % 60) if self._retry_after else None
        return too_many_requests("Too many requests in this minute.", retry_after_seconds=seconds)
