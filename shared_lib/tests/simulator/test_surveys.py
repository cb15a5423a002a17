"""Surveys, which calls only read."""

from __future__ import annotations

from typing import Any

from qualtrics_etl.simulator import Seed, Survey


def test_surveys_are_listed_by_offset(api: Any) -> None:
    """More than a page of surveys is behind `nextPage`, by offset."""
    api.simulator.state.add(Seed(surveys=[Survey(f"SV_{number:015}") for number in range(100)]))
    page = api.result("GET", "/surveys")
    rest = api.session.get(page["nextPage"], timeout=5).json()["result"]
    assert (len(page["elements"]), page["nextPage"]) == (100, f"{api.base_url}/API/v3/surveys?offset=100")
    assert (len(rest["elements"]), rest["nextPage"]) == (1, None)


def test_survey_is_shown(api: Any) -> None:
    """A survey tells whether it is active."""
    survey = api.result("GET", "/surveys/SV_ExampleSurvey01")
    assert (survey["name"], survey["isActive"]) == ("Example survey", True)


def test_unknown_survey_is_404_without_request_id(api: Any) -> None:
    """The refusal has its own code and no request id, as recorded."""
    response = api.call("GET", "/surveys/SV_000000000000000")
    assert (response.status_code, response.json()["meta"]) == (
        404,
        {"httpStatus": "404 - Not Found", "error": {"errorMessage": "Survey not found.", "errorCode": "GSI_2"}},
    )
