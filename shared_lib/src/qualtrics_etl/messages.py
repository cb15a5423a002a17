"""The envelope that travels through the queues, and the facts that each step hands to the next.

A message holds ids and counts, never records of persons: those lie in the object store, and the message refers to
them. Its identity is (run, service, batch); delivered twice, the second falls to the service's claim in the ledger.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import orjson

from qualtrics_etl.errors import GIVE_UP, PermanentError

WHOLE_RUN = "all"
"""The batch of a run-level message."""

MESSAGE_LIFETIME = timedelta(days=30)
"""A message older than this is refused. Shorter than the 60 days for which the ledger is kept, so that no message can
outlive the record that its work was done."""


@dataclass(frozen=True, slots=True)
class Fact:
    """The root of what can be true after a step; its fields are strings, numbers and booleans."""


@dataclass(frozen=True, slots=True)
class Ticked(Fact):
    """It is time to look for input.

    Attributes:
        scheduled_for: The scheduled time, UTC, ISO 8601 with seconds; from the event, not the clock.
    """

    scheduled_for: str


@dataclass(frozen=True, slots=True)
class FileSighted(Fact):
    """A file lies at the client's, and may still be growing.

    Attributes:
        path: Where, at the client's.
        size: Bytes at this look.
        modified_at: Modification time at this look, seconds since 1970.
    """

    path: str
    size: int
    modified_at: int


@dataclass(frozen=True, slots=True)
class FilePosted(Fact):
    """The body of a client's POST lies in our store, whole.

    Attributes:
        idempotency_key_sha256: Of the client's key, hex; the key itself is the client's own and goes nowhere.
        posted_at: When the client signed it, seconds since 1970.
        name: File name, as the client gave it.
        key: Where the body lies in the store.
        size: Bytes.
        sha256: Of the body; hex.
    """

    idempotency_key_sha256: str
    posted_at: int
    name: str
    key: str
    size: int
    sha256: str

    @property
    def expires_at(self) -> datetime:
        """Until when the messages of its run live."""
        return datetime.fromtimestamp(self.posted_at, tz=UTC) + MESSAGE_LIFETIME


@dataclass(frozen=True, slots=True)
class FileFetched(Fact):
    """The client's file lies in our store, whole.

    Attributes:
        name: File name, as the client knows it.
        key: Where it lies in the store.
        size: Bytes.
        sha256: Of its content; hex.
    """

    name: str
    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ParsingContinues(Fact):
    """Parsing stopped at a batch boundary, near the deadline, and goes on in another invocation.

    Attributes:
        part: Number of the next part, from 1.
    """

    part: int


@dataclass(frozen=True, slots=True)
class FileParsed(Fact):
    """The file is cut into numbered batches of good rows, and what was wrong is put aside.

    Attributes:
        batches: How many, 0 for a file without good rows.
        batches_at: Where they lie: batch n is `<batches_at>/<n as 5 digits>`.
        rows: Rows in the file, header not counted.
        good_rows: Rows in the batches.
        rejected_rows: Rows in the reject file.
    """

    batches: int
    batches_at: str
    rows: int
    good_rows: int
    rejected_rows: int


@dataclass(frozen=True, slots=True)
class MailingListCreated(Fact):
    """The run's mailing list exists.

    Attributes:
        mailing_list_id: `CG_...`.
        name: Its name, made from the run.
    """

    mailing_list_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ContactsImported(Fact):
    """A batch of contacts is in the mailing list.

    Attributes:
        import_id: Id of the import job; empty where none was needed.
        loaded: Rows that are contacts now, new to the directory.
        updated: Rows whose contacts the directory knew, and merged.
        skipped: Rows that a hook left out.
        rejected: Rows that a hook or Qualtrics refused; they are in the reject file.
        pending: Rows of which Qualtrics says nothing definite.
    """

    import_id: str
    loaded: int
    updated: int
    skipped: int
    rejected: int
    pending: int


@dataclass(frozen=True, slots=True)
class DistributionScheduled(Fact):
    """An invitation is scheduled.

    Attributes:
        distribution_id: `EMD_...`.
        survey_id: `SV_...`.
        send_date: UTC, ISO 8601 with seconds.
    """

    distribution_id: str
    survey_id: str
    send_date: str


@dataclass(frozen=True, slots=True)
class ReminderScheduled(Fact):
    """A reminder is scheduled for those who have not finished.

    Attributes:
        reminder_id: `EMD_...` of the reminder itself.
        send_date: UTC, ISO 8601 with seconds.
    """

    reminder_id: str
    send_date: str


FactT = TypeVar("FactT", bound=Fact)

FACTS: Mapping[str, type[Fact]] = {cls.__name__: cls for cls in Fact.__subclasses__()}
"""Every fact by the name it has in a message."""


@dataclass(frozen=True, slots=True)
class Message:
    """What one service tells the next.

    Attributes:
        workflow: Which workflow the run belongs to.
        run: Id of the run, made from the input.
        service: Who is to work on it.
        batch: `all` for a run-level message; else a number (`7`), a derived one (`7.0`) or a continuation (`c0001`).
        generation: From 0; raised only when a recorded, definitive failure is sent again.
        looks: How often the message was deferred.
        expires_at: After this it is refused.
        context: What is true so far, by fact name, the latest last.
    """

    workflow: str
    run: str
    service: str
    batch: str
    expires_at: datetime
    generation: int = 0
    looks: int = 0
    context: tuple[Fact, ...] = field(default=())

    VERSION: ClassVar[int] = 1

    def fact(self, kind: type[FactT]) -> FactT:
        """Return the latest fact of this kind.

        Raises:
            PermanentError: The message does not hold it: the workflow was changed under it.
        """
        for fact in reversed(self.context):
            if isinstance(fact, kind):
                return fact
        raise PermanentError(
            f"The message for {self.service} (run {self.run}) holds no {kind.__name__}.",
            remedy=f"The workflow was changed while the run was under way. {GIVE_UP}",
        )

    def has(self, kind: type[Fact]) -> bool:
        """Whether the message holds a fact of this kind."""
        return any(isinstance(fact, kind) for fact in self.context)

    def after(self, service: str, *facts: Fact, batch: str | None = None) -> Message:
        """Return the message that tells `service` what is true now; its counters start anew."""
        kinds = {type(fact) for fact in facts}
        kept = tuple(fact for fact in self.context if type(fact) not in kinds)
        return dataclasses.replace(
            self,
            service=service,
            batch=self.batch if batch is None else batch,
            generation=0,
            looks=0,
            context=(*kept, *facts),
        )

    def looked(self) -> Message:
        """Return the message as it is sent when it is deferred."""
        return dataclasses.replace(self, looks=self.looks + 1)

    def encode(self) -> str:
        """Return the body for the queue: the same text for the same message."""
        return orjson.dumps(
            {
                "version": self.VERSION,
                "workflow": self.workflow,
                "run": self.run,
                "service": self.service,
                "batch": self.batch,
                "generation": self.generation,
                "looks": self.looks,
                "expires_at": int(self.expires_at.timestamp()),
                "context": {type(fact).__name__: _fields(fact) for fact in self.context},
            }
        ).decode()

    @classmethod
    def decode(cls, body: str) -> Message:
        """Read a body back.

        Raises:
            PermanentError: It is not one of our messages; says what is wrong with it.
        """
        try:
            raw = orjson.loads(body)
            json.loads(body, object_pairs_hook=_refuse_twice)
        except orjson.JSONDecodeError as exc:
            raise _malformed(f"it is not JSON ({exc.msg})") from exc
        except RecursionError as exc:
            raise _malformed("it is nested too deeply") from exc
        if not isinstance(raw, dict):
            raise _malformed("it is not an object")
        if type(raw.get("version")) is not int or raw["version"] != cls.VERSION:
            version = raw.get("version")
            said = version if version is None or type(version) is int else "no number"
            raise _malformed(f"its version is {said}, and this library reads {cls.VERSION}")
        for name, pattern in _NAMES.items():
            if not isinstance(raw.get(name), str) or not pattern.fullmatch(raw[name]):
                raise _malformed(f"its `{name}` is missing or not a name")
        for name in ("generation", "looks", "expires_at"):
            if type(raw.get(name)) is not int or not 0 <= raw[name] < _LATEST:
                raise _malformed(f"its `{name}` is missing or not a count")
        context = raw.get("context")
        if not isinstance(context, dict):
            raise _malformed("its `context` is missing or not an object")
        return cls(
            workflow=raw["workflow"],
            run=raw["run"],
            service=raw["service"],
            batch=raw["batch"],
            generation=raw["generation"],
            looks=raw["looks"],
            expires_at=datetime.fromtimestamp(raw["expires_at"], tz=UTC),
            context=tuple(decode_fact(name, fields) for name, fields in context.items()),
        )


# What may stand in a key of the ledger: these names become object keys and must not reach outside their prefix.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_NAMES = {
    "workflow": _NAME,
    "run": _NAME,
    "service": re.compile(r"[a-z][a-z0-9_]{0,31}"),
    "batch": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"),
}
_LATEST = 253402300800  # the year 10000, where datetime ends


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object with a key given twice: which of the two was meant, nobody knows.

    Raises:
        PermanentError: A key is given twice.
    """
    if len({key for key, _ in pairs}) < len(pairs):
        raise _malformed("it gives a key twice")


def encode_fact(fact: Fact) -> tuple[str, dict[str, Any]]:
    """Return a fact's name and fields, as they are stored."""
    return type(fact).__name__, _fields(fact)


def decode_fact(name: str, fields: object) -> Fact:
    """Read a stored fact back, checking names and types of its fields.

    Raises:
        PermanentError: No such fact, or fields that don't fit it.
    """
    kind = FACTS.get(name)
    if kind is None:
        # Only what looks like a name is quoted: the rest could be anybody's data.
        shown = repr(name[:40]) if name.isascii() and name.isidentifier() else "its name is none"
        raise _malformed(f"it holds a fact this library does not know: {shown}")
    if not isinstance(fields, dict):
        raise _malformed(f"its {name} is not an object")
    wanted = {f.name: f.type for f in dataclasses.fields(kind)}
    if fields.keys() != wanted.keys():
        raise _malformed(f"its {name} has other fields than {', '.join(sorted(wanted))}")
    for field_name, value in fields.items():
        if type(value).__name__ != wanted[field_name]:
            raise _malformed(f"its {name}.{field_name} is not of type {wanted[field_name]}")
    return kind(**fields)


def _fields(fact: Fact) -> dict[str, Any]:
    return {f.name: getattr(fact, f.name) for f in dataclasses.fields(fact)}


def _malformed(why: str) -> PermanentError:
    return PermanentError(
        f"The message can't be read: {why}.",
        remedy="Look who sent it; delete it from the dead-letter queue when it is not ours.",
    )
