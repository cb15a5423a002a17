"""Surveys: whether one is there and takes answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.qualtrics import Survey, surveys

if TYPE_CHECKING:
    from conftest import Api


def test_survey_tells_whether_it_takes_answers(api: Api) -> None:
    """A survey is read with its name and whether it is active."""
    api.answers({"id": "SV_1", "name": "Visit", "isActive": True, "questions": {}})
    assert surveys.get(api.client, "SV_1") == Survey("SV_1", "Visit", True)


def test_missing_survey_names_the_setting(api: Api) -> None:
    """Who wrote a wrong survey id reads where to correct it."""
    api.refuses(404, "GSI_2", "Survey not found.")
    with pytest.raises(PermanentError) as caught:
        surveys.get(api.client, "SV_9")
    assert caught.value.remedy == (
        "Check survey_id of the service in config/dev.yml and that the user of the credentials may use it."
    )
