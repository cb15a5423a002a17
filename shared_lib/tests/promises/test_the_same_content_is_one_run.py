"""The same content begins one run, whatever its name, however often it is seen, whoever dies while taking it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

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
