"""The memory of all work: each message has an object of its own, which two workers can never both have written.

    intent -> [started] -> done | failed | waived

An entry is taken with a put that succeeds only if there is none (`If-None-Match`), and changed with a put that succeeds
only if nobody changed it since it was read (`If-Match`). Whose put it was is told by comparing bytes: every entry
carries a nonce. Whether a lease is alive is told by the store's clock alone: when the entry was written, and when it
was read.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import orjson

from qualtrics_etl.errors import LostClaimError, PermanentError, QualtricsEtlError, RetryableError
from qualtrics_etl.messages import Fact, Message, decode_fact, encode_fact
from qualtrics_etl.ports import ObjectStore, StoredObject

VERSION = 1
"""The form of an entry. Raised with any change of its fields: what is half understood must not pass for what is not."""
WAIVED_ROWS = "waived"
"""The note of a waived entry that says how many good rows were given up with it."""
PUTS = 2
"""Tries at writing an entry: what was just done at Qualtrics is not forgotten for one unanswered put."""


class State(Enum):
    """How far the work on a message is."""

    INTENT = "intent"
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    WAIVED = "waived"


class How(Enum):
    """How a recorded output leaves."""

    SEND = "send"
    EACH_BATCH = "each_batch"
    ARRIVE = "arrive"
    SPLIT = "split"


@dataclass(frozen=True, slots=True)
class Output:
    """What follows from a done entry, recorded before it is sent.

    Attributes:
        how: As one message, as one message a batch, as an arrival at a fan-in, or as the note at a fan-in that two
            halves will arrive in the batch's place.
        message: The encoded message; for `EACH_BATCH` and `ARRIVE` its batch is replaced.
        delay_seconds: How long the queue holds it back.
        waiting: For `EACH_BATCH`: the services that wait for all of these batches, told at once when there are none.
    """

    how: How
    message: str
    delay_seconds: int = 0
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an entry failed, as the dead letter says it."""

    what: str
    remedy: str = ""
    request_id: str | None = None
    error: str = "PermanentError"

    @classmethod
    def of(cls, error: QualtricsEtlError) -> Cause:
        """Return the cause that an error is."""
        return cls(_storable(error.what), _storable(error.remedy), error.request_id, type(error).__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """The content of one ledger object.

    Attributes:
        generation: From 0; raised only when a recorded failure is sent again.
        attempt: From 1 in each generation.
        nonce: Tells this writer's puts from others'.
        lease_seconds: For how long after it was written nobody else may take it; 0 when it was let go.
        failures: How often an attempt of this generation failed, other than by coming too early.
        call_possible: Whether the step's call may have happened in this generation. What is False is certain.
        quiet_since: Since when, on the store's clock, no call of ours can have begun; None while one may.
        absent_looks: How often a look since then did not find the call's effect.
        request_key: Where the exact body of the request is stored; None for a step that sends none.
        request_sha256: Of that body.
        rows_key: Where it is written what becomes of each row: until it is done, which one is where in the request.
            None for work that is not about rows, or whose rows are others' by now.
        notes: Counts that belong to the request, for the receipt.
        job_id: Of a job that Qualtrics runs.
        fact: What is true now; None while not done, and for work that was skipped.
        skipped: Why there was nothing to do; of what is waived, why it was given up.
        outputs: What is sent on; of what is waived, the marks that let others go on without it.
        cause: Why it failed; kept when it is waived.
    """

    state: State
    generation: int = 0
    attempt: int = 1
    nonce: str = ""
    lease_seconds: int = 0
    failures: int = 0
    call_possible: bool = False
    quiet_since: datetime | None = None
    absent_looks: int = 0
    request_key: str | None = None
    request_sha256: str | None = None
    rows_key: str | None = None
    notes: Mapping[str, int] = field(default_factory=dict)
    job_id: str | None = None
    fact: Fact | None = None
    skipped: str | None = None
    outputs: tuple[Output, ...] = ()
    cause: Cause | None = None

    def sent(self) -> Iterator[tuple[How, Message]]:
        """Yield what follows from work that is done."""
        if self.state is State.DONE:
            for output in self.outputs:
                yield output.how, Message.decode(output.message)

    def parts_of(self, service: str) -> tuple[str, ...]:
        """Return what took the place of work that is done at `service`, whose entry this is.

        The halves of a batch, or the continuation of a run's work; nothing where it ended as it was.
        """
        return tuple(each.batch for how, each in self.sent() if how is How.SEND and each.service == service)

    def encode(self) -> bytes:
        """Return the object's body: readable, and the same bytes for the same entry."""
        raw: dict[str, Any] = {
            "version": VERSION,
            "state": self.state.value,
            "generation": self.generation,
            "attempt": self.attempt,
            "nonce": self.nonce,
            "lease_seconds": self.lease_seconds,
            "failures": self.failures,
            "call_possible": self.call_possible,
            "quiet_since": self.quiet_since.isoformat() if self.quiet_since else None,
            "absent_looks": self.absent_looks,
            "request_key": self.request_key,
            "request_sha256": self.request_sha256,
            "rows_key": self.rows_key,
            "notes": dict(self.notes),
            "job_id": self.job_id,
            "fact": encode_fact(self.fact) if self.fact else None,
            "skipped": self.skipped,
            "outputs": [
                {"how": o.how.value, "message": o.message, "delay_seconds": o.delay_seconds, "waiting": o.waiting}
                for o in self.outputs
            ],
            "cause": self.cause,
        }
        return orjson.dumps(raw, option=orjson.OPT_INDENT_2)

    @classmethod
    def decode(cls, body: bytes) -> Entry:
        """Read an object's body back.

        Raises:
            ValueError: It is not one: cut off, of other types, or of another version than this library's.
        """
        raw = orjson.loads(body)
        _check_types(raw)
        return cls(
            state=State(raw["state"]),
            generation=raw["generation"],
            attempt=raw["attempt"],
            nonce=raw["nonce"],
            lease_seconds=raw["lease_seconds"],
            failures=raw["failures"],
            call_possible=raw["call_possible"],
            quiet_since=datetime.fromisoformat(raw["quiet_since"]) if raw["quiet_since"] else None,
            absent_looks=raw["absent_looks"],
            request_key=raw["request_key"],
            request_sha256=raw["request_sha256"],
            rows_key=raw["rows_key"],
            notes=raw["notes"],
            job_id=raw["job_id"],
            fact=decode_fact(*raw["fact"]) if raw["fact"] else None,
            skipped=raw["skipped"],
            outputs=tuple(
                Output(How(o["how"]), o["message"], o["delay_seconds"], tuple(o["waiting"])) for o in raw["outputs"]
            ),
            cause=Cause(**raw["cause"]) if raw["cause"] else None,
        )


@dataclass(frozen=True, slots=True)
class Held:
    """An entry and the version in which it was read or written.

    Attributes:
        key: The object's key.
        entry: Its content.
        etag: Its version.
        written_at: When it was written, on the store's clock.
        read_at: When it was read (or written), on the store's clock.
        fresh: Whether it was just made by this worker, where nothing was before.
    """

    key: str
    entry: Entry
    etag: str
    written_at: datetime
    read_at: datetime
    fresh: bool = False

    @property
    def lease_left(self) -> float:
        """Seconds until the lease ends; negative when it is over."""
        return self.entry.lease_seconds - (self.read_at - self.written_at).total_seconds()


def _storable(text: str) -> str:
    """Return a text without halves of characters: a hook's words must not keep its failure from being recorded."""
    return text.encode("utf-8", "replace").decode()


def entry_key(run: str, service: str, batch: str) -> str:
    """Return the key of the ledger object of a message."""
    return f"ledger/{run}/{service}/{batch}"


class Ledger:
    """The rules of the ledger over an object store."""

    def __init__(self, objects: ObjectStore, *, new_nonce: Callable[[], str] = lambda: uuid.uuid4().hex) -> None:
        self._objects = objects
        self._new_nonce = new_nonce

    def read(self, key: str) -> Held | None:
        """Return what is there."""
        found = self._objects.get(key)
        return _held(found) if found else None

    def claim(self, key: str, intent: Entry) -> Held:
        """Put the intent where nothing is yet; return it (`fresh`), or what was there before."""
        mine = replace(intent, nonce=self._new_nonce())
        return self._put(key, mine, etag=None)

    def change(self, held: Held, entry: Entry) -> Held:
        """Put `entry` in the place of `held`.

        Raises:
            LostClaimError: Somebody else changed it first.
        """
        mine = replace(entry, nonce=self._new_nonce())
        after = self._put(held.key, mine, etag=held.etag)
        if not after.fresh:
            raise LostClaimError(f"{held.key} was changed by another worker.", call_made=True)
        return after

    def settle(self, key: str, entry: Entry) -> Held:
        """Record the end of work that needs no claim; return what stands there: ours, or an earlier end.

        An earlier `done` or `waived` stands. An earlier failure gives way to what succeeded, or failed, later.
        """
        held = self.claim(key, entry)
        if held.fresh or held.entry.state in (State.DONE, State.WAIVED):
            return held
        return self.change(held, replace(entry, generation=max(entry.generation, held.entry.generation)))

    def take_over(self, held: Held, *, lease_seconds: int) -> Held:
        """Take an entry whose worker is gone or let go, for the next attempt of the same generation.

        Since when it is quiet is fixed here, on the store's clock: at the end of the lease of a worker that is gone,
        or when a living one let go. It stays None where no call was possible: then one may be made at once, and the
        entry says so from now on.
        """
        before = held.entry
        quiet = before.quiet_since
        if before.call_possible and quiet is None:
            quiet = held.written_at + timedelta(seconds=before.lease_seconds)
        return self.change(
            held,
            replace(
                before,
                attempt=before.attempt + 1,
                lease_seconds=lease_seconds,
                call_possible=True,
                quiet_since=quiet,
            ),
        )

    def call_again(self, held: Held) -> Held:
        """Write down that, from now on, the call may happen again."""
        return self.change(held, replace(held.entry, call_possible=True, quiet_since=None, absent_looks=0))

    def let_go(self, held: Held, *, call_possible: bool, absent_looks: int = 0, failed: bool = False) -> Held:
        """Leave the entry to the next attempt, which need not wait for the lease to end.

        Args:
            failed: Whether the attempt counts as a failure; one that only came too early does not.
        """
        entry = replace(
            held.entry,
            lease_seconds=0,
            failures=held.entry.failures + failed,
            call_possible=call_possible,
            quiet_since=held.entry.quiet_since if call_possible else None,
            absent_looks=absent_looks,
        )
        return self.change(held, entry)

    def _put(self, key: str, entry: Entry, *, etag: str | None) -> Held:
        """Put the entry where `etag` is (None: nothing); return what stands there then, `fresh` when it is ours.

        Raises:
            RetryableError: It could not be written, and what was there before is still there.
        """
        body = entry.encode()
        for _ in range(PUTS):
            try:
                result = self._objects.put(key, body, if_none_match=etag is None, if_match=etag)
                return Held(key, entry, result.etag, result.written_at, result.written_at, fresh=True)
            except RetryableError:
                # Refused, or unanswered: either way our own put may be the one that got through. Reading back tells.
                found = self._objects.get(key)
                if found is not None and found.etag != etag:
                    return replace(_held(found), fresh=found.body == body)
        raise RetryableError(f"{key} could not be written.", call_made=False)


def _held(found: StoredObject) -> Held:
    """Read what was found.

    Raises:
        PermanentError: It is no entry. Nothing is called for it and nothing is written over it.
    """
    try:
        entry = Entry.decode(found.body)
    except (ValueError, TypeError, KeyError, AttributeError, PermanentError) as exc:
        raise _unreadable(found) from exc
    return Held(found.key, entry, found.etag, found.last_modified, found.read_at)


def _unreadable(found: StoredObject) -> PermanentError:
    version = _version_of(found.body)
    if version is not None and version != VERSION:
        return PermanentError(
            f"The ledger object {found.key} can't be read: its version is {version}, and this library reads {VERSION}.",
            remedy="Deploy the version of the library that wrote it, and let its run end before the next change; then"
            " send the message back.",
        )
    return PermanentError(
        f"The ledger object {found.key} can't be read, so whether its work was done is unknown.",
        remedy="Restore the object's last version in the bucket; then send the message back.",
    )


def _version_of(body: bytes) -> int | None:
    try:
        raw = orjson.loads(body)
    except ValueError:
        return None
    version = raw.get("version") if isinstance(raw, dict) else None
    return version if type(version) is int else None


_TEXT, _COUNT, _NOTHING = (str,), (int,), type(None)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "version": _COUNT,
    "state": _TEXT,
    "generation": _COUNT,
    "attempt": _COUNT,
    "nonce": _TEXT,
    "lease_seconds": _COUNT,
    "failures": _COUNT,
    "call_possible": (bool,),
    "quiet_since": (str, _NOTHING),
    "absent_looks": _COUNT,
    "request_key": (str, _NOTHING),
    "request_sha256": (str, _NOTHING),
    "rows_key": (str, _NOTHING),
    "notes": (dict,),
    "job_id": (str, _NOTHING),
    "fact": (list, _NOTHING),
    "skipped": (str, _NOTHING),
    "outputs": (list,),
    "cause": (dict, _NOTHING),
}
"""What each field of a stored entry may be. A truth value is no count."""
_TYPES_OF_OUTPUT: Mapping[str, tuple[type, ...]] = {
    "how": _TEXT,
    "message": _TEXT,
    "delay_seconds": _COUNT,
    "waiting": (list,),
}
_TYPES_OF_CAUSE: Mapping[str, tuple[type, ...]] = {
    "what": _TEXT,
    "remedy": _TEXT,
    "request_id": (str, _NOTHING),
    "error": _TEXT,
}


def _check_types(raw: Any) -> None:
    """Refuse what no entry looks like.

    A missing time since when it is quiet, or a missing output, must not pass for one that was never written.

    Raises:
        ValueError: Names the field at fault.
    """
    _check_object(raw, _TYPES, "entry")
    if raw["version"] != VERSION:
        raise ValueError("the entry is of another version")
    for output in raw["outputs"]:
        _check_object(output, _TYPES_OF_OUTPUT, "output")
        _check_all(output["waiting"], str, "waiting")
    if raw["cause"] is not None:
        _check_object(raw["cause"], _TYPES_OF_CAUSE, "cause")
    _check_all(raw["notes"].values(), int, "notes")
    if any(raw[name] < 0 for name, types in _TYPES.items() if types is _COUNT):
        raise ValueError("a count is negative")
    if raw["quiet_since"] is not None and datetime.fromisoformat(raw["quiet_since"]).tzinfo is None:
        raise ValueError("quiet_since names no time zone")


def _check_object(raw: Any, types: Mapping[str, tuple[type, ...]], what: str) -> None:
    if type(raw) is not dict or raw.keys() != types.keys():
        raise ValueError(f"the {what} has other fields than it should")
    for name, kinds in types.items():
        if type(raw[name]) not in kinds:
            raise ValueError(f"{name} is a {type(raw[name]).__name__}")


def _check_all(values: Iterable[object], kind: type, what: str) -> None:
    if any(type(value) is not kind for value in values):
        raise ValueError(f"{what} holds what is no {kind.__name__}")
