"""Refusals about distributions, which check keys strictly."""

from __future__ import annotations

from qualtrics_etl.simulator.checks import Refusals
from qualtrics_etl.simulator.errors import ApiError, invalid


def unexpected_key(key: str) -> ApiError:
    """A key that is not known. Source: Reports of users, 2026."""
    return ApiError(400, f"Unexpected json key provided: {key}", code="RP_9")


def missing_key(key: str) -> ApiError:
    """A key that is not there. Source: Reports of users, 2026."""
    return ApiError(400, f"Expected param not found: {key}", code="RP_10")


def distribution_not_found() -> ApiError:
    """No such distribution. Source: Recorded exchange."""
    return ApiError(404, "Distribution not found.", code="GED_3")


def recipients_not_found(what: str) -> ApiError:
    """A list, person, batch or sample that does not exist. Source: Not documented; chosen."""
    return ApiError(404, f"Recipients not found: {what}", code="RECIPIENTS_NOT_FOUND")


REFUSALS = Refusals(
    unexpected=unexpected_key,
    missing=missing_key,
    wrong=lambda where, complaint: invalid(f"{where} {complaint}"),
)
