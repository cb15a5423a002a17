"""Addresses of distributions. Source: Qualtrics API reference, limits, for the numbers."""

from __future__ import annotations

from qualtrics_etl.simulator.calls import Route
from qualtrics_etl.simulator.distributions import handlers

_ONE = "/distributions/{distribution}"
_FILTERS = (
    "surveyId mailingListId distributionRequestType sendStartDate sendEndDate pageSize skipToken useNewPaginationScheme"
)
_READ, _WRITE = "read:distributions", "write:distributions"

ROUTES = [
    Route(
        "GET",
        "/distributions",
        handlers.list_distributions,
        scope=_READ,
        per_minute=3_000,
        query=frozenset(_FILTERS.split()),
    ),
    Route("POST", "/distributions", handlers.create_distribution, scope=_WRITE, per_minute=3_000),
    Route("GET", _ONE, handlers.get_distribution, scope=_READ, per_minute=3_000, query=frozenset({"surveyId"})),
    Route("DELETE", _ONE, handlers.delete_distribution, scope=_WRITE, per_minute=3_000),
    Route("POST", _ONE + "/reminders", handlers.create_reminder, scope=_WRITE, per_minute=3_000),
    Route("POST", _ONE + "/thankyous", handlers.create_thank_you, scope=_WRITE, per_minute=3_000),
]
