"""Refusals about libraries."""

from __future__ import annotations

from qualtrics_etl.simulator.errors import ApiError


def library_not_found(library_id: str) -> ApiError:
    """No such library. Source: Not documented; chosen."""
    return ApiError(404, f"Library {library_id} not found", code="LIBRARY_NOT_FOUND")


def message_not_found(message_id: str) -> ApiError:
    """No such message in this library. Source: Not documented; chosen."""
    return ApiError(404, f"Message {message_id} not found", code="MESSAGE_NOT_FOUND")
