"""The same content begins one run, whatever its name, however often it is seen, whoever dies while taking it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from qualtrics_etl.messages import MESSAGE_LIFETIME, Message, Ticked

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Client, Place

TAKING = [
    "put payloads/fetch_sftp_file-",
    "put files/",
    "put ledger/fetch_sftp_file-20261122T090100Z/fetch_sftp_file/all",
    "put ledger/fetch_sftp_file-20261122T090100Z/fetch_sftp_file/f",
    "send parse_file",
    "put files/seen/",
    "send fetch_sftp_file",
]


def assert_one_run(place: Place) -> None:
    """Three people were invited, once."""
    assert place.members() == place.contacts() == [f"p{n}@client.example" for n in range(3)]
    assert (len(place.lists()), place.scheduled()) == (1, ["Invite", "Reminder"])


def test_two_names_of_one_content(client: Client, place: Place) -> None:
    """Of two files with the same content at once, one begins a run; the other is known, and says so."""
    client.drop("a.csv")
    client.drop("b.csv")
    client.tick()
    place.run()
    assert_one_run(place)
    skipped = [
        place.text(key) for key in place.keys("ledger/fetch_sftp_file-") if "was taken before" in place.text(key)
    ]
    assert len(skipped) == 1
    assert len(client.files()) == 1


def test_content_that_comes_again_under_another_name(client: Client, place: Place) -> None:
    """A content that was taken weeks ago begins no second run, and its copy is not kept."""
    client.drop("a.csv")
    client.tick()
    place.run()
    place.clock.advance(20 * 86_400)
    client.drop("b.csv")
    client.tick()
    place.run()
    assert_one_run(place)
    assert len(place.keys("payloads/fetch_sftp_file-")) == 1


def test_file_that_lies_there_for_ever_is_read_once(client: Client, place: Place) -> None:
    """A file that stays is not even sighted again."""
    client.drop("a.csv")
    for _ in range(3):
        client.tick()
        place.run()
    assert_one_run(place)
    assert len([key for key in place.keys("ledger/fetch_sftp_file-") if not key.endswith("/all")]) == 1


def test_two_ticks_at_once(client: Client, place: Place) -> None:
    """Two ticks that sight the same file begin one run of it."""
    client.drop("a.csv")
    client.tick()
    client.tick()
    place.run()
    assert_one_run(place)


@pytest.mark.parametrize("after_fetch", ["keep", "delete", "move:done"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("boundary", TAKING)
def test_worker_killed_while_taking(client: Client, place: Place, boundary: str, after: bool, after_fetch: str) -> None:
    """A worker that dies anywhere while a file is taken leaves one run, and the client's file where it belongs."""
    (client.root / "done").mkdir()
    place.settings["fetch_sftp_file"] = {"after_fetch": after_fetch}
    client.drop("a.csv")
    client.tick()
    place.mishap(boundary, after=after)
    place.run()
    assert place.mishaps.armed[0].met
    assert_one_run(place)
    assert client.names() == {"keep": ["a.csv"], "delete": [], "move:done": ["done/a.csv"]}[after_fetch]


def test_new_content_under_the_old_name(client: Client, place: Place, contacts: Callable[..., bytes]) -> None:
    """A file that is replaced by another one of the same name begins a run of its own."""
    client.drop("a.csv")
    client.tick()
    place.run()
    client.drop("a.csv", contacts(2, first=7), age_seconds=-300)
    client.tick()
    place.run()
    assert (len(place.lists()), len(place.members())) == (2, 5)


def test_content_replaced_before_its_run_began_is_not_lost(
    client: Client, place: Place, contacts: Callable[..., bytes]
) -> None:
    """A file that was copied by a worker that then died is taken, though the client has replaced it meanwhile."""
    client.drop("a.csv")
    place.mishap("put files/")
    client.tick()
    place.run(until=lambda: place.mishaps.armed[0].met)
    client.drop("a.csv", contacts(2, first=7), age_seconds=-300)
    place.run()
    client.tick()
    place.run()
    assert (len(place.lists()), len(place.members())) == (2, 5)


def kill_taker(client: Client, place: Place, boundary: str, *, after: bool = False) -> None:
    """Let the worker that takes the first of two files of one content die; only the second one is left to deliver."""
    place.settings["fetch_sftp_file"] = {"after_fetch": "delete"}
    client.drop("a.csv")
    client.tick()
    place.deliver("fetch_sftp_file")
    place.mishap(boundary, after=after)
    place.wait_for("fetch_sftp_file")
    place.deliver("fetch_sftp_file")
    assert place.mishaps.armed[0].met
    client.drop("b.csv")


@pytest.mark.parametrize(
    ("boundary", "after"), [("put files/", True), ("put ledger/", False), ("put ledger/", True), ("send parse_", False)]
)
def test_file_stays_until_the_run_of_its_content_has_begun(
    client: Client, place: Place, boundary: str, *, after: bool
) -> None:
    """A second file of a content whose taker died is not deleted in the belief that a run is under way."""
    kill_taker(client, place, boundary, after=after)
    client.tick()
    place.run(until=lambda: "b.csv" not in client.names())
    assert place.waiting("parse_file") != [] or place.lists() != []
    place.run()
    assert_one_run(place)
    assert client.names() == []


def test_run_begins_though_its_first_taker_never_comes_back(client: Client, place: Place) -> None:
    """A content whose taker is in the dead-letter queue is begun by the next file that has it, from the kept copy."""
    kill_taker(client, place, "put files/", after=True)
    (lost,) = place.waiting("fetch_sftp_file")
    place.rebuild_queues()
    client.tick()
    place.run()
    assert_one_run(place)
    (copy,) = place.keys("payloads/fetch_sftp_file-")
    assert Message.decode(lost.body).batch in copy


def test_run_begins_from_another_copy_when_the_first_has_expired(client: Client, place: Place) -> None:
    """A content whose taker is gone, and whose copy has expired, is begun from the copy of the next file."""
    kill_taker(client, place, "put files/", after=True)
    place.rebuild_queues()
    (first,) = place.keys("payloads/fetch_sftp_file-")
    place.bucket.delete(first)
    client.tick()
    place.run()
    assert_one_run(place)
    assert place.keys("payloads/fetch_sftp_file-") != [first]


TWO_INTAKES = {"one": ("fetch_one", "parse_one"), "two": ("fetch_two", "parse_two")}
OF_KIND = {
    name: {"kind": kind}
    for kind, names in {"fetch_sftp_file": ("fetch_one", "fetch_two"), "parse_file": ("parse_one", "parse_two")}.items()
    for name in names
}


@pytest.mark.parametrize(
    ("chains", "runs"), [(TWO_INTAKES, 2), ({**TWO_INTAKES, "two": ("fetch_two", "parse_one")}, 1)]
)
def test_content_in_two_folders_runs_once_for_each_chain(
    client: Client, place: Place, chains: dict[str, tuple[str, ...]], runs: int
) -> None:
    """The same bytes are input to each chain that has a folder, and one run where two folders feed one chain."""
    place.workflow = place.workflow_of(chains, {name: OF_KIND[name] for chain in chains.values() for name in chain})
    place.rebuild_queues()
    for service, folder in (("fetch_one", "one"), ("fetch_two", "two")):
        place.settings[service] = {"folder": f"/{folder}"}
        client.drop(f"{folder}/contacts.csv")
        now = place.clock.now()
        place.step(service).start(f"{service}-tick", Ticked(now.isoformat()), now + MESSAGE_LIFETIME)
    place.run()
    begun = [key for key in place.keys("ledger/acme-etl-") if "/parse_" in key]
    assert (len(begun), len({key.split("/")[1] for key in begun})) == (runs, runs)
