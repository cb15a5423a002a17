"""Refusals about imports."""

from __future__ import annotations

from qualtrics_etl.simulator.errors import ApiError, too_many_requests


def import_not_found(import_id: str) -> ApiError:
    """No such job in this list. Source: Not documented; chosen."""
    return ApiError(404, f"Import {import_id} not found", code="IMPORT_NOT_FOUND")


def too_many_jobs() -> ApiError:
    """Too many jobs wait. Source: Not documented; chosen: 429, without Retry-After."""
    return too_many_requests("Too many contact imports are running and waiting.", retry_after_seconds=None)
