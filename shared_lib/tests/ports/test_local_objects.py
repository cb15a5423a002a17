"""What the doubles of S3 promise beyond the contract: files outlive the process, and none lies outside the folder."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.objects import FolderObjects, MemoryObjects
from qualtrics_etl.ports import StoredObject

START = datetime(2026, 3, 1, 8, 0, 0, 700_000, UTC)

HOSTILE_KEYS = (
    "..",
    "../x",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../x",
    ".",
    "./",
    "~/x",
    "C:\\x",
    "+unfinished/x",
)


@pytest.fixture
def clock() -> VirtualClock:
    """A clock that stands still."""
    return VirtualClock(START)


def test_another_process_finds_the_same_objects(tmp_path: Path, clock: VirtualClock) -> None:
    """A store opened anew on a folder answers as the old one did: body, version mark and time."""
    old = FolderObjects(tmp_path, clock)
    put = old.put("ledger/r1/parse_file/7", b"done")
    clock.advance(3600.5)

    new = FolderObjects(tmp_path, clock)

    whole = START.replace(microsecond=0)
    assert new.get("ledger/r1/parse_file/7") == StoredObject(
        "ledger/r1/parse_file/7", b"done", put.etag, whole, whole + timedelta(seconds=3601)
    )
    assert list(new.list("")) == list(old.list(""))
    assert new.put("ledger/r1/parse_file/7", b"x", if_match=put.etag).written_at == whole + timedelta(seconds=3601)


def test_object_of_another_process_is_seen(tmp_path: Path, clock: VirtualClock) -> None:
    """What another process wrote meanwhile is what conditions and listings look at."""
    mine, theirs = FolderObjects(tmp_path, clock), FolderObjects(tmp_path, clock)
    mine.put("k", b"mine")
    put = theirs.put("k", b"them")

    assert [line.etag for line in mine.list("")] == [put.etag]
    mine.put("k", b"mine again", if_match=put.etag)


def test_keys_are_found_again_by_people(tmp_path: Path, clock: VirtualClock) -> None:
    """Files bear the names that the keys have, so that somebody can look into a run with a file manager."""
    objects = FolderObjects(tmp_path, clock)
    objects.put("rejects/acme-etl-3f2a/7.csv", b"")
    objects.put("rejects", b"")

    assert _files(tmp_path) == ["rejects", "rejects+/acme-etl-3f2a+/7.csv"]


@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_no_key_leaves_the_folder(tmp_path: Path, clock: VirtualClock, key: str) -> None:
    """Whatever the key is, its file lies below the root and the key is listed as it is."""
    root = tmp_path / "state" / "objects"
    objects = FolderObjects(root, clock)
    objects.put(key, b"x")

    assert [line.key for line in objects.list("")] == [key]
    assert [path for path in _files(tmp_path) if not path.startswith("state/objects/")] == []


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300), max_size=6, unique=True))
def test_any_keys_live_side_by_side(tmp_path_factory: pytest.TempPathFactory, keys: list[str]) -> None:
    """No two keys share a file, and every key reads and lists back as it was."""
    keys = [key for key in keys if len(key.encode()) <= 1024]
    objects = FolderObjects(tmp_path_factory.mktemp("objects"), VirtualClock(START))
    for key in keys:
        objects.put(key, key.encode())

    assert [line.key for line in objects.list("")] == sorted(keys)
    assert all(found.body == key.encode() for key in keys if (found := objects.get(key)))


def test_names_differ_where_capitals_do_not_count(tmp_path: Path, clock: VirtualClock) -> None:
    """Keys that differ in capitals alone have files that differ on every file system."""
    objects = FolderObjects(tmp_path, clock)
    for key in ("run/a", "run/A", "RUN/a"):
        objects.put(key, b"")

    assert len({path.lower() for path in _files(tmp_path)}) == 3


def test_nothing_unfinished_stays_behind(tmp_path: Path, clock: VirtualClock) -> None:
    """A put that was refused leaves no file, and while one is under way it is not listed."""
    objects = FolderObjects(tmp_path, clock)
    listed = []

    def chunks():
        yield b"x"
        listed.extend(objects.list(""))

    objects.put_stream("k", chunks())
    with pytest.raises(Exception, match="already an object k"):
        objects.put("k", b"", if_none_match=True)

    assert (listed, _files(tmp_path)) == ([], ["k"])


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_open_stream_keeps_its_version(tmp_path: Path, clock: VirtualClock, kind: str) -> None:
    """Who reads an object goes on reading it when it is replaced or deleted meanwhile."""
    objects = MemoryObjects(clock) if kind == "memory" else FolderObjects(tmp_path, clock)
    objects.put("k", b"old version")

    with objects.open("k") as stream:
        read = stream.read(4)
        objects.put("k", b"new")
        objects.delete("k")
        read += stream.read()

    assert read == b"old version"


def test_listing_is_a_picture_of_one_moment(clock: VirtualClock) -> None:
    """What is put or deleted while a listing is read does not disturb it."""
    objects = MemoryObjects(clock)
    for key in ("a", "b", "c"):
        objects.put(key, b"")

    listing = objects.list("")
    seen = [next(listing).key]
    objects.delete("b")
    objects.put("aa", b"")

    assert [*seen, *(line.key for line in listing)] == ["a", "b", "c"]


def _files(folder: Path) -> list[str]:
    found = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
    return sorted(path.relative_to(folder).as_posix() for path in found)
