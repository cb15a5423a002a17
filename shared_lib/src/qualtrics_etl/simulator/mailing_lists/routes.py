"""Addresses of mailing lists. Source: Qualtrics API reference, limits, for the numbers."""

from __future__ import annotations

from qualtrics_etl.simulator.calls import Route
from qualtrics_etl.simulator.mailing_lists import handlers

_LISTS = "/directories/{directory}/mailinglists"
_ONE = _LISTS + "/{list}"

ROUTES = [
    Route(
        "GET",
        _LISTS,
        handlers.list_mailing_lists,
        scope="read:mailing_lists",
        per_minute=3_000,
        query=frozenset({"ownerId", "pageSize", "skipToken", "includeCount"}),
    ),
    Route("POST", _LISTS, handlers.create_mailing_list, scope="write:mailing_lists", per_minute=500),
    Route("GET", _ONE, handlers.get_mailing_list, scope="read:mailing_lists", per_minute=3_000),
    Route("PUT", _ONE, handlers.change_mailing_list, scope="write:mailing_lists", per_minute=500),
    Route("DELETE", _ONE, handlers.delete_mailing_list, scope="write:mailing_lists", per_minute=500),
]
