"""The inspection API: what it tells, what it changes, and to whom it answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from qualtrics_etl.simulator.inspection.routes import ROUTES

ANN = {"email": "ann@example.com"}


def test_health_tells_the_time(api: Any) -> None:
    """A start script can wait for it."""
    assert api.inspect("GET", "health") == {"status": "ok", "time": "2026-11-22T09:00:00Z"}


def test_summary_counts_everything(api: Any) -> None:
    """One look says how much of everything there is."""
    api.invite(api.list_with(ANN))
    assert api.inspect("GET", "state") == {
        "time": "2026-11-22T09:00:00Z",
        "directories": 1,
        "contacts": 1,
        "mailingLists": 1,
        "importJobs": 0,
        "importJobsUnfinished": 0,
        "distributions": 1,
        "distributionsPending": 1,
        "mailings": 0,
        "lateEffects": 0,
        "faults": 0,
        "calls": 3,
    }


def test_mailing_lists_are_shown_with_their_contacts(api: Any) -> None:
    """A test can compare whom a run put where."""
    path = api.list_with({**ANN, "embeddedData": {"branch": "north"}})
    [shown] = api.inspect("GET", "mailinglists")["mailingLists"]
    [contact] = api.inspect("GET", f"mailinglists/{shown['mailingListId']}/contacts")["contacts"]
    assert (path.rpartition("/")[2], shown["name"], shown["contactCount"]) == (shown["mailingListId"], "Customers", 1)
    assert (contact["email"], contact["embeddedData"]) == ("ann@example.com", {"branch": "north"})


def test_mailings_tell_who_was_mailed_and_what_is_scheduled(api: Any) -> None:
    """Sent mails stand by person, scheduled ones by distribution, with how many they would reach."""
    path = api.list_with(ANN)
    sent = api.invite(path, sendDate="2026-11-22T09:00:00Z")
    reminder = api.follow_up("reminders", sent, "2026-11-25T09:00:00Z")
    [member] = api.result("GET", f"{path}/contacts")["elements"]
    mail = {"distributionId": sent, "kind": "Invite", "sentAt": "2026-11-22T09:00:00Z"}
    assert api.inspect("GET", "mailings") == {
        "time": "2026-11-22T09:00:00Z",
        "sent": [{"email": "ann@example.com", "contactId": member["contactId"], "count": 1, "by": [mail]}],
        "scheduled": [
            {
                "distributionId": reminder,
                "kind": "Reminder",
                "parentDistributionId": sent,
                "surveyId": "SV_ExampleSurvey01",
                "mailingListId": path.rpartition("/")[2],
                "sendDate": "2026-11-25T09:00:00Z",
                "recipients": 1,
            }
        ],
    }


def test_calls_are_counted_by_endpoint_and_status(api: Any) -> None:
    """Refused calls count too, under their endpoint; inspection does not."""
    api.call("GET", "/surveys/SV_000000000000000")
    api.call("GET", "/whoami")
    api.call("GET", "/nothing")
    assert api.inspect("GET", "calls")["calls"] == {
        "GET /surveys/{survey}": {"404": 1},
        "GET /whoami": {"200": 1},
        "no such endpoint": {"404": 1},
    }


def test_request_log_holds_neither_token_nor_person(api: Any) -> None:
    """The log names requests; what they carried is not in it."""
    api.list_with(ANN)
    requests_seen = api.inspect("GET", "requests")["requests"]
    text = json.dumps(requests_seen)
    assert [each["endpoint"] for each in requests_seen] == [
        "POST /directories/{directory}/mailinglists",
        "POST /directories/{directory}/mailinglists/{list}/contacts",
    ]
    assert "ann@example.com" not in text
    assert api.simulator.state.tokens[0] not in text


def test_clock_is_advanced_and_set(api: Any) -> None:
    """Waiting is skipped: what falls due on the way happens."""
    api.invite(api.list_with(ANN))
    assert api.inspect("POST", "clock", {"advance_seconds": 3600}) == {
        "now": "2026-11-22T10:00:00Z",
        "offset_seconds": 3600.0,
    }
    assert api.mails() == {"ann@example.com": ["Invite"]}
    assert api.inspect("POST", "clock", {"set": "2027-01-01T00:00:00Z"})["now"] == "2027-01-01T00:00:00Z"


def test_faults_are_armed_shown_and_forgotten(api: Any) -> None:
    """A test arms a fault over HTTP."""
    [armed] = api.inspect("POST", "faults", {"scenario": "server_error", "count": 2})["faults"]
    assert (armed["scenario"], armed["count"]) == ("server_error", 2)
    assert api.call("GET", "/whoami").status_code == 500
    assert api.inspect("DELETE", "faults") == {"faults": []}
    [every] = api.inspect("POST", "faults", {"scenario": "server_error", "count": "all"})["faults"]
    assert every["count"] is None
    api.inspect("DELETE", "faults")
    assert api.call("GET", "/whoami").status_code == 200


def test_seed_is_added_over_http(api: Any) -> None:
    """Surveys, directories and tokens may come later."""
    api.inspect("POST", "seed", {"tokens": ["second"], "surveys": [{"survey_id": "SV_000000000000007"}]})
    survey = api.result("GET", "/surveys/SV_000000000000007", headers={"X-API-TOKEN": "second"})
    assert survey["name"] == "Example survey"


def test_reset_goes_back_to_the_seed(api: Any) -> None:
    """After a reset, everything is as at the start, and ids come again from the first."""
    first = api.new_list()
    api.inspect("POST", "reset", {})
    assert api.inspect("GET", "state")["mailingLists"] == 0
    assert api.new_list() == first


def test_whole_state_is_dumped_and_loaded_over_http(api: Any) -> None:
    """A dump brings everything back."""
    path = api.list_with(ANN)
    dump = api.inspect("GET", "dump")
    api.inspect("POST", "reset", {})
    api.inspect("POST", "load", dump)
    assert api.result("GET", path)["contactCount"] == 1


def test_page_escapes_what_clients_sent(api: Any) -> None:
    """A list's name is text, never markup."""
    api.invite(api.new_list("<script>alert(1)</script>"))
    page = api.session.get(f"{api.base_url}/_sim/", timeout=5)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script>" not in page.text


def test_page_lists_every_address(api: Any) -> None:
    """Whoever looks at the page finds all there is to ask."""
    text = api.session.get(f"{api.base_url}/_sim/", timeout=5).text
    assert [route.pattern for route in ROUTES if f"<td>{route.method} {route.pattern}</td>" not in text] == []


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("faults", {"scenario": "nothing"}, "There is no scenario 'nothing'"),
        ("faults", {"scenario": "throttle", "often": 1}, "Fault has no often"),
        ("faults", {"scenario": "throttle", "count": "1"}, "int expected, not str"),
        ("clock", {"advance_seconds": -1}, "turn it back"),
        ("clock", {"advance_seconds": True}, "The body must be"),
        ("clock", {"set": "tomorrow"}, "must be a date"),
        ("jobs", {"looks": -1}, "neither negative"),
        ("seed", {"surveys": [{"survey_id": "mine"}]}, "'mine' is not an id like SV_"),
        ("finished", {}, "The body must be"),
        ("load", {"version": 1}, "not a saved state"),
    ],
)
def test_wrong_inspection_body_is_400_and_says_why(api: Any, path: str, body: object, words: str) -> None:
    """A mistake in a test is told to its author."""
    response = api.session.post(f"{api.base_url}/_sim/{path}", json=body, timeout=5)
    assert response.status_code == 400
    assert words in response.json()["error"]


def test_unknown_inspection_address_is_404(api: Any) -> None:
    """There are no more addresses than the page lists."""
    assert api.session.get(f"{api.base_url}/_sim/nothing", timeout=5).status_code == 404


def test_inspection_answers_no_foreign_page(api: Any) -> None:
    """A web page of somebody else can neither post a form to it nor reach it under another name."""
    form = requests.post(f"{api.base_url}/_sim/reset", data={"a": "b"}, timeout=5)
    renamed = requests.get(f"{api.base_url}/_sim/dump", headers={"Host": "evil.example"}, timeout=5)
    assert (form.status_code, renamed.status_code) == (415, 403)
