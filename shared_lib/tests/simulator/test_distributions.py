"""Distributions: strict about their keys, sent at their time, reminders to those who have not finished."""

from __future__ import annotations

from typing import Any

import pytest

ANN = {"email": "ann@example.com"}
BOB = {"email": "bob@example.com"}
SURVEY = "SV_ExampleSurvey01"
LIST = f"/distributions?surveyId={SURVEY}"


def shown(api: Any, query: str = "") -> list[str]:
    """List the distributions of the survey; say their ids."""
    return [each["id"] for each in api.result("GET", LIST + query)["elements"]]


def test_invitation_is_shown_under_the_names_of_the_listing(api: Any) -> None:
    """The listing says `headers` and `linkType`, and echoes embedded data."""
    path = api.list_with(ANN)
    distribution = api.invite(path, embeddedData={"run": "r1"})
    [element] = api.result("GET", LIST)["elements"]
    stats = dict.fromkeys(("started", "bounced", "opened", "complaints", "blocked"), 0)
    assert element == {
        "id": distribution,
        "parentDistributionId": None,
        "ownerId": "UR_ExampleUser0001",
        "organizationId": "examplebrand",
        "requestStatus": "Pending",
        "requestType": "Invite",
        "sendDate": "2026-11-22T10:00:00Z",
        "createdDate": "2026-11-22T09:00:00Z",
        "modifiedDate": "2026-11-22T09:00:00Z",
        "customHeaders": {},
        "headers": {
            "fromEmail": "survey@example.com",
            "fromName": "Example",
            "replyToEmail": "help@example.com",
            "subject": "Your opinion",
        },
        "recipients": {
            "mailingListId": path.rpartition("/")[2],
            "contactId": None,
            "libraryId": None,
            "sampleId": None,
        },
        "message": {
            "libraryId": "UR_ExampleLibrary1",
            "messageId": "MS_ExampleInvite01",
            "messageType": "Library",
        },
        "surveyLink": {"surveyId": SURVEY, "expirationDate": "2027-01-01T00:00:00Z", "linkType": "Individual"},
        "stats": stats | {"sent": 0, "skipped": 0, "failed": 0, "finished": 0},
        "embeddedData": {"run": "r1"},
    }


def test_text_of_a_message_is_only_in_the_single_view(api: Any) -> None:
    """Listings leave the text out."""
    distribution = api.invite(api.new_list(), message={"messageText": "${l://SurveyURL}"})
    [element] = api.result("GET", LIST)["elements"]
    single = api.result("GET", f"/distributions/{distribution}?surveyId={SURVEY}")
    assert element["message"] == {"libraryId": None, "messageId": None, "messageType": "Inline"}
    assert single["message"] == {**element["message"], "messageText": "${l://SurveyURL}"}


def test_invitation_goes_out_at_its_time(api: Any) -> None:
    """Nobody is mailed before the send date; then each member is, once."""
    path = api.list_with(ANN, BOB)
    api.invite(path)
    api.simulator.advance(3599)
    assert api.mails() == {}
    api.simulator.advance(1)
    assert api.mails() == {"ann@example.com": ["Invite"], "bob@example.com": ["Invite"]}
    [element] = api.result("GET", LIST)["elements"]
    assert (element["requestStatus"], element["stats"]["sent"]) == ("Done", 2)


def test_send_date_in_the_past_sends_at_once(api: Any) -> None:
    """There is no way back from a date in the past."""
    api.invite(api.list_with(ANN), sendDate="2026-11-21T00:00:00Z")
    assert api.mails() == {"ann@example.com": ["Invite"]}


def test_repeated_invitation_mails_everyone_twice(api: Any) -> None:
    """Nothing tells a repeat from a second invitation."""
    path = api.list_with(ANN)
    for _ in range(2):
        api.invite(path, sendDate="2026-11-21T00:00:00Z")
    assert api.mails() == {"ann@example.com": ["Invite", "Invite"]}


def test_whoever_opted_out_or_has_no_address_is_not_mailed(api: Any) -> None:
    """Opting out of the list is skipped, a missing address fails; the counts tell."""
    path = api.list_with(ANN, {**BOB, "unsubscribed": True}, {"extRef": "3"})
    api.invite(path, sendDate="2026-11-21T00:00:00Z")
    [element] = api.result("GET", LIST)["elements"]
    stats = element["stats"]
    assert (stats["sent"], stats["skipped"], stats["failed"]) == (1, 1, 1)


def test_member_who_comes_before_the_send_date_is_mailed(api: Any) -> None:
    """Who is in the list when it is sent gets the mail."""
    path = api.list_with(ANN)
    api.invite(path)
    api.start_import(path, BOB)
    api.simulator.advance(3600)
    assert sorted(api.mails()) == ["ann@example.com", "bob@example.com"]


def test_invitation_to_one_person(api: Any) -> None:
    """One person is named by the place in the list, not by the contact's own id."""
    path = api.list_with(ANN, BOB)
    bob = api.result("GET", f"{path}/contacts")["elements"][1]
    recipients = {"mailingListId": path.rpartition("/")[2], "contactId": bob["contactLookupId"]}
    api.invite(path, recipients=recipients, sendDate="2026-11-21T00:00:00Z")
    assert api.mails() == {"bob@example.com": ["Invite"]}
    wrong = api.invitation(path, recipients={**recipients, "contactId": bob["contactId"]})
    assert api.refusal("POST", "/distributions", wrong)[0] == 400


def test_reminder_goes_to_who_has_not_finished_and_thanks_to_who_has(api: Any) -> None:
    """Follow-ups take list and survey from their invitation."""
    invitation = api.invite(api.list_with(ANN, BOB), sendDate="2026-11-22T09:00:00Z")
    reminder = api.follow_up("reminders", invitation, "2026-11-25T09:00:00Z")
    thanks = api.follow_up("thankyous", invitation, "2026-11-25T09:00:00Z")
    api.inspect("POST", "finished", {"distribution_id": invitation, "emails": ["Bob@example.com"]})
    api.simulator.advance(3 * 86_400)
    assert api.mails() == {"ann@example.com": ["Invite", "Reminder"], "bob@example.com": ["Invite", "ThankYou"]}
    listed = api.result("GET", f"{LIST}&distributionRequestType=Reminder")["elements"]
    assert [(each["id"], each["parentDistributionId"]) for each in listed] == [(reminder, invitation)]
    assert shown(api) == [invitation, reminder, thanks]


def test_reminder_of_a_reminder_is_404(api: Any) -> None:
    """Only invitations have follow-ups."""
    reminder = api.follow_up("reminders", api.invite(api.new_list()), "2026-11-25T09:00:00Z")
    body = api.invitation("")
    del body["recipients"], body["surveyLink"]
    refusal = api.refusal("POST", f"/distributions/{reminder}/reminders", body)
    assert refusal == (404, "GED_3", "Distribution not found.")


def test_deleted_pending_invitation_is_never_sent(api: Any) -> None:
    """Deleting answers without result; a second time it is 404, and its reminder reaches nobody."""
    distribution = api.invite(api.list_with(ANN))
    api.follow_up("reminders", distribution, "2026-11-25T09:00:00Z")
    assert "result" not in api.call("DELETE", f"/distributions/{distribution}").json()
    assert api.refusal("DELETE", f"/distributions/{distribution}") == (404, "GED_3", "Distribution not found.")
    api.simulator.advance(30 * 86_400)
    assert api.mails() == {}


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 2),
        ("&sendStartDate=2026-11-22T10:00:00Z&sendEndDate=2026-11-22T10:00:00Z", 1),
        ("&sendStartDate=2026-11-22T12:00:00Z", 0),
        ("&mailingListId=CG_000000000000000", 0),
        ("&distributionRequestType=Invite&useNewPaginationScheme=true", 2),
        ("&distributionRequestType=ThankYou", 0),
    ],
)
def test_listing_is_filtered(api: Any, query: str, count: int) -> None:
    """Dates are compared with the send date, both ends included."""
    path = api.new_list()
    api.invite(path)
    api.invite(path, sendDate="2026-11-22T11:00:00Z")
    assert len(shown(api, query)) == count


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "RP_10"),
        ("?surveyId=SV_000000000000000", 404, "GSI_2"),
        (f"?surveyId={SURVEY}&distributionRequestType=invite", 400, "QVAL_1"),
        (f"?surveyId={SURVEY}&sendStartDate=2026-11-22", 400, "QVAL_1"),
        (f"?surveyId={SURVEY}&sendStartDate=2026-11-22T10:00:00.000Z", 400, "QVAL_1"),
    ],
)
def test_listing_with_wrong_parameters_is_refused(api: Any, query: str, status: int, code: str) -> None:
    """The survey is required, and filters are strict."""
    assert api.refusal("GET", f"/distributions{query}")[:2] == (status, code)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"name": "x"}, (400, "RP_9", "Unexpected json key provided: name")),
        ({"action": "CreateDistribution"}, (400, "RP_9", "Unexpected json key provided: action")),
        ({"header": {}}, (400, "RP_10", "Expected param not found: fromEmail")),
        ({"message": {"libraryId": "UR_ExampleLibrary1"}}, (400, "RP_10", "Expected param not found: messageId")),
        (
            {"message": {"messageText": "x", "libraryId": "UR_ExampleLibrary1"}},
            (400, "RP_9", "Unexpected json key provided: libraryId"),
        ),
        ({"recipients": {}}, (400, "RP_10", "Expected param not found: mailingListId")),
    ],
)
def test_keys_are_checked_strictly(api: Any, changes: dict[str, object], refusal: tuple[int, str, str]) -> None:
    """An unknown key is RP_9, a missing one RP_10."""
    assert api.refusal("POST", "/distributions", api.invitation(api.new_list(), **changes)) == refusal


@pytest.mark.parametrize("key", ["message", "recipients", "header", "surveyLink", "sendDate"])
def test_required_key_that_is_missing_is_named(api: Any, key: str) -> None:
    """Each required key is asked for by its name."""
    body = api.invitation(api.new_list())
    del body[key]
    assert api.refusal("POST", "/distributions", body) == (400, "RP_10", f"Expected param not found: {key}")


@pytest.mark.parametrize(
    "changes",
    [
        {"sendDate": "2026-11-22T10:00:00.000Z"},
        {"sendDate": "2026-02-30T10:00:00Z"},
        {"sendDate": "2026-11-22 10:00:00"},
        {"surveyLink": {"surveyId": SURVEY, "type": "individual"}},
        {"surveyLink": {"surveyId": "wrong"}},
        {"embeddedData": {str(number): "x" for number in range(11)}},
        {"header": {"fromEmail": "nobody", "fromName": "x", "subject": "x"}},
        {"recipients": {"mailingListId": "POOL_ExampleDirector"}},
        {"message": "Hello"},
    ],
)
def test_value_of_a_wrong_form_is_400(api: Any, changes: dict[str, object]) -> None:
    """Dates, ids and types are checked before anything is scheduled."""
    assert api.refusal("POST", "/distributions", api.invitation(api.new_list(), **changes))[:2] == (400, "QVAL_1")
    assert shown(api) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"surveyLink": {"surveyId": "SV_000000000000000"}}, "GSI_2"),
        ({"message": {"libraryId": "UR_000000000000000", "messageId": "MS_ExampleInvite01"}}, "LIBRARY_NOT_FOUND"),
        ({"message": {"libraryId": "UR_ExampleLibrary1", "messageId": "MS_000000000000000"}}, "MESSAGE_NOT_FOUND"),
        ({"recipients": {"mailingListId": "CG_000000000000000"}}, "RECIPIENTS_NOT_FOUND"),
        ({"recipients": {"transactionBatchId": "BT_000000000000000"}}, "RECIPIENTS_NOT_FOUND"),
        (
            {
                "header": {
                    "fromEmail": "survey@example.com",
                    "fromName": "Example",
                    "subject": "MS_000000000000000",
                }
            },
            "MESSAGE_NOT_FOUND",
        ),
    ],
)
def test_id_that_does_not_exist_is_404(api: Any, changes: dict[str, object], code: str) -> None:
    """The refusal tells which of the ids is the wrong one."""
    assert api.refusal("POST", "/distributions", api.invitation(api.new_list(), **changes))[:2] == (404, code)
