"""Surveys, as they are seeded; calls only read them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Survey:
    """A survey.

    Attributes:
        created_at: Seconds since 1970.
    """

    survey_id: str
    name: str = "Example survey"
    is_active: bool = True
    created_at: float = 1_767_225_600.0
