"""Requests a minute."""

from __future__ import annotations

import pytest

from qualtrics_etl.simulator.errors import ApiError
from qualtrics_etl.simulator.limits import RateLimits


def taken(limits: RateLimits, endpoint: str, per_minute: int, now: float) -> int:
    """Take until the limit refuses; say how many got through."""
    for count in range(10_000):
        try:
            limits.take(endpoint, per_minute, now)
        except ApiError:
            return count
    return 10_000


def test_endpoint_has_its_own_limit_inside_the_brands() -> None:
    """Both limits hold: an endpoint's 100, and 3,000 of the brand over all endpoints."""
    limits = RateLimits()
    assert [taken(limits, "import", 100, 0.0), taken(limits, "list", 3_000, 0.0)] == [100, 2_900]


def test_next_minute_begins_anew() -> None:
    """A refused client may come again when the minute has passed."""
    limits = RateLimits()
    assert [taken(limits, "import", 100, now) for now in (0.0, 59.9, 60.0)] == [100, 0, 100]


@pytest.mark.parametrize(("retry_after", "headers"), [(True, {"Retry-After": "18"}), (False, {})])
def test_refusal_may_say_when_to_come_again(retry_after: bool, headers: dict[str, str]) -> None:
    """Retry-After, where it is there, leads to the next minute."""
    limits = RateLimits(scale=0.01, retry_after=retry_after)
    limits.take("import", 100, 42.0)
    with pytest.raises(ApiError) as refused:
        limits.take("import", 100, 42.0)
    assert (refused.value.status, refused.value.headers) == (429, headers)


def test_limits_can_be_switched_off() -> None:
    """Without limits, everything gets through."""
    assert taken(RateLimits(scale=None), "import", 100, 0.0) == 10_000
