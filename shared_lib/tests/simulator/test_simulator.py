"""The simulator from Python: ids, time, dump and load, seeds."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.simulator import Directory, Fault, JobProgress, Library, Message, Seed, Simulator, Survey
from qualtrics_etl.simulator.clock import parse_instant
from qualtrics_etl.simulator.ids import Ids, is_id

NOW = parse_instant("2026-11-22T09:00:00Z")


def test_same_seed_gives_the_same_ids() -> None:
    """Ids are drawn from the seed: a repeated run is the same run."""
    first, second, other = Ids(7), Ids(7), Ids(8)
    drawn = [first.new("CG") for _ in range(100)]
    assert drawn == [second.new("CG") for _ in range(100)]
    assert set(drawn).isdisjoint(other.new("CG") for _ in range(100))
    assert len(set(drawn)) == 100


@given(st.integers(), st.sampled_from(["CG", "POOL", "EMD", "PGRS"]))
def test_ids_have_the_documented_form(seed: int, prefix: str) -> None:
    """Every id is its prefix and fifteen letters and digits."""
    assert is_id(Ids(seed).new(prefix), prefix)


def test_dump_brings_everything_back(api: Any) -> None:
    """A paused run is taken up where it was: jobs, sends, faults, counts, ids and time."""
    api.simulator.state.job_progress = JobProgress(seconds=60)
    path = api.list_with({"email": "ann@example.com", "embeddedData": {"a": 1, "b": True}})
    api.invite(path)
    job = api.start_import(path, {"email": "bob@example.com"})
    api.simulator.arm(Fault("late_effect", seconds=90))
    api.call("POST", path.rpartition("/")[0], {"name": "Late"})
    dump = api.simulator.dump()
    taken_up = Simulator.load(dump, rate_limits=False, time_source=lambda: 0.0)
    assert json.loads(taken_up.dump()) == json.loads(dump) | {"offset_seconds": NOW}
    taken_up.advance(7200)
    assert taken_up.state.imports.jobs[job["id"]].status == "complete"
    assert sorted(person["email"] for person in taken_up.mailings()["sent"]) == ["ann@example.com", "bob@example.com"]
    assert [each.name for each in taken_up.state.mailing_lists.values()] == ["Customers", "Late"]


def test_loaded_directory_still_knows_its_duplicates(api: Any) -> None:
    """After loading, a person who comes again is updated, not doubled."""
    path = api.list_with({"email": "ann@example.com"})
    api.simulator.restore(api.simulator.dump())
    api.start_import(path, {"email": "Ann@example.com", "firstName": "Ann"})
    assert [each["firstName"] for each in api.result("GET", f"{path}/contacts")["elements"]] == ["Ann"]


def test_loaded_clock_does_not_go_back() -> None:
    """Time goes on from where it was, even on a machine whose clock is behind."""
    dumped = Simulator(time_source=lambda: 5_000.0)
    dumped.advance(100)
    assert Simulator.load(dumped.dump(), time_source=lambda: 10.0).clock.now() == 5_100.0


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"version": 1}', b"\xff"])
def test_what_is_no_dump_is_refused(body: bytes) -> None:
    """A file that is something else says so, and nothing is changed."""
    simulator = Simulator()
    with pytest.raises(ValueError, match="not a saved state"):
        simulator.restore(body)
    assert simulator.state.tokens == Seed.example().tokens


def test_seed_knows_the_ids_of_somebodys_settings() -> None:
    """A local run's ids become directory, surveys, libraries and messages."""
    seed = Seed.for_ids(
        token="secret",
        directory_id="POOL_000000000000001",
        survey_ids=["SV_000000000000001", "SV_000000000000001"],
        messages=[
            ("UR_000000000000001", "MS_000000000000001", "invite"),
            ("UR_000000000000001", "MS_000000000000002", "reminder"),
        ],
    )
    assert [directory.directory_id for directory in seed.directories] == ["POOL_000000000000001"]
    assert seed.surveys == [Survey("SV_000000000000001")]
    assert seed.libraries == [
        Library(
            "UR_000000000000001",
            messages=[
                Message("MS_000000000000001", "invite", "Example invite"),
                Message("MS_000000000000002", "reminder", "Example reminder"),
            ],
        )
    ]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"directories": [Directory("POOL_short")]}, "'POOL_short' is not an id like POOL_"),
        ({"surveys": [Survey("SV_000000000000001")] * 2}, "seeded twice"),
        ({"libraries": [Library("UR_000000000000001", messages=[Message("MS_000000000000001", "shoes")])]}, "category"),
    ],
)
def test_seed_that_can_not_exist_is_refused(parts: dict[str, Any], words: str) -> None:
    """A wrong id in a seed is told before anything is served."""
    with pytest.raises(ValueError, match=words):
        Seed(**parts)


def test_two_simulators_with_one_seed_share_nothing() -> None:
    """What one simulator learns, the other doesn't know."""
    seed = Seed.example()
    first, second = Simulator(seed), Simulator(seed)
    first.state.tokens.append("more")
    first.state.directories.clear()
    assert (second.state.tokens, list(second.state.directories)) == (seed.tokens, ["POOL_ExampleDirector"])


def test_port_in_use_is_an_os_error(simulator: Simulator) -> None:
    """Whoever serves on a taken port is told, and nothing is printed."""
    with simulator.serve() as base_url:
        second = Simulator().serve(int(base_url.rpartition(":")[2]))
        with pytest.raises(OSError, match="in use"):
            second.__enter__()


def test_stop_leaves_no_connection_and_no_listener(simulator: Simulator) -> None:
    """After the block, kept connections are closed and the port is free."""
    with requests.Session() as session:
        with simulator.serve() as base_url:
            assert session.get(f"{base_url}/_sim/health", timeout=5).ok
        with pytest.raises(requests.ConnectionError):
            session.get(f"{base_url}/_sim/health", timeout=5)


def test_many_clients_at_once_lose_nothing(api: Any) -> None:
    """Calls from many threads are done one after the other, each once."""

    def create() -> None:
        for _ in range(10):
            headers = {"X-API-TOKEN": api.simulator.state.tokens[0]}
            url = f"{api.base_url}/API/v3/directories/POOL_ExampleDirector/mailinglists"
            requests.post(url, json={"name": "x"}, headers=headers, timeout=10)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(api.simulator.state.mailing_lists) == 80


def test_rate_limits_hold_over_http(simulator: Simulator) -> None:
    """A limited simulator answers 429 with Retry-After once the endpoint's minute is used up."""
    limited = Simulator(rate_scale=0.001, time_source=lambda: 30.0)
    with limited.serve() as base_url:
        headers = {"X-API-TOKEN": limited.state.tokens[0]}
        responses = [requests.get(f"{base_url}/API/v3/whoami", headers=headers, timeout=5) for _ in range(4)]
    assert [each.status_code for each in responses] == [200, 200, 200, 429]
    assert responses[-1].headers["Retry-After"] == "30"
