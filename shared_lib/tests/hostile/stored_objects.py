"""Objects of the store that are cut off, changed, or written by somebody else. Expected: no work is done on them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import orjson

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.formats.batches import Batch, Position, decode_batch, encode_batch
from qualtrics_etl.ledger import Entry, How, Ledger, Output, State, entry_key
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.objects import MemoryObjects
from qualtrics_etl.messages import FileParsed
from qualtrics_etl.payloads import batches_prefix, get_request

from .case import Act, Arena, Case
from .queue_messages import RUN, message

KEY = entry_key(RUN, "import_contacts", "00000")
ENTRY = orjson.loads(Entry(State.DONE, outputs=(Output(How.SEND, "{}"),)).encode())


def objects_with(key: str, body: bytes) -> MemoryObjects:
    """Return a store that holds one object."""
    objects = MemoryObjects(VirtualClock(datetime(2026, 11, 22, tzinfo=UTC)))
    objects.put(key, body)
    return objects


def ledger(body: bytes) -> Act:
    """Read a ledger object, and try to claim and to settle it; return what the reading says."""

    def act(_: Arena) -> object:
        objects = objects_with(KEY, body)
        book = Ledger(objects)
        for write in (book.claim, book.settle):
            try:
                write(KEY, Entry(State.DONE))
            except PermanentError:
                continue
            raise AssertionError("what can't be read was written over")
        found = objects.get(KEY)
        assert found is not None
        assert found.body == body
        return book.read(KEY)

    return act


def changed(**fields: object) -> Act:
    """Read our entry with other fields."""
    return ledger(orjson.dumps(ENTRY | fields))


def without(field: str) -> Act:
    """Read our entry without a field."""
    return ledger(orjson.dumps({name: value for name, value in ENTRY.items() if name != field}))


def corrupt(name: str, act: Act) -> Case:
    """Return a ledger object that can't be read."""
    return Case(name, act, PermanentError, (KEY, "can't be read", "Restore"))


POSITION = Position(10, 2, 0, 0, 0, ",", "utf-8", ("email",))
BATCH = orjson.loads(
    encode_batch(Batch(0, ("email",), (b'["a@x.example"],["b@x.example"]',), (2, 3), POSITION, POSITION, is_last=True))
)


def batch(**fields: object) -> Act:
    """Decode our batch with other fields."""
    return lambda _: decode_batch(orjson.dumps(BATCH | fields))


def unreadable(name: str, act: Act) -> Case:
    """Return a batch that can't be read."""
    return Case(name, act, PermanentError, ("The stored batch can't be read", "Deploy the version"))


def start(**fields: object) -> Act:
    """Decode our batch with another beginning."""
    return batch(start=BATCH["start"] | fields)


def request(body: bytes, sha256: str) -> Act:
    """Read a stored request."""
    return lambda _: get_request(objects_with("payloads/r", body), "payloads/r", sha256)


def import_over(body: bytes) -> Act:
    """Import a batch whose ledger object is this; return why the message lies there. Nothing may be called."""

    def act(arena: Arena) -> str:
        place = arena.place
        place.bucket.put(KEY, body)
        facts = (FileParsed(1, batches_prefix(f"{RUN}/parse_file"), 1, 1, 0),)
        place.bucket.put(f"{batches_prefix(f'{RUN}/parse_file')}/00000", orjson.dumps(BATCH))
        from qualtrics_etl.ports import Outgoing

        place.queues.of("import_contacts").send([Outgoing(message("import_contacts", *facts, batch="00000"))])
        place.deliver("import_contacts")
        assert place.transport.sent == []
        return place.cause("import_contacts")

    return act


def fan_out(batches: int) -> Act:
    """Let a manifest say how many batches there are; return why its message lies there."""

    def act(arena: Arena) -> str:
        from qualtrics_etl.ports import Outgoing

        place = arena.place
        fact: Any = FileParsed(batches, batches_prefix(f"{RUN}/parse_file"), batches, batches, 0)
        place.queues.of("create_mailing_list").send([Outgoing(message("create_mailing_list", fact))])
        place.run(until=lambda: bool(place.letters("create_mailing_list")))
        assert place.waiting("import_contacts") == []
        return place.cause("create_mailing_list")

    return act


def parse_behind(last: int) -> Act:
    """Let parsing go on behind a batch of this number; return why the message lies there."""

    def act(arena: Arena) -> str:
        place, at = arena.place, batches_prefix(f"{RUN}/parse_file")
        end = BATCH["end"] | {"batch": last + 1, "offset": 6}
        stored = BATCH | {"number": last, "is_last": False, "end": end}
        place.bucket.put(f"{at}/{last:05}", orjson.dumps(stored))
        place.begin(b"email\nann@x.example\n")
        place.deliver("parse_file")
        assert place.keys(at) == [f"{at}/{last:05}"]
        return place.cause("parse_file")

    return act


CASES = [
    Case(
        "batches_of_more_than_five_digits", parse_behind(99_999), says=("more than 100,000 batches", "rows_per_batch")
    ),
    corrupt("ledger_empty", ledger(b"")),
    corrupt("ledger_cut_off", ledger(orjson.dumps(ENTRY)[:100])),
    corrupt("ledger_binary", ledger(bytes(range(256)))),
    corrupt("ledger_list", ledger(b"[]")),
    corrupt("ledger_null", ledger(b"null")),
    corrupt("ledger_nested_deep", ledger(b"[" * 100_000)),
    Case(
        "ledger_of_another_version",
        changed(version=2),
        PermanentError,
        (KEY, "its version is 2, and this library reads 1", "Deploy the version of the library that wrote it"),
    ),
    Case(
        "ledger_of_another_version_with_other_fields",
        changed(version=2, paid=True),
        PermanentError,
        (KEY, "its version is 2, and this library reads 1"),
    ),
    corrupt("ledger_without_a_version", without("version")),
    corrupt("ledger_version_text", changed(version="1")),
    corrupt("ledger_without_its_quiet_time", without("quiet_since")),
    corrupt("ledger_without_its_outputs", without("outputs")),
    corrupt("ledger_unknown_state", changed(state="paid")),
    corrupt("ledger_generation_text", changed(generation="1")),
    corrupt("ledger_generation_truth", changed(generation=True)),
    corrupt("ledger_failures_negative", changed(failures=-1)),
    corrupt("ledger_call_possible_null", changed(call_possible=None)),
    corrupt("ledger_time_without_a_zone", changed(quiet_since="2026-11-22T09:00:00")),
    corrupt("ledger_time_that_is_none", changed(quiet_since="soon")),
    corrupt("ledger_notes_of_texts", changed(notes={"sent": "all"})),
    corrupt(
        "ledger_unknown_output", changed(outputs=[{"how": "shout", "message": "", "delay_seconds": 0, "waiting": []}])
    ),
    corrupt("ledger_output_that_is_none", changed(outputs=["{}"])),
    corrupt("ledger_unknown_fact", changed(fact=["Coins", {}])),
    corrupt(
        "ledger_cause_with_a_field_more",
        changed(cause={"what": "", "remedy": "", "request_id": None, "error": "", "x": 1}),
    ),
    Case("ledger_corrupt_at_a_call", import_over(b'{"state": "done"'), says=(KEY, "can't be read", "Restore")),
    unreadable("batch_empty", lambda _: decode_batch(b"")),
    unreadable("batch_cut_off", lambda _: decode_batch(orjson.dumps(BATCH)[:-9])),
    unreadable("batch_of_another_version", batch(version=2)),
    unreadable("batch_with_a_row_too_few", batch(rows=[["a@x.example"]])),
    unreadable("batch_with_a_cell_too_many", batch(rows=[["a@x.example", 1], ["b@x.example"]])),
    unreadable("batch_with_rows_of_text", batch(rows="ab")),
    unreadable("batch_with_lines_of_text", batch(lines=["2", "3"])),
    unreadable("batch_number_text", batch(number="0")),
    unreadable("batch_position_negative", start(offset=-1)),
    unreadable("batch_position_text", start(line="2")),
    unreadable("batch_position_with_more_rejects_than_rows", start(rows=1, rejected=2)),
    unreadable("batch_position_with_a_field_more", start(shell="id")),
    unreadable("batch_position_null", batch(end=None)),
    Case(
        "request_changed",
        request(b"{}", hashlib.sha256(b"[]").hexdigest()),
        PermanentError,
        ("payloads/r", "not what was recorded"),
    ),
    Case("manifest_of_a_billion_batches", fan_out(10**9), says=("1000000000 batches", "at most 100000")),
]
