"""The client's files: each whole, none while it grows, none lost, and put away only when the run has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from qualtrics_etl import FetchSftpFile
from qualtrics_etl.messages import FileFetched, Message

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Client, Place


def fetch_only(place: Place, **settings: object) -> None:
    """Stop behind the fetching."""
    place.use("fetch_sftp_file", "parse_file")
    place.settings["fetch_sftp_file"] = settings


def fetched(place: Place) -> list[FileFetched]:
    """Return the files that the next service was told of."""
    return [Message.decode(each.body).fact(FileFetched) for each in place.waiting("parse_file")]


def run_fetch(place: Place) -> None:
    """Work on what waits for fetching, and on nothing else."""
    place.run_only("fetch_sftp_file")


def test_file_is_stored_whole_and_begins_a_run(client: Client, place: Place) -> None:
    """The next service gets name, size, hash and copy of the file, in a run named from its content."""
    fetch_only(place)
    path = client.drop("a.csv", b"email\np0@client.example\n")
    client.tick()
    run_fetch(place)
    (message,) = [Message.decode(each.body) for each in place.waiting("parse_file")]
    fact = message.fact(FileFetched)
    assert (message.run, message.batch) == (f"acme-etl-{fact.sha256[:12]}", "all")
    assert message.context == (fact,)
    assert (fact.name, fact.size, place.text(fact.key).encode()) == ("a.csv", 24, path.read_bytes())


def test_file_is_looked_at_twice(client: Client, place: Place) -> None:
    """Between the first look and the taking lies the time that is set."""
    fetch_only(place, stable_seconds=90)
    client.drop()
    client.tick()
    began = place.clock.now()
    run_fetch(place)
    assert (place.clock.now() - began).total_seconds() == 90


def test_growing_file_is_taken_when_it_has_grown(client: Client, place: Place) -> None:
    """A file that changed between two looks is looked at again, as often as it changes, and taken once."""
    fetch_only(place)
    path = client.drop("a.csv", b"email\n")
    client.tick()
    place.deliver("fetch_sftp_file")
    for line in (b"p0@client.example\n", b"p1@client.example\n"):
        place.wait_for("fetch_sftp_file")
        with path.open("ab") as file:
            file.write(line)
        place.deliver("fetch_sftp_file")
        assert fetched(place) == []
    run_fetch(place)
    assert [fact.size for fact in fetched(place)] == [6 + 2 * 18]


def test_file_that_becomes_what_it_was_is_taken(client: Client, place: Place) -> None:
    """A file that changed and changed back is taken; the sightings don't go round in a circle."""
    fetch_only(place)
    client.drop("a.csv", b"email\np0@client.example\n")
    client.tick()
    place.deliver("fetch_sftp_file")
    place.wait_for("fetch_sftp_file")
    client.drop("a.csv", b"email\n")
    place.deliver("fetch_sftp_file")
    client.drop("a.csv", b"email\np0@client.example\n")
    run_fetch(place)
    assert [fact.size for fact in fetched(place)] == [24]


def test_file_that_changes_between_look_and_copy_is_not_taken(client: Client, place: Place) -> None:
    """A file that is replaced after it was found stable leaves no copy behind, and is taken as what it became."""
    fetch_only(place)
    client.drop("a.csv", b"email\np0@client.example\n")
    client.tick()
    place.meanwhile("put payloads/", lambda: client.drop("a.csv", b"email\np1@client.example\n", age_seconds=-5))
    place.run(until=lambda: place.mishaps.armed[0].met)
    assert (place.keys("payloads/"), fetched(place)) == ([], [])
    run_fetch(place)
    (fact,) = fetched(place)
    assert place.text(fact.key) == "email\np1@client.example\n"


def test_file_that_is_gone_is_left_out(client: Client, place: Place) -> None:
    """A file that the client took back before it was taken begins nothing, and comes back as new."""
    fetch_only(place)
    client.drop().unlink()
    client.drop()
    client.tick()
    place.deliver("fetch_sftp_file")
    (client.root / "contacts.csv").unlink()
    run_fetch(place)
    assert fetched(place) == []
    client.drop()
    client.tick()
    run_fetch(place)
    assert [fact.name for fact in fetched(place)] == ["contacts.csv"]


@pytest.mark.parametrize(("after_fetch", "left"), [("keep", ["a.csv"]), ("delete", []), ("move:done", ["done/a.csv"])])
def test_file_is_put_away_as_set(client: Client, place: Place, after_fetch: str, left: list[str]) -> None:
    """Kept, deleted or moved."""
    (client.root / "done").mkdir()
    fetch_only(place, after_fetch=after_fetch)
    client.drop("a.csv")
    client.tick()
    run_fetch(place)
    assert (client.names(), len(fetched(place))) == (left, 1)


def test_file_is_not_put_away_before_the_run_has_it(client: Client, place: Place) -> None:
    """While the next service could not be told, the client's file stays."""
    fetch_only(place, after_fetch="delete")
    client.drop("a.csv")
    client.tick()
    place.deliver("fetch_sftp_file")
    place.wait_for("fetch_sftp_file")
    place.mishap("send parse_file")
    place.deliver("fetch_sftp_file")
    assert (client.names(), fetched(place)) == (["a.csv"], [])
    run_fetch(place)
    assert (client.names(), len(fetched(place))) == ([], 1)


def test_new_file_of_the_same_name_is_not_put_away(
    client: Client, place: Place, contacts: Callable[..., bytes]
) -> None:
    """What came after the file that was taken stays, and is taken in turn."""
    fetch_only(place, after_fetch="delete")
    client.drop("a.csv")
    client.tick()
    place.mishap("send parse_file", after=True)
    place.deliver("fetch_sftp_file")
    place.wait_for("fetch_sftp_file")
    place.deliver("fetch_sftp_file")
    client.drop("a.csv", contacts(1, first=9), age_seconds=-60)
    run_fetch(place)
    assert client.names() == ["a.csv"]
    client.tick()
    run_fetch(place)
    assert (client.names(), len({fact.sha256 for fact in fetched(place)})) == ([], 2)


def test_missing_folder_for_what_was_taken_is_named(client: Client, place: Place) -> None:
    """A run that has its file goes on; that the file can't be put away is told."""
    fetch_only(place, after_fetch="move:done")
    client.drop("a.csv")
    client.tick()
    run_fetch(place)
    assert "after_fetch" in place.cause("fetch_sftp_file")
    assert len({fact.sha256 for fact in fetched(place)}) == 1


def test_marker_says_that_a_file_is_whole(client: Client, place: Place) -> None:
    """With a marker a file is taken at once; without one it waits; marker and file are put away together."""
    fetch_only(place, marker_suffix=".done", after_fetch="delete")
    client.drop("a.csv")
    client.drop("a.csv.done", b"\n")
    client.drop("b.csv", b"email\n")
    client.tick()
    began = place.clock.now()
    run_fetch(place)
    assert [fact.name for fact in fetched(place)] == ["a.csv"]
    assert (client.names(), place.clock.now()) == (["b.csv"], began)


def test_marker_of_the_file_before_vouches_for_nothing(client: Client, place: Place) -> None:
    """A marker that is older than the file was written for another one."""
    fetch_only(place, marker_suffix=".done")
    client.drop("a.csv.done", b"\n", age_seconds=600)
    client.drop("a.csv")
    client.tick()
    run_fetch(place)
    assert fetched(place) == []


def test_changed_file_waits_for_its_own_marker(client: Client, place: Place) -> None:
    """A file that is replaced between sighting and taking is not vouched for by the marker of the one before."""
    fetch_only(place, marker_suffix=".done")
    client.drop("a.csv", b"email\n", age_seconds=60)
    client.drop("a.csv.done", b"\n", age_seconds=60)
    client.tick()
    place.deliver("fetch_sftp_file")
    client.drop("a.csv", b"email\np0@client.example\n")
    run_fetch(place)
    assert fetched(place) == []
    client.drop("a.csv.done", b"\n")
    client.tick()
    run_fetch(place)
    assert [fact.size for fact in fetched(place)] == [24]


def test_serial_service_waits_as_well(client: Client, place: Place) -> None:
    """A FIFO queue can't delay a message, so the service does: a file is not taken at its first sight."""
    place.use("fetch_sftp_file", "parse_file", fetch_sftp_file={"concurrency": "serial"})
    client.drop("a.csv")
    client.tick()
    began = place.clock.now()
    run_fetch(place)
    assert ((place.clock.now() - began).total_seconds(), len(fetched(place))) == (60, 1)


class OnlyNew(FetchSftpFile):
    """Old files stay where they are."""

    @override
    def keep_file(self, name: str) -> bool:
        return not name.startswith("old")


def test_hook_leaves_files_out(client: Client, place: Place) -> None:
    """A file whose name the hook refuses is not taken."""
    fetch_only(place)
    place.steps["fetch_sftp_file"] = OnlyNew
    client.drop("old.csv", b"a\n")
    client.drop("new.csv", b"b\n")
    client.tick()
    run_fetch(place)
    assert [fact.name for fact in fetched(place)] == ["new.csv"]


class Forgetful(FetchSftpFile):
    """Forgets to answer."""

    @override
    def keep_file(self, name: str) -> bool:
        return None  # type: ignore[return-value]  # the mistake that is tested


def test_hook_that_forgets_to_answer_is_named(client: Client, place: Place) -> None:
    """No file is left out by mistake."""
    fetch_only(place)
    place.steps["fetch_sftp_file"] = Forgetful
    client.drop("a.csv")
    client.tick()
    run_fetch(place)
    assert place.cause("fetch_sftp_file") == "Forgetful.keep_file returned a NoneType. Return True or False."


def test_place_without_sftp_settings_is_told_what_is_missing(client: Client, place: Place) -> None:
    """A stage without `sftp` says where it belongs."""
    fetch_only(place)
    place.sftp = None
    client.tick()
    run_fetch(place)
    assert place.cause("fetch_sftp_file") == (
        "config/local.yml has no `sftp`. Add host, user and host_key below `sftp:`."
    )


def test_only_files_that_fit_are_taken(client: Client, place: Place) -> None:
    """Folder and pattern choose."""
    fetch_only(place, folder="/in", pattern="con*.csv")
    for name in ("in/contacts.csv", "in/other.csv", "contacts2.csv"):
        client.drop(name, name.encode())
    client.tick()
    run_fetch(place)
    assert [fact.name for fact in fetched(place)] == ["contacts.csv"]
    assert Path(fetched(place)[0].name).suffix == ".csv"
