"""Addresses of contacts. Source: Qualtrics API reference, limits, for the numbers."""

from __future__ import annotations

from qualtrics_etl.simulator.calls import Route
from qualtrics_etl.simulator.contacts import handlers

_LIST = "/directories/{directory}/mailinglists/{list}/contacts"

ROUTES = [
    Route(
        "GET",
        _LIST,
        handlers.list_contacts,
        scope="read:mailing_list_contacts",
        per_minute=3_000,
        query=frozenset({"pageSize", "skipToken", "includeEmbedded"}),
    ),
    Route("POST", _LIST, handlers.create_list_contact, scope="write:mailing_list_contacts", per_minute=500),
    Route(
        "POST",
        "/directories/{directory}/contacts/search",
        handlers.search_contacts,
        scope="read:directory_contacts",
        per_minute=500,
        query=frozenset({"pageSize", "skipToken", "includeEmbedded", "includeSegments"}),
    ),
]
