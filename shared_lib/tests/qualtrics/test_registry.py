"""The registry of endpoints: complete, sourced, and loud before a sunset."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from qualtrics_etl.qualtrics.registry import (
    BRAND_REQUESTS_PER_MINUTE,
    ENDPOINTS,
    LIST_DIRECTORIES,
    START_CONTACT_IMPORT,
    WHO_AM_I,
    near_sunset,
    sunset_warnings,
)


def test_every_endpoint_can_be_trusted() -> None:
    """Each entry has a limit inside the brand's, a time-out, a source, and a path on the API's host."""
    for name, endpoint in ENDPOINTS.items():
        assert name == endpoint.name
        assert 0 < endpoint.requests_per_minute <= BRAND_REQUESTS_PER_MINUTE
        assert 0 < endpoint.timeout_seconds <= 60
        assert endpoint.path.startswith(("/API/v3/", "/oauth2/"))
        assert endpoint.source.endswith(".")


def test_nothing_that_we_call_is_near_its_end() -> None:
    """The endpoints were all supported on the day that they were reviewed."""
    assert near_sunset(date(2026, 11, 22)) == []


def test_sunsets_are_told_in_their_order() -> None:
    """What is gone and what goes soon is named, the first to go first; what stays is not."""
    soon = replace(WHO_AM_I, sunset=date(2027, 3, 2))
    gone = replace(LIST_DIRECTORIES, sunset=date(2026, 6, 30))
    later = replace(WHO_AM_I, sunset=date(2027, 3, 3))
    assert near_sunset(date(2027, 1, 1), within_days=60, endpoints=[later, soon, WHO_AM_I, gone]) == [gone, soon]


def test_sunset_is_told_with_what_to_do() -> None:
    """The warning names the call, the day, and the way out."""
    gone = replace(WHO_AM_I, sunset=date(2026, 6, 30))
    (warning,) = sunset_warnings(date(2026, 5, 1), endpoints=[gone, LIST_DIRECTORIES])
    assert warning == (
        "warning: who_am_i (GET /API/v3/whoami) is supported until 2026-06-30: move its callers to what replaces it,"
        " and release."
    )


def test_only_what_is_read_or_replaced_is_safe_to_repeat() -> None:
    """A POST is never repeated by itself."""
    assert {name for name, endpoint in ENDPOINTS.items() if not endpoint.is_safe_to_repeat} == {
        "fetch_token",
        "create_mailing_list",
        "start_contact_import",
        "create_distribution",
        "create_reminder",
        "create_thank_you",
    }


def test_path_is_filled() -> None:
    """Ids stand where the reference has them."""
    ids = {"directory_id": "POOL_1", "mailing_list_id": "CG_2"}
    path = "/API/v3/directories/POOL_1/mailinglists/CG_2/transactioncontacts"
    assert START_CONTACT_IMPORT.fill(ids) == path
