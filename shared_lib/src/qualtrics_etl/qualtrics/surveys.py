"""Surveys: enough of one to know that it is there and takes answers."""

from __future__ import annotations

from dataclasses import dataclass

from qualtrics_etl.qualtrics.http import Client
from qualtrics_etl.qualtrics.registry import GET_SURVEY


@dataclass(frozen=True, slots=True)
class Survey:
    """A survey.

    Attributes:
        survey_id: `SV_...`.
        name: As its owner calls it.
        is_active: Whether it takes answers; an invitation to one that does not leads nowhere.
    """

    survey_id: str
    name: str
    is_active: bool


def get(client: Client, survey_id: str) -> Survey:
    """Return a survey.

    Raises:
        PermanentError: There is none, or the credentials may not see it.
        QualtricsEtlError: What `Client.call` raises besides.

    Source: Qualtrics API reference, page on getting a survey.
    """
    check = "survey_id of the service in config/<stage>.yml"
    result = client.call(GET_SURVEY, {"survey_id": survey_id}, check=check).result
    return Survey(result.text("id"), result.text_or_none("name") or "", result.flag("isActive"))
