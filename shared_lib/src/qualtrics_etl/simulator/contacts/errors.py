"""Refusals about contacts and searches."""

from __future__ import annotations

from qualtrics_etl.simulator.errors import ApiError, invalid


def too_many_hits(most: int) -> ApiError:
    """A search read too far. Source: Qualtrics API reference, the page on searching contacts; the words are chosen."""
    return invalid(f"A search can't be read past {most} contacts: narrow the filter.")


def filter_not_simulated(filter_type: str) -> ApiError:
    """A documented filter that is not simulated yet: refused, so that no test takes silence for an answer."""
    return invalid(f"The simulator does not know the filter {filter_type} yet.")
