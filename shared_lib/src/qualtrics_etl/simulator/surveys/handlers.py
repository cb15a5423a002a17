"""Answers about surveys. Source: Recorded exchanges for the fields."""

from __future__ import annotations

from qualtrics_etl.simulator import paging
from qualtrics_etl.simulator.calls import Call, JsonObject, Reply
from qualtrics_etl.simulator.clock import iso
from qualtrics_etl.simulator.surveys.models import Survey

_PAGE = 100


def list_surveys(call: Call) -> Reply:
    """List surveys."""
    owner = call.state.user.user_id

    def element(survey: Survey) -> JsonObject:
        return {
            "id": survey.survey_id,
            "name": survey.name,
            "ownerId": owner,
            "lastModified": iso(survey.created_at),
            "creationDate": iso(survey.created_at),
            "isActive": survey.is_active,
        }

    return Reply(paging.page_by_offset(call.state.surveys.values(), call, element, size=_PAGE))


def get_survey(call: Call) -> Reply:
    """Show one survey; it has no questions, for nothing here answers them."""
    survey = call.state.survey(call.params["survey"])
    return Reply(
        {
            "id": survey.survey_id,
            "name": survey.name,
            "ownerId": call.state.user.user_id,
            "organizationId": call.state.user.brand_id,
            "isActive": survey.is_active,
            "creationDate": iso(survey.created_at),
            "lastModifiedDate": iso(survey.created_at),
            "expiration": {"startDate": None, "endDate": None},
            "questions": {},
            "exportColumnMap": {},
            "blocks": {},
            "flow": [],
            "embeddedData": [],
            "comments": {},
            "loopAndMerge": {},
            "responseCounts": {"auditable": 0, "generated": 0, "deleted": 0},
        }
    )
