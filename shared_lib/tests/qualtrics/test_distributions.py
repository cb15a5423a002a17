"""Distributions: what is asked for, and how ours are found again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import orjson
import pytest

from qualtrics_etl.errors import PermanentError, RetryableError
from qualtrics_etl.qualtrics import Distribution, Mail, distributions

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Api

    from qualtrics_etl.qualtrics import Client

MAIL = Mail(
    library_id="UR_1",
    message_id="MS_1",
    from_email="noreply@qemailserver.com",
    from_name="Acme",
    reply_to_email="ask@acme.example",
    subject="Your opinion",
    send_date=datetime(2026, 11, 22, 10, 0, 0, 999, tzinfo=timezone(timedelta(hours=1))),
    key="k-1",
)
SENT_MAIL = {
    "message": {"libraryId": "UR_1", "messageId": "MS_1"},
    "header": {
        "fromEmail": "noreply@qemailserver.com",
        "fromName": "Acme",
        "replyToEmail": "ask@acme.example",
        "subject": "Your opinion",
    },
    "sendDate": "2026-11-22T09:00:00Z",
    "embeddedData": {"qetl_key": "k-1"},
}


def test_invitation_has_exactly_the_documented_keys() -> None:
    """Keys are checked strictly, times are UTC in whole seconds, and our key is in it."""
    expires = datetime(2027, 1, 21, 9, tzinfo=UTC)
    body = distributions.build_invitation_body(MAIL, survey_id="SV_1", mailing_list_id="CG_1", link_expires_at=expires)
    assert orjson.loads(body) == {
        **SENT_MAIL,
        "recipients": {"mailingListId": "CG_1"},
        "surveyLink": {"surveyId": "SV_1", "type": "Individual", "expirationDate": "2027-01-21T09:00:00Z"},
    }


def test_reminder_takes_list_and_survey_from_its_invitation() -> None:
    """A reminder names neither recipients nor a link."""
    assert orjson.loads(distributions.build_reminder_body(MAIL)) == SENT_MAIL


def test_same_mail_gives_the_same_bytes() -> None:
    """What is built twice is the same request."""
    build = distributions.build_invitation_body
    bodies = {build(replace(MAIL), survey_id="SV_1", mailing_list_id="CG_1") for _ in range(2)}
    assert len(bodies) == 1


def test_time_without_a_zone_is_refused() -> None:
    """Nobody is mailed at night because a zone was forgotten."""
    with pytest.raises(PermanentError) as caught:
        distributions.build_reminder_body(replace(MAIL, send_date=datetime(2026, 11, 22)))
    assert caught.value.what == "send_date has no time zone."


def test_invitation_is_created(api: Api) -> None:
    """The exact bytes go out, and the id comes back."""
    api.answers({"id": "EMD_1"})
    assert distributions.create(api.client, b'{"a":1}') == "EMD_1"
    [sent] = api.requests
    assert (sent.method, sent.path, sent.body) == ("POST", "/API/v3/distributions", b'{"a":1}')


@pytest.mark.parametrize(
    ("create", "path"), [(distributions.create_reminder, "reminders"), (distributions.create_thank_you, "thankyous")]
)
@pytest.mark.parametrize("name", ["distributionId", "id"])
def test_follow_up_is_created(api: Api, create: Callable[[Client, str, bytes], str], path: str, name: str) -> None:
    """A follow-up's id is read under the name that the reference has, and under the usual one."""
    api.answers({name: "EMD_2"})
    assert create(api.client, "EMD_1", b"{}") == "EMD_2"
    assert (api.requests[0].method, api.requests[0].path) == ("POST", f"/API/v3/distributions/EMD_1/{path}")


def test_distribution_without_an_id_is_in_doubt(api: Api) -> None:
    """An answer without an id may have mailed people."""
    api.answers({})
    with pytest.raises(RetryableError) as caught:
        distributions.create(api.client, b"{}")
    assert caught.value.call_made is True


def test_ours_are_found_by_their_key(api: Api) -> None:
    """A list shows our key, whose list and survey it is, and what it belongs to; others have no key."""
    ours = {
        "id": "EMD_2",
        "parentDistributionId": "EMD_1",
        "requestType": "Reminder",
        "requestStatus": "Pending",
        "sendDate": "2026-11-25T09:00:00Z",
        "recipients": {"mailingListId": "CG_1", "contactId": None},
        "surveyLink": {"surveyId": "SV_1", "linkType": "Individual"},
        "embeddedData": {"qetl_key": "k-1"},
    }
    api.answers({"elements": [ours, {"id": "EMD_9", "embeddedData": None}], "nextPage": None})
    found = list(distributions.list_for(api.client, "SV_1", "CG_1", "Reminder"))
    sent_at = datetime(2026, 11, 25, 9, tzinfo=UTC)
    assert found == [
        Distribution("EMD_2", "EMD_1", "Reminder", "Pending", sent_at, "CG_1", "SV_1", "k-1"),
        Distribution("EMD_9", None, "", "", None, None, None, None),
    ]
    query = {"surveyId": "SV_1", "mailingListId": "CG_1", "distributionRequestType": "Reminder"}
    assert (api.requests[0].path, api.requests[0].query) == ("/API/v3/distributions", query)


def test_search_by_key_is_narrowed_by_the_survey_alone(api: Api) -> None:
    """Whatever list and type ours is shown under, it is found; another key is not."""
    api.answers({"elements": [{"id": "EMD_9"}, {"id": "EMD_2", "embeddedData": {"qetl_key": "k-1"}}]})
    api.answers({"elements": [{"id": "EMD_9"}]})
    found = distributions.find_by_key(api.client, "SV_1", "k-1")
    assert found is not None
    assert (found.distribution_id, distributions.find_by_key(api.client, "SV_1", "k-1")) == ("EMD_2", None)
    assert [request.query for request in api.requests] == [{"surveyId": "SV_1"}] * 2


@pytest.mark.parametrize(
    ("body", "check"),
    [
        (
            distributions.build_invitation_body(MAIL, survey_id="SV_1", mailing_list_id="CG_1"),
            "Check survey_id (SV_1), library_id (UR_1), message_id (MS_1) and from_email of the service",
        ),
        (
            distributions.build_reminder_body(MAIL),
            "Check library_id (UR_1), message_id (MS_1) and from_email of the service",
        ),
        (b"{}", "Check from_email of the service"),
    ],
)
def test_refusal_names_the_settings_and_what_they_said(api: Api, body: bytes, check: str) -> None:
    """A refusal that says only that something is not there points at the settings that the body was made from."""
    api.refuses(400, "RP_10", "Expected param not found: libraryId")
    with pytest.raises(PermanentError) as caught:
        distributions.create(api.client, body)
    assert str(caught.value) == (
        f"create_distribution: status 400 RP_10 Expected param not found: libraryId [request r-1] "
        f"{check} in config/dev.yml."
    )
