"""What each scenario does to a call: its effect, and what the client sees."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import requests

from qualtrics_etl.simulator import SCENARIOS, Fault
from qualtrics_etl.simulator.faults import parse

LISTS = "/directories/POOL_ExampleDirector/mailinglists"


def create(api: Any) -> str:
    """Create a list; say what the client saw."""
    try:
        response = api.call("POST", LISTS, {"name": "x"})
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return "cut"
    return str(response.status_code)


@pytest.mark.parametrize(
    ("scenario", "seen", "lists"),
    [
        ("throttle", "429", 0),
        ("throttle_retry_after", "429", 0),
        ("server_error", "500", 0),
        ("unavailable", "503", 0),
        ("gateway_page", "504", 0),
        ("error_after_effect", "500", 1),
        ("cut_after_effect", "cut", 1),
        ("late_effect", "504", 0),
        ("cut_late_effect", "cut", 0),
        ("timeout", "cut", 0),
        ("timeout_after_effect", "cut", 1),
        ("slow_answer", "200", 1),
        ("cut_connection", "cut", 0),
        ("cut_answer", "cut", 1),
        ("wrong_token", "401", 0),
        ("forbidden", "403", 0),
        ("lagging_lists", "200", 1),
        ("slow_jobs", "200", 1),
        ("failed_job", "200", 1),
        ("empty_job", "200", 1),
        ("refused_import", "200", 1),
        ("report_not_found", "200", 1),
        ("untold_row", "200", 1),
        ("lagging_report", "200", 1),
        ("short_report_pages", "200", 1),
        ("one_based_report", "200", 1),
        ("unknown_report_words", "200", 1),
        ("unnamed_failures", "200", 1),
        ("unprocessed_addresses", "200", 1),
    ],
)
def test_scenario_hits_one_call(api: Any, scenario: str, seen: str, lists: int) -> None:
    """Each scenario shows what it says and has the effect it says; the call after it is untouched."""
    real_seconds = 0.05 if scenario in ("timeout", "timeout_after_effect", "slow_answer") else None
    api.simulator.arm(Fault(scenario, seconds=real_seconds))
    assert (create(api), len(api.inspect("GET", "mailinglists")["mailingLists"])) == (seen, lists)
    assert create(api) == "200"


def test_every_scenario_is_tested() -> None:
    """A new scenario gets a row above."""
    [rows] = [mark.args[1] for mark in test_scenario_hits_one_call.pytestmark]  # type: ignore[attr-defined]
    assert {row[0] for row in rows} == SCENARIOS.keys()


@pytest.mark.parametrize(("scenario", "header"), [("throttle", None), ("throttle_retry_after", "7")])
def test_throttle_may_say_when_to_come_again(api: Any, scenario: str, header: str | None) -> None:
    """Retry-After is there in one scenario and missing in the other."""
    api.simulator.arm(Fault(scenario, seconds=7))
    assert api.call("GET", "/whoami").headers.get("Retry-After") == header


def test_wrong_token_looks_like_a_wrong_token(api: Any) -> None:
    """The scenario answers as the API does to an unknown token."""
    api.simulator.arm(Fault("wrong_token"))
    assert api.refusal("GET", "/whoami") == (401, "DCD_7", "Unrecognized X-API-TOKEN.")


def test_gateway_page_is_no_json(api: Any) -> None:
    """Something between client and API may answer in HTML."""
    api.simulator.arm(Fault("gateway_page"))
    assert api.call("GET", "/whoami").headers["Content-Type"] == "text/html"


@pytest.mark.parametrize("scenario", ["late_effect", "cut_late_effect"])
def test_late_effect_comes_at_its_time(api: Any, scenario: str) -> None:
    """The list is not there, and then it is, dated when it came."""
    api.simulator.arm(Fault(scenario, seconds=20))
    create(api)
    api.simulator.advance(19)
    assert api.result("GET", LISTS)["elements"] == []
    api.simulator.advance(100)
    [element] = api.result("GET", LISTS)["elements"]
    assert element["creationDate"] == "2026-11-22T09:00:20Z"


def test_what_time_brings_comes_in_its_order(api: Any) -> None:
    """Late effects and sends happen at their own times, however far the clock is moved at once."""
    path = api.list_with({"email": "ann@example.com"})
    api.invite(path, sendDate="2026-11-22T09:00:20Z")
    for seconds, email in ((30, "late@example.com"), (10, "early@example.com")):
        api.simulator.arm(Fault("late_effect", seconds=seconds))
        api.call("POST", f"{path}/contacts", {"email": email})
    api.simulator.advance(100)
    members = [each["email"] for each in api.result("GET", f"{path}/contacts")["elements"]]
    assert members == ["ann@example.com", "early@example.com", "late@example.com"]
    assert list(api.mails()) == ["ann@example.com", "early@example.com"]


def test_late_effect_that_can_no_longer_happen_is_lost(api: Any) -> None:
    """What the call asked for may be impossible by then; nobody is told."""
    path = api.new_list()
    api.simulator.arm(Fault("late_effect"))
    api.call("DELETE", path)
    api.call("DELETE", path)
    api.simulator.advance(30)
    assert api.result("GET", LISTS)["elements"] == []


def test_lagging_list_can_be_read_but_is_not_listed_yet(api: Any) -> None:
    """Listings lag behind; the thing itself is there."""
    api.simulator.arm(Fault("lagging_lists", count=None, seconds=10))
    path = api.new_list()
    distribution = api.invite(path)
    listing = "/distributions?surveyId=SV_ExampleSurvey01"
    assert [api.result("GET", each)["elements"] for each in (LISTS, listing)] == [[], []]
    assert api.result("GET", path)["name"] == "Customers"
    api.simulator.advance(10)
    assert api.result("GET", listing)["elements"][0]["id"] == distribution
    assert len(api.result("GET", LISTS)["elements"]) == 1


def test_slow_job_takes_its_time(api: Any) -> None:
    """The next import is slow, on the simulator's clock."""
    path = api.new_list()
    api.simulator.arm(Fault("slow_jobs", seconds=60))
    job = f"{path}/transactioncontacts/{api.start_import(path, {'email': 'a@example.com'})['id']}"
    api.simulator.advance(59)
    assert api.result("GET", job)["status"] == "inProgress"
    api.simulator.advance(1)
    assert api.result("GET", job)["status"] == "complete"


def test_fault_waits_for_its_method_and_path(api: Any) -> None:
    """Other calls pass a fault by and don't use it up."""
    api.simulator.arm(Fault("server_error", method="GET", path="*/mailinglists"))
    assert [api.call("GET", "/whoami").status_code, create(api)] == [200, "200"]
    assert [api.call("GET", LISTS).status_code for _ in range(2)] == [500, 200]


def test_throttled_import_leaves_the_fault_of_the_job_to_the_next(api: Any) -> None:
    """A call without effect uses up no fault of its effect."""
    path = api.new_list()
    api.simulator.arm(Fault("failed_job"))
    api.simulator.arm(Fault("throttle"))
    assert api.refusal("POST", f"{path}/transactioncontacts", {"contacts": [{"extRef": "1"}]})[0] == 429
    job = api.start_import(path, {"extRef": "1"})
    assert api.result("GET", f"{path}/transactioncontacts/{job['id']}")["status"] == "failed"


def test_burst_lets_some_pass_hits_some_and_is_over(api: Any) -> None:
    """`skip` and `count` place a burst."""
    api.simulator.arm(Fault("throttle", skip=1, count=2))
    assert [api.call("GET", "/whoami").status_code for _ in range(5)] == [200, 429, 429, 200, 200]


def test_chance_is_drawn_from_the_seed() -> None:
    """The same seed hits the same calls; another one hits others."""
    drawn = []
    for seed in (1, 1, 2):
        fault = Fault("server_error", count=None, chance=0.5, seed=seed)
        drawn.append([fault.hits("GET", "/whoami") for _ in range(40)])
    assert drawn[0] == drawn[1] != drawn[2]
    assert 10 < sum(drawn[0]) < 30


def test_waiting_faults_end_when_the_server_stops(simulator: Any) -> None:
    """A time-out of minutes neither holds up a stop nor outlives it."""
    before = set(threading.enumerate())
    simulator.arm(Fault("timeout", seconds=600))
    with simulator.serve() as base_url, pytest.raises(requests.Timeout):
        requests.get(f"{base_url}/API/v3/whoami", headers={"X-API-TOKEN": simulator.state.tokens[0]}, timeout=0.05)
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(5)
    assert [thread for thread in left if thread.is_alive()] == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("throttle", Fault("throttle")),
        ("timeout:count=all,seconds=0.5", Fault("timeout", count=None, seconds=0.5)),
        ("server_error:path=*/mailinglists,skip=3,chance=0.5,seed=7,method=POST", None),
    ],
)
def test_scenario_is_read_from_the_command_line(text: str, fault: Fault | None) -> None:
    """A name, and settings behind a colon."""
    expected = fault or Fault("server_error", skip=3, chance=0.5, seed=7, method="POST", path="*/mailinglists")
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text", ["nothing", "throttle:count=x", "throttle:often=1", "throttle:chance=2", "timeout:seconds=-1"]
)
def test_scenario_that_can_not_be_read_is_refused(text: str) -> None:
    """A wrong name, setting or number says what there is."""
    with pytest.raises(ValueError, match=r"There are|number|from 0 to 1|not negative"):
        parse(text)
