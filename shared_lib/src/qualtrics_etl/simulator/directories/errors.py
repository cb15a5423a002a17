"""Refusals about directories."""

from __future__ import annotations

from qualtrics_etl.simulator.errors import ApiError


def directory_not_found(directory_id: str) -> ApiError:
    """No such directory. Source: Not documented; chosen: 404, with words for a code as XM Directory has elsewhere."""
    return ApiError(404, f"Directory {directory_id} not found", code="DIRECTORY_NOT_FOUND")
