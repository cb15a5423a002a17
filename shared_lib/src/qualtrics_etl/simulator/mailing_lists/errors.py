"""Refusals about mailing lists."""

from __future__ import annotations

from qualtrics_etl.simulator.errors import ApiError


def mailing_list_not_found(mailing_list_id: str) -> ApiError:
    """No such list in this directory.

    Source: Recorded exchange for 404 and the words (of the older lists); the code is chosen, in words as XM Directory
    has elsewhere.
    """
    return ApiError(404, f"Mailing List not found: {mailing_list_id}", code="MAILING_LIST_NOT_FOUND")
