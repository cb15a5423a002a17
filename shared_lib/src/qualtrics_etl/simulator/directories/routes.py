"""Addresses of directories. Source: Qualtrics API reference, limits, for the numbers."""

from __future__ import annotations

from qualtrics_etl.simulator.calls import Route
from qualtrics_etl.simulator.directories import handlers

ROUTES = [
    Route(
        "GET",
        "/directories",
        handlers.list_directories,
        scope="read:directories",
        per_minute=3_000,
        query=frozenset({"pageSize", "skipToken", "includeCount"}),
    )
]
