"""What the library needs from the world around it: objects, queues, secrets and time, as small protocols.

`aws/` implements them on S3, SQS and SSM; `local/` in memory and on disk. One contract suite
(`tests/ports/`) runs against both and against two independent imitations of AWS, so that the double stays honest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it was read.

    Attributes:
        key: Its key in the store.
        body: The whole content.
        etag: Opaque version mark for `if_match`.
        last_modified: When it was written, on the store's clock (whole seconds, as S3 gives it).
        read_at: When it was read, on the store's clock (S3's `Date` header). Age in a lease is
            `read_at - last_modified`: two readings of one clock, never a worker's.
    """

    key: str
    body: bytes
    etag: str
    last_modified: datetime
    read_at: datetime


@dataclass(frozen=True, slots=True)
class PutResult:
    """What a put answers.

    Attributes:
        etag: Version mark of what was just written.
        written_at: The store's clock at the answer (S3's `Date` header).
    """

    etag: str
    written_at: datetime


@dataclass(frozen=True, slots=True)
class ObjectSummary:
    """One line of a listing.

    Attributes:
        key: Its key in the store.
        size: Bytes.
        etag: Version mark.
        last_modified: When it was written, on the store's clock, in whole seconds.
    """

    key: str
    size: int
    etag: str
    last_modified: datetime


class ObjectStore(Protocol):
    """A bucket: whole objects, conditional puts, listings in key order, strongly consistent."""

    def get(self, key: str) -> StoredObject | None:
        """Read a whole object; None when there is none."""

    def open(self, key: str, *, start: int = 0) -> BinaryIO:
        """Stream an object from byte `start` on. The caller closes it.

        Raises:
            InputError: There is no such object.
        """

    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        """Write a whole object.

        Args:
            if_none_match: Write only when no such object exists.
            if_match: Write only when the object still has this version mark.

        Raises:
            PreconditionFailedError: The condition does not hold (412; 404 for `if_match` on a missing object).
                A 409 (two conditional puts at once) is retried inside.
            RetryableError: The store failed; whether the put got through is unknown.
        """

    def put_stream(self, key: str, chunks: Iterable[bytes]) -> PutResult:
        """Write an object of any size from chunks, in constant memory; it appears whole or not at all."""

    def delete(self, key: str) -> None:
        """Remove an object; removing what is not there succeeds."""

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectSummary]:
        """List objects whose key begins with `prefix`, in key order (UTF-8 bytes), all pages."""


UNSENDABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no body and no attribute may hold. Source: Amazon SQS API reference, the page on SendMessage."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send.

    Attributes:
        body: Text, at most 1 MiB with the attributes.
        delay_seconds: 0 to 900; must be 0 on a FIFO queue.
        attributes: String attributes (at most 10).
        deduplication_id: FIFO queues only: a second message of the same id within five minutes is dropped.
    """

    body: str
    delay_seconds: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    deduplication_id: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """A message as the queue delivers it.

    Attributes:
        message_id: The queue's id of the message; the same at every delivery.
        receipt: Handle of this delivery, for delete and change of visibility.
        body: Text.
        attributes: String attributes.
        receive_count: How often it was delivered, this time included.
    """

    message_id: str
    receipt: str
    body: str
    attributes: Mapping[str, str]
    receive_count: int


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many messages a queue holds: ready to be received, being worked on, and delayed."""

    visible: int
    in_flight: int
    delayed: int


class Queue(Protocol):
    """One queue with the semantics of SQS, standard or FIFO (one message group: all of the queue)."""

    @property
    def name(self) -> str:
        """The queue's name."""

    @property
    def fifo(self) -> bool:
        """Whether order is kept and one message at a time is out."""

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Send any number of messages, in batches of ten.

        Raises:
            RetryableError: One or more were not taken; others may have been.
        """

    def receive(self, *, max_messages: int = 10, wait_seconds: int = 0) -> list[Received]:
        """Receive up to ten messages; each stays invisible for the queue's visibility time-out."""

    def delete(self, receipt: str) -> None:
        """Acknowledge a delivery: the message is gone."""

    def change_visibility(self, receipt: str, seconds: int) -> None:
        """Make a delivery visible again after `seconds` (0 to 43,200) from now."""

    def counts(self) -> QueueCounts:
        """Count what is in the queue (on SQS: approximately)."""


class Queues(Protocol):
    """The queues of a workflow, by service."""

    def of(self, service: str) -> Queue:
        """Return the service's own queue."""

    def dead_letters_of(self, service: str) -> Queue:
        """Return the service's dead-letter queue."""


class Secrets(Protocol):
    """Secret values by name, for example `qualtrics_api_token`."""

    def get(self, name: str) -> str:
        """Return the value.

        Raises:
            ConfigurationError: There is none; names the command that sets it.
        """


class Clock(Protocol):
    """What time it is. Only entry points ask; everything below gets time as an argument."""

    def now(self) -> datetime:
        """Return the time, with UTC as its zone."""

    def sleep(self, seconds: float) -> None:
        """Wait; a virtual clock only moves its hand."""
