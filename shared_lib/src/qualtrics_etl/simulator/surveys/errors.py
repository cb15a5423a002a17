"""Refusals about surveys."""

from __future__ import annotations

from qualtrics_etl.simulator.errors import ApiError


def survey_not_found() -> ApiError:
    """No such survey. Source: Recorded exchange (no request id)."""
    return ApiError(404, "Survey not found.", code="GSI_2", has_request_id=False)
