"""What every object store promises, whatever it is made of."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from qualtrics_etl.errors import InputError, PermanentError, PreconditionFailedError
from qualtrics_etl.ports import ObjectStore, ObjectSummary, StoredObject

WORLDS = ("memory", "folder", "moto", "ministack")

DEVIATIONS = {
    "test_key_of_more_than_1024_bytes_is_refused": {
        "moto": "takes keys of any length; S3 answers KeyTooLongError",
        "ministack": "takes keys of any length; S3 answers KeyTooLongError",
    },
}

LEFT_OUT = {
    "test_one_of_twenty_creators_wins": {"moto": "looks and writes in two steps, so two threads may both succeed"},
    "test_one_of_twenty_replacers_wins": {"moto": "looks and writes in two steps, so two threads may both succeed"},
    "test_listing_goes_over_all_pages": {"moto": "a thousand puts take it four seconds; the pages are the same"},
}

MIB = 1024 * 1024

ODD_KEYS = ("a", "a/b", "a//b", "/a", "a/", ".", "../up", "a b+%2F?#&", "é/ü", "𐀀", "￮", "A", "x" * 300, "-\t.~*:")


def test_object_reads_back_as_it_was_put(objects: ObjectStore) -> None:
    """What was put is read back whole, with the version mark that the put gave."""
    put = objects.put("ledger/r1/parse_file/7", b"intent")

    found = objects.get("ledger/r1/parse_file/7")

    assert found is not None
    assert found == StoredObject("ledger/r1/parse_file/7", b"intent", put.etag, found.last_modified, found.read_at)


def test_missing_object_reads_as_none(objects: ObjectStore) -> None:
    """No object is an answer, not an error."""
    assert objects.get("nothing/here") is None


def test_later_put_replaces_the_earlier(objects: ObjectStore) -> None:
    """A put without condition replaces what is there, and gives another version mark."""
    first = objects.put("k", b"one")

    second = objects.put("k", b"two")

    found = objects.get("k")
    assert found is not None
    assert (found.body, found.etag, first.etag != second.etag) == (b"two", second.etag, True)


def test_empty_object_is_an_object(objects: ObjectStore) -> None:
    """Nothing written is not the same as nothing there."""
    objects.put("k", b"")

    found = objects.get("k")
    assert found is not None
    assert found.body == b""


def test_times_are_whole_seconds_of_one_clock(objects: ObjectStore, wait: Callable[[float], None]) -> None:
    """The age of an object is the difference of two readings of the store's clock, in UTC and whole seconds."""
    put = objects.put("k", b"")
    wait(1)

    found = objects.get("k")

    assert found is not None
    assert timedelta(seconds=1) <= found.read_at - found.last_modified <= timedelta(seconds=5)
    assert timedelta(0) <= put.written_at - found.last_modified <= timedelta(seconds=1)
    assert [(t.microsecond, t.utcoffset()) for t in (put.written_at, found.last_modified, found.read_at)] == [
        (0, timedelta(0))
    ] * 3


def test_second_creator_is_refused(objects: ObjectStore) -> None:
    """`if_none_match` writes only where nothing is, and leaves what is there."""
    objects.put("k", b"first", if_none_match=True)

    with pytest.raises(PreconditionFailedError):
        objects.put("k", b"second", if_none_match=True)

    assert _body(objects, "k") == b"first"


def test_creator_succeeds_again_after_delete(objects: ObjectStore) -> None:
    """A deleted object is no longer in the way of `if_none_match`."""
    objects.put("k", b"first", if_none_match=True)
    objects.delete("k")

    objects.put("k", b"second", if_none_match=True)

    assert _body(objects, "k") == b"second"


def test_replacer_with_the_current_mark_succeeds(objects: ObjectStore) -> None:
    """`if_match` replaces the version that it names."""
    first = objects.put("k", b"first")

    objects.put("k", b"second", if_match=first.etag)

    assert _body(objects, "k") == b"second"


def test_replacer_with_an_old_mark_is_refused(objects: ObjectStore) -> None:
    """`if_match` leaves a version alone that it does not name."""
    first = objects.put("k", b"first")
    objects.put("k", b"second")

    with pytest.raises(PreconditionFailedError):
        objects.put("k", b"third", if_match=first.etag)

    assert _body(objects, "k") == b"second"


def test_replacer_of_nothing_is_refused(objects: ObjectStore) -> None:
    """`if_match` on an object that is gone fails like on one that has changed, and creates nothing."""
    put = objects.put("k", b"")
    objects.delete("k")

    with pytest.raises(PreconditionFailedError):
        objects.put("k", b"", if_match=put.etag)

    assert objects.get("k") is None


def test_one_of_twenty_creators_wins(objects: ObjectStore) -> None:
    """Of claims at the same time exactly one succeeds, and its content stands."""
    winners = _race(lambda body: objects.put("k", body, if_none_match=True))

    assert [_body(objects, "k")] == winners


def test_one_of_twenty_replacers_wins(objects: ObjectStore) -> None:
    """Of takeovers of the same version exactly one succeeds, and its content stands."""
    lease = objects.put("k", b"dead lease")

    winners = _race(lambda body: objects.put("k", body, if_match=lease.etag))

    assert [_body(objects, "k")] == winners


@pytest.mark.parametrize("size", [0, 100, 8 * MIB, 17 * MIB + 11])
def test_stream_reads_back_as_it_was_put(objects: ObjectStore, size: int) -> None:
    """A stream of any size becomes one object, whatever its chunks were."""
    content = (bytes(range(251)) * (size // 251 + 1))[:size]

    put = objects.put_stream("k", (content[i : i + 700_001] for i in range(0, size, 700_001)))

    found = objects.get("k")
    assert found is not None
    assert (hashlib.sha256(found.body).hexdigest(), found.etag) == (hashlib.sha256(content).hexdigest(), put.etag)


@pytest.mark.parametrize("size", [100, 9 * MIB])
def test_stream_that_breaks_changes_nothing(objects: ObjectStore, size: int) -> None:
    """When the source fails half-way, its error comes through and the object is as it was."""
    objects.put("k", b"before")

    def chunks() -> Iterator[bytes]:
        yield bytes(size)
        raise InputError("the source broke")

    with pytest.raises(InputError, match="the source broke"):
        objects.put_stream("k", chunks())

    assert [(line.key, line.size) for line in objects.list("")] == [("k", 6)]


@pytest.mark.parametrize(("start", "expected"), [(0, b"0123456789"), (4, b"456789"), (10, b""), (11, b"")])
def test_open_streams_from_a_byte_on(objects: ObjectStore, start: int, expected: bytes) -> None:
    """A stream begins where it is asked to, and behind the end there is nothing."""
    objects.put("k", b"0123456789")

    with objects.open("k", start=start) as stream:
        assert stream.read() == expected


def test_open_stream_reads_lines(objects: ObjectStore) -> None:
    """A stream gives lines as a file does, quoted newlines and missing last newline included."""
    objects.put("k", b'a,b\r\n"1\n2",3\nlast')

    with objects.open("k") as stream:
        assert list(stream) == [b"a,b\r\n", b'"1\n', b'2",3\n', b"last"]


def test_open_stream_can_seek(objects: ObjectStore) -> None:
    """A stream goes back and forth, and positions count from the object's first byte."""
    objects.put("k", b"0123456789" * MIB)

    with objects.open("k", start=10 * MIB - 3) as stream:
        read = [(stream.tell(), stream.read(), stream.seek(3), stream.read(2), stream.seek(-4, 2), stream.read())]

    assert read == [(10 * MIB - 3, b"789", 3, b"34", 10 * MIB - 4, b"6789")]


def test_open_of_a_missing_object_is_an_input_error(objects: ObjectStore) -> None:
    """A file that is gone is told at once, with its key."""
    with pytest.raises(InputError, match="files/abc"):
        objects.open("files/abc")


def test_deleted_object_is_gone(objects: ObjectStore) -> None:
    """After a delete there is nothing to read or to list, and deleting again succeeds."""
    objects.put("k", b"")
    objects.delete("k")
    objects.delete("k")

    assert (objects.get("k"), list(objects.list(""))) == (None, [])


def test_listing_is_in_the_order_of_utf8_bytes(objects: ObjectStore) -> None:
    """Keys come sorted by their bytes: capitals first, U+FFEE before U+10000."""
    keys = ["b", "a/2", "a/10", "Z", "é", "z", "￮", "𐀀", "a", "a-b"]
    for key in keys:
        objects.put(key, b"")

    assert [line.key for line in objects.list("")] == sorted(keys, key=str.encode)


def test_listing_gives_size_and_mark(objects: ObjectStore) -> None:
    """Each line of a listing holds what a put of that object answered, and when it was written."""
    first, second = objects.put("p/1", b"12345"), objects.put("p/2", b"")

    lines = list(objects.list("p/"))
    times = [each.last_modified for key in ("p/1", "p/2") if (each := objects.get(key)) is not None]
    assert [each.last_modified for each in lines] == times
    assert lines == [ObjectSummary("p/1", 5, first.etag, times[0]), ObjectSummary("p/2", 0, second.etag, times[1])]


def test_listing_takes_a_prefix_that_ends_anywhere(objects: ObjectStore) -> None:
    """A prefix is the beginning of a key, not a folder."""
    for key in ("run-1/a", "run-1/b/c", "run-10", "run-2/a", "x/run-1"):
        objects.put(key, b"")

    found = {prefix: [line.key for line in objects.list(prefix)] for prefix in ("run-1", "run-1/", "run-1/b/", "no/")}

    assert found == {
        "run-1": ["run-1/a", "run-1/b/c", "run-10"],
        "run-1/": ["run-1/a", "run-1/b/c"],
        "run-1/b/": ["run-1/b/c"],
        "no/": [],
    }


def test_listing_starts_after_a_key(objects: ObjectStore) -> None:
    """`start_after` leaves out that key and all before it, whether or not there is such a key."""
    for key in ("p/1", "p/2", "p/3", "q"):
        objects.put(key, b"")

    found = [[line.key for line in objects.list("p/", start_after=key)] for key in ("p/1", "p/15", "p/3", "q", "a")]

    assert found == [["p/2", "p/3"], ["p/2", "p/3"], [], [], ["p/1", "p/2", "p/3"]]


def test_listing_goes_over_all_pages(objects: ObjectStore) -> None:
    """More objects than S3 gives in one answer (1,000) are all listed, once each and in order."""
    keys = [f"p/{n:05}" for n in range(1_005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: objects.put(key, b""), keys))

    assert [line.key for line in objects.list("p/")] == keys


def test_odd_keys_are_kept_apart(objects: ObjectStore) -> None:
    """Any text is a key: dots, slashes, spaces and capitals mean nothing, and no key hides another."""
    for key in ODD_KEYS:
        objects.put(key, key.encode())

    assert {key: _body(objects, key) for key in ODD_KEYS} == {key: key.encode() for key in ODD_KEYS}
    assert [line.key for line in objects.list("")] == sorted(ODD_KEYS)


def test_key_of_more_than_1024_bytes_is_refused(objects: ObjectStore) -> None:
    """A key that S3 cannot hold is refused with the remedy to shorten it."""
    with pytest.raises(PermanentError):
        objects.put("é" * 513, b"")


def _body(objects: ObjectStore, key: str) -> bytes | None:
    found = objects.get(key)
    return found.body if found else None


def _race(put: Callable[[bytes], object]) -> list[bytes]:
    """Let twenty threads put at once; return the bodies of those that succeeded."""
    gate = threading.Barrier(20)

    def attempt(number: int) -> list[bytes]:
        body = b"by %d" % number
        gate.wait()
        try:
            put(body)
        except PreconditionFailedError:
            return []
        return [body]

    with ThreadPoolExecutor(20) as pool:
        return [body for bodies in pool.map(attempt, range(20)) for body in bodies]
