"""Bulk imports: accepted, run in order, looked at, reported."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qualtrics_etl.simulator import Fault, JobProgress, Simulator
from qualtrics_etl.simulator.calls import ApiRequest, Call
from qualtrics_etl.simulator.contact_imports.handlers import look_at_import, start_import
from qualtrics_etl.simulator.mailing_lists.models import MailingList

ANN, BOB = {"email": "ann@example.com"}, {"email": "bob@example.com"}


def counts(api: Any, mailing_list: str, job: Any) -> tuple[float, str, int, int, int]:
    """Look at a job; say percent, status, added, updated, failed."""
    looked = api.result("GET", f"{mailing_list}/transactioncontacts/{job['id']}")
    count = looked["contacts"]["count"]
    return looked["percentComplete"], looked["status"], count["added"], count["updated"], count["failed"]


def test_import_is_accepted_as_a_job(api: Any) -> None:
    """The answer is 202 and says where to look."""
    path = api.new_list()
    response = api.call("POST", f"{path}/transactioncontacts", {"contacts": [ANN]})
    job = response.json()["result"]
    assert response.status_code == 202
    assert job == {
        "id": job["id"],
        "contacts": {"unprocessed": []},
        "tracking": {"url": f"{api.base_url}/API/v3{path}/transactioncontacts/{job['id']}"},
        "status": "inProgress",
    }


def test_repeated_import_updates_and_adds_nobody(api: Any) -> None:
    """Where the directory de-duplicates, a repeat merges: the list holds each person once."""
    path = api.new_list()
    assert counts(api, path, api.start_import(path, ANN, BOB)) == (100.0, "complete", 2, 0, 0)
    assert counts(api, path, api.start_import(path, ANN, BOB)) == (100.0, "complete", 0, 2, 0)
    assert len(api.result("GET", f"{path}/contacts")["elements"]) == 2


def test_address_that_is_none_fails_in_the_job(api: Any) -> None:
    """A wrong address is not refused at once: the job counts and names it."""
    path = api.new_list()
    job = api.start_import(path, ANN, {"email": "nobody"})
    looked = api.result("GET", f"{path}/transactioncontacts/{job['id']}")
    assert (looked["contacts"]["count"], looked["invalidEmails"]) == (
        {"added": 1, "updated": 0, "failed": 1},
        ["nobody"],
    )


def test_report_tells_of_every_row(api: Any) -> None:
    """The report names each contact by its place in the request, with the ids it got; all values are texts."""
    path = api.new_list()
    job = api.start_import(path, ANN, {"email": "nobody"})
    report = api.call("GET", f"/directories/POOL_ExampleDirector/imports/api-import/jobs/{job['id']}/report").json()
    [member] = api.result("GET", f"{path}/contacts")["elements"]
    done = {
        "sourceIndexId": "0",
        "email": "ann@example.com",
        "contactId": member["contactId"],
        "importStatus": "SUCCESS",
        "importStatusCode": "200",
        "transactionId": "",
        "transactionStatus": "",
        "transactionStatusCode": "",
        "contactListContactId": member["contactLookupId"],
        "contactListContactStatus": "SUCCESS",
        "contactListContactStatusCode": "200",
    }
    failed = {"importStatus": "FAILURE", "importStatusCode": "400", "contactId": "", "contactListContactId": ""}
    failed |= {"contactListContactStatus": "FAILURE", "contactListContactStatusCode": "400"}
    assert (report["results"]["importReportEntries"], report["skipToken"]) == (
        [done, done | failed | {"sourceIndexId": "1", "email": "nobody"}],
        None,
    )


def test_ten_thousand_contacts_are_the_most(api: Any) -> None:
    """One contact more is refused, and so is none."""
    path = f"{api.new_list()}/transactioncontacts"
    assert api.call("POST", path, {"contacts": [ANN] * 10_000}).status_code == 202
    assert api.refusal("POST", path, {"contacts": [ANN] * 10_001})[:2] == (400, "QVAL_1")
    assert api.refusal("POST", path, {"contacts": []})[:2] == (400, "QVAL_1")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"contacts": {}},
        {"contacts": [ANN], "more": 1},
        {"contacts": ["ann@example.com"]},
        {"contacts": [{"email": None}]},
        {"contacts": [{"email": "a@example.com", "unsubscribed": "false"}]},
        {"contacts": [{"email": "a@example.com", "embeddedData": {"a": None}}]},
        {"contacts": [{"email": "a@example.com", "externalDataReference": "1"}]},
        {"contacts": [ANN], "transactionMeta": {"fields": ["a"]}},
        {"contacts": [ANN], "transactionMeta": {"batchId": "wrong"}},
    ],
)
def test_import_with_a_wrong_key_or_value_is_400(api: Any, body: dict[str, object]) -> None:
    """Null is not a value, and unknown keys refuse the whole call."""
    assert api.refusal("POST", f"{api.new_list()}/transactioncontacts", body)[:2] == (400, "QVAL_1")


@pytest.mark.parametrize(
    "contact",
    [
        {"embeddedData": {"a": "b"}},
        {"email": "a@example.com", "transactionData": {"unknown": 1}},
        {"email": "a@example.com", "embeddedData": {"order": 1}},
        {"email": "a@example.com", "embeddedData": {"x" * 201: 1}},
    ],
)
def test_contact_that_does_not_fit_is_unprocessed(api: Any, contact: dict[str, object]) -> None:
    """Such contacts are named by their position; the others come in."""
    path = api.new_list()
    meta = {"batchId": "BT_000000000000000", "fields": ["order"]}
    job = api.start_import(path, ANN, contact, BOB, transactionMeta=meta)
    assert job["contacts"] == {"unprocessed": ["1"]}
    assert counts(api, path, job) == (100.0, "complete", 2, 0, 0)


def test_batch_that_does_not_exist_makes_no_transactions(api: Any) -> None:
    """Contacts come in, no transaction is made, and nobody says so."""
    path = api.new_list()
    order = {**ANN, "transactionData": {"order": 1}}
    job = api.start_import(path, order, transactionMeta={"batchId": "BT_000000000000000", "fields": ["order"]})
    looked = api.result("GET", f"{path}/transactioncontacts/{job['id']}")
    assert (looked["contacts"]["count"]["added"], looked["transactions"]) == (1, {"count": {"created": 0}})


@pytest.mark.parametrize("wrong", ["POOL_ExampleDirector", "CG_"])
def test_list_that_does_not_exist_is_complete_with_nothing(api: Any, wrong: str) -> None:
    """A wrong list or directory is accepted, and ends as 100 % with 0/0/0."""
    path = api.new_list().replace(wrong, wrong[:-1] + "X" if wrong != "CG_" else "CG_0")
    assert counts(api, path, api.start_import(path, ANN)) == (100.0, "complete", 0, 0, 0)


def test_unknown_job_is_404(api: Any) -> None:
    """A job is found only by its own id."""
    assert api.refusal("GET", f"{api.new_list()}/transactioncontacts/PGRS_000000000000000")[0] == 404


def test_job_is_finished_after_so_many_looks(api: Any) -> None:
    """Progress by looks: each look moves the job on, and nothing is in the list before."""
    api.simulator.state.job_progress = JobProgress(looks=2)
    path = api.new_list()
    job = api.start_import(path, ANN)
    assert counts(api, path, job) == (49.5, "inProgress", 0, 0, 0)
    assert api.result("GET", f"{path}/contacts")["elements"] == []
    assert counts(api, path, job) == (100.0, "complete", 1, 0, 0)


def test_job_is_finished_after_so_many_seconds(api: Any) -> None:
    """Progress by seconds: the simulator's clock moves the job on."""
    api.inspect("POST", "jobs", {"seconds": 10})
    path = api.new_list()
    job = api.start_import(path, ANN)
    api.simulator.advance(5)
    assert counts(api, path, job) == (49.5, "inProgress", 0, 0, 0)
    api.simulator.advance(5)
    assert counts(api, path, job) == (100.0, "complete", 1, 0, 0)


def test_jobs_of_one_list_run_one_after_the_other(api: Any) -> None:
    """The second job of a list starts when the first has finished."""
    api.simulator.state.job_progress = JobProgress(seconds=10)
    path = api.new_list()
    first, second = api.start_import(path, ANN), api.start_import(path, ANN)
    api.simulator.advance(15)
    assert counts(api, path, first) == (100.0, "complete", 1, 0, 0)
    assert counts(api, path, second) == (49.5, "inProgress", 0, 0, 0)


def test_job_of_the_26th_list_waits(api: Any) -> None:
    """25 jobs run at once; the next one starts when one of them has finished."""
    api.simulator.state.job_progress = JobProgress(seconds=10)
    lists = [api.new_list() for _ in range(26)]
    jobs = [api.start_import(path, ANN) for path in lists]
    api.simulator.advance(5)
    assert [counts(api, lists[n], jobs[n])[0] for n in (0, 24, 25)] == [49.5, 49.5, 0.0]
    api.simulator.advance(15)
    assert counts(api, lists[25], jobs[25])[:2] == (100.0, "complete")


def test_job_beyond_running_and_waiting_is_429(api: Any) -> None:
    """25 lists have a job that runs, 100 jobs wait, and the next one is refused until one has finished."""
    api.simulator.state.job_progress = JobProgress(seconds=10)
    lists = [api.new_list() for _ in range(25)]
    for path in lists * 5:
        api.start_import(path, ANN)
    assert api.refusal("POST", f"{lists[0]}/transactioncontacts", {"contacts": [ANN]})[0] == 429
    api.simulator.advance(10)
    api.start_import(lists[0], ANN)


@pytest.mark.parametrize(("scenario", "status"), [("failed_job", "failed"), ("empty_job", "complete")])
def test_job_that_comes_to_nothing(api: Any, scenario: str, status: str) -> None:
    """A job may fail with HTTP 200, or be complete without having done anything; the next one works."""
    api.simulator.arm(Fault(scenario))
    path = api.new_list()
    assert counts(api, path, api.start_import(path, ANN)) == (100.0, status, 0, 0, 0)
    assert counts(api, path, api.start_import(path, ANN)) == (100.0, "complete", 1, 0, 0)


@settings(max_examples=50)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "email": st.sampled_from(["a@example.com", "A@example.com", "b@example.com", "wrong", ""]),
                "extRef": st.text(max_size=3),
                "transactionData": st.just({"unknown": 1}),
            },
        ),
        min_size=1,
    )
)
def test_every_contact_has_one_outcome(contacts: list[dict[str, object]]) -> None:
    """Added, updated, failed and unprocessed add up to what was sent, and the list holds each person once."""
    state = Simulator().state
    path = {"directory": "POOL_ExampleDirector", "list": "CG_1"}
    state.mailing_lists["CG_1"] = _mailing_list()
    started = start_import(Call(ApiRequest("POST", "/", {}, {"contacts": contacts}, ""), path, state, 1.0)).result
    assert started is not None
    state.run_due(1.0)
    look = Call(ApiRequest("GET", "/", {}, {}, ""), path | {"import": started["id"]}, state, 1.0)
    result = look_at_import(look).result
    assert result is not None
    count = result["contacts"]["count"]
    assert sum(count.values()) + len(started["contacts"]["unprocessed"]) == len(contacts)
    assert len(state.mailing_lists["CG_1"].members) == count["added"]


def _mailing_list() -> MailingList:
    return MailingList("CG_1", "POOL_ExampleDirector", "List", "UR_ExampleUser0001", 0.0, 0.0, 0.0)


def report_of(api: Any, job: Any) -> list[dict[str, Any]]:
    """Read a report, page after page."""
    path, entries, query = f"/directories/POOL_ExampleDirector/imports/api-import/jobs/{job['id']}/report", [], ""
    while True:
        answer = api.call("GET", path + query).json()
        entries += answer["results"]["importReportEntries"]
        if answer["skipToken"] is None:
            return entries
        query = f"?skipToken={answer['skipToken']}"


def told(entries: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Return number, address, word and code of each contact of a report."""
    names = ("sourceIndexId", "email", "importStatus", "importStatusCode")
    return [tuple(entry[name] for name in names) for entry in entries]  # type: ignore[misc]  # four names


def test_language_that_is_no_code_refuses_the_whole_call(api: Any) -> None:
    """One bad field in one contact, and no contact of the call comes in."""
    path = api.new_list()
    body = {"contacts": [ANN, {**BOB, "language": "Hochdeutsch"}]}
    refusal = api.refusal("POST", f"{path}/transactioncontacts", body)
    assert refusal == (400, "QVAL_1", "contacts[1].language is not a language code")
    assert api.result("GET", f"{path}/contacts")["elements"] == []


def test_report_comes_in_pages(api: Any, simulator: Simulator) -> None:
    """A page names the token of the next one; together they name each contact once."""
    simulator.arm(Fault("short_report_pages", count=None))
    path = api.new_list()
    people = [{"email": f"p{number}@example.com"} for number in range(5)]
    entries = report_of(api, api.start_import(path, *people))
    assert [entry["email"] for entry in entries] == [person["email"] for person in people]
    assert sum(note.endpoint.endswith("/report") for note in simulator.requests()) == 3


def test_import_may_count_from_one(api: Any, simulator: Simulator) -> None:
    """By a scenario, positions begin with 1, in the report and in `unprocessed`."""
    simulator.arm(Fault("one_based_report"))
    job = api.start_import(api.new_list(), ANN, {"firstName": ""}, BOB)
    assert job["contacts"]["unprocessed"] == ["2"]
    assert [row[:2] for row in told(report_of(api, job))] == [("1", ANN["email"]), ("3", BOB["email"])]


def test_unprocessed_may_be_addresses(api: Any, simulator: Simulator) -> None:
    """By a scenario, `unprocessed` names addresses."""
    simulator.arm(Fault("unprocessed_addresses"))
    wrong = {**BOB, "embeddedData": {"note": "x" * 1025}}
    assert api.start_import(api.new_list(), ANN, wrong)["contacts"]["unprocessed"] == [BOB["email"]]


def test_failures_may_be_told_by_the_report_alone(api: Any, simulator: Simulator) -> None:
    """By a scenario, the status counts who failed and names nobody; the report does."""
    simulator.arm(Fault("unnamed_failures"))
    path = api.new_list()
    job = api.start_import(path, ANN, {"email": "nobody"})
    looked = api.result("GET", f"{path}/transactioncontacts/{job['id']}")
    assert (looked["contacts"]["count"]["failed"], "invalidEmails" in looked) == (1, False)
    assert told(report_of(api, job))[1] == ("1", "nobody", "FAILURE", "400")


def test_report_may_speak_in_unknown_words(api: Any, simulator: Simulator) -> None:
    """By a scenario, words and codes are such as nobody has seen."""
    simulator.arm(Fault("unknown_report_words"))
    job = api.start_import(api.new_list(), ANN, {"email": "nobody"})
    assert told(report_of(api, job)) == [("0", ANN["email"], "STATE_1", "A1"), ("1", "nobody", "STATE_2", "E7")]


def test_row_may_be_left_untold(api: Any, simulator: Simulator) -> None:
    """By a scenario, the last contact is counted nowhere and comes into no list."""
    simulator.arm(Fault("untold_row"))
    path = api.new_list()
    job = api.start_import(path, ANN, BOB)
    assert counts(api, path, job) == (100.0, "complete", 1, 0, 0)
    assert told(report_of(api, job))[1] == ("1", BOB["email"], "DEFERRED", "")
    assert len(api.result("GET", f"{path}/contacts")["elements"]) == 1


def test_report_may_lag_or_be_missing(api: Any, simulator: Simulator) -> None:
    """By scenarios, a report names nobody yet, or is not to be found; the next look finds it."""
    job = api.start_import(api.new_list(), ANN)
    path = f"/directories/POOL_ExampleDirector/imports/api-import/jobs/{job['id']}/report"
    simulator.arm(Fault("lagging_report"))
    assert report_of(api, job) == []
    simulator.arm(Fault("report_not_found"))
    assert api.call("GET", path).status_code == 404
    assert len(report_of(api, job)) == 1


def test_import_may_be_refused_whatever_it_holds(api: Any, simulator: Simulator) -> None:
    """By a scenario, a call is refused as if something in it were wrong; nothing happens."""
    simulator.arm(Fault("refused_import"))
    path = api.new_list()
    refusal = api.refusal("POST", f"{path}/transactioncontacts", {"contacts": [ANN]})
    assert refusal == (400, "QVAL_1", "The request is not as it must be.")
    assert api.result("GET", f"{path}/contacts")["elements"] == []
