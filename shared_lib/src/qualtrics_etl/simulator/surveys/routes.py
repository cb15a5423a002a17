"""Addresses of surveys. Source: Qualtrics API reference, limits, for the numbers."""

from __future__ import annotations

from qualtrics_etl.simulator.calls import Route
from qualtrics_etl.simulator.surveys import handlers

ROUTES = [
    Route(
        "GET", "/surveys", handlers.list_surveys, scope="read:surveys", per_minute=3_000, query=frozenset({"offset"})
    ),
    Route("GET", "/surveys/{survey}", handlers.get_survey, scope="read:surveys", per_minute=3_000),
]
