"""Addresses of libraries. Source: Qualtrics API reference, limits, for the numbers."""

from __future__ import annotations

from qualtrics_etl.simulator.calls import Route
from qualtrics_etl.simulator.libraries import handlers

_MESSAGES = "/libraries/{library}/messages"

ROUTES = [
    Route(
        "GET",
        "/libraries",
        handlers.list_libraries,
        scope="read:libraries",
        per_minute=3_000,
        query=frozenset({"offset"}),
    ),
    Route(
        "GET",
        _MESSAGES,
        handlers.list_messages,
        scope="read:libraries",
        per_minute=3_000,
        query=frozenset({"category", "offset"}),
    ),
    Route("GET", _MESSAGES + "/{message}", handlers.get_message, scope="read:libraries", per_minute=3_000),
]
