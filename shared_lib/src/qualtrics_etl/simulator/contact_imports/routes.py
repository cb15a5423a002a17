"""Addresses of contact imports.

Source: Qualtrics API reference, limits, for the numbers; that of the report is not documented, and chosen.
The `/summary` of a job is not here: it is unsupported since 2026-06-30 (release notes of a published client).
"""

from __future__ import annotations

from qualtrics_etl.simulator.calls import Route
from qualtrics_etl.simulator.contact_imports import handlers

_IMPORTS = "/directories/{directory}/mailinglists/{list}/transactioncontacts"

ROUTES = [
    Route("POST", _IMPORTS, handlers.start_import, scope="write:mailing_list_contacts", per_minute=100),
    Route("GET", _IMPORTS + "/{import}", handlers.look_at_import, scope="read:mailing_list_contacts", per_minute=500),
    Route(
        "GET",
        "/directories/{directory}/imports/api-import/jobs/{import}/report",
        handlers.report_import,
        scope="read:mailing_list_contacts",
        per_minute=500,
        query=frozenset({"skipToken"}),
    ),
]
