"""Every call of a worker to the world around it, counted, and what goes wrong at one of them.

A boundary is known by its service and its number: the seventh call of `import_contacts` since the beginning. The order
of calls is the same each time, so that a fault can be put exactly there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO, TypeVar

from typing_extensions import override

from qualtrics_etl.errors import RetryableError
from qualtrics_etl.ports import (
    ObjectStore,
    ObjectSummary,
    Outgoing,
    PutResult,
    Queue,
    QueueCounts,
    Queues,
    Received,
    StoredObject,
)
from qualtrics_etl.qualtrics.transport import Request, Response, Transport

T = TypeVar("T")

ACKNOWLEDGE = "acknowledge"
"""The boundary at which the queue is told what is settled; the function has nothing to do with it any more."""
CALLS_UNTIL_NEXT_DEATH = 9
"""How many calls later a second worker dies at most: about what one message takes."""


class WorkerKilled(BaseException):
    """The worker's machine is gone: no except clause and no clean-up of ours runs on it."""


class CrashKind(Enum):
    """What goes wrong at a boundary."""

    KILLED_BEFORE = "killed_before"
    """The worker dies before the call."""
    KILLED_AFTER = "killed_after"
    """The worker dies when the call has had its effect."""
    KILLED_AGAIN = "killed_again"
    """So it is, and so is, a few calls later, a worker of the same service: mostly the one that took over."""
    REFUSED = "refused"
    """The call has no effect, and the worker sees a failure."""
    LOST_ANSWER = "lost_answer"
    """The call has its effect, and the worker sees a failure."""
    SLOW = "slow"
    """The worker stands still before the call, for so long that others do its work; then it goes on."""
    LATE = "late"
    """The worker dies with its call on the way; it has its effect when others have done the work."""

    @property
    def others_come_first(self) -> bool:
        """Whether others do the worker's work before the call has its effect."""
        return self in (CrashKind.SLOW, CrashKind.LATE)

    @property
    def dies_after(self) -> bool:
        """Whether the worker is gone when the call has had its effect."""
        return self in (CrashKind.KILLED_AFTER, CrashKind.KILLED_AGAIN, CrashKind.LATE)


@dataclass(frozen=True, slots=True)
class Boundary:
    """One call of a worker.

    Attributes:
        service: Whose worker.
        number: Which of the service's calls, from 1.
        what: The call, for people: `put ledger/...`, `POST /API/v3/distributions`, `sftp open /contacts.csv`.
        changes_qualtrics: Whether it may change something at Qualtrics.
    """

    service: str
    number: int
    what: str
    changes_qualtrics: bool = False


@dataclass(slots=True, eq=False)
class Worker:
    """One run of a service's function.

    Attributes:
        alive: False from the moment it was killed: nothing that it still tries has an effect.
    """

    service: str
    alive: bool = True


@dataclass(slots=True)
class Watch:
    """Counts the calls of all workers, and lets one of them meet its fault.

    Attributes:
        kind: What goes wrong; None for nothing.
        service: Where: whose calls.
        number: At which of them.
        wait: What passes while a slow worker stands still.
        seen: All calls so far.
        counts: How many there were, by service.
        current: Who is at work.
        met: The call that met its fault.
    """

    kind: CrashKind | None = None
    service: str = ""
    number: int = 0
    wait: Callable[[Boundary], None] = lambda boundary: None
    seen: list[Boundary] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    current: Worker | None = None
    met: Boundary | None = None

    def around(
        self,
        worker: Worker,
        what: str,
        effect: Callable[[], T],
        *,
        changes_qualtrics: bool = False,
    ) -> T:
        """Make a call.

        Raises:
            WorkerKilled: The worker died at it, or before it.
            RetryableError: Its answer is lost.
        """
        boundary, kind = self.meet(worker, what, changes_qualtrics=changes_qualtrics)
        if kind is not None and kind.others_come_first:
            self.wait(boundary)
        if not worker.alive:
            raise WorkerKilled
        if kind is CrashKind.REFUSED:
            raise _failure(boundary)
        try:
            result = effect()
        except Exception:
            if not worker.alive:  # it died at a call within this one
                raise WorkerKilled from None
            raise
        if kind is not None and kind.dies_after:
            worker.alive = False
        if not worker.alive:
            raise WorkerKilled
        if kind is CrashKind.LOST_ANSWER:
            raise _failure(boundary)
        return result

    def meet(self, worker: Worker, what: str, *, changes_qualtrics: bool = False) -> tuple[Boundary, CrashKind | None]:
        """Count a call; return what goes wrong at it. A worker that is killed before it is dead from here on."""
        if not worker.alive:
            return Boundary(worker.service, 0, what), None
        self.counts[worker.service] += 1
        boundary = Boundary(worker.service, self.counts[worker.service], what, changes_qualtrics)
        self.seen.append(boundary)
        if self.met is None and (boundary.service, boundary.number) == (self.service, self.number):
            self.met = boundary
        elif self.kind is CrashKind.KILLED_AGAIN and self._is_next_death(boundary):
            worker.alive = False
            return boundary, CrashKind.KILLED_BEFORE
        else:
            return boundary, None
        if self.kind is CrashKind.KILLED_BEFORE:
            worker.alive = False
        return boundary, self.kind

    def _is_next_death(self, boundary: Boundary) -> bool:
        later = 1 + self.number * 5 % CALLS_UNTIL_NEXT_DEATH
        return (boundary.service, boundary.number) == (self.service, self.number + later)


def _failure(boundary: Boundary) -> RetryableError:
    # Of a call to Qualtrics nobody can tell, who made it, whether it had its effect.
    return RetryableError(f"There was no answer to `{boundary.what}`.", call_made=boundary.changes_qualtrics)


class WatchedObjects(ObjectStore):
    """A worker's object store."""

    def __init__(self, inner: ObjectStore, watch: Watch, worker: Worker) -> None:
        self._inner = inner
        self._watch = watch
        self._worker = worker

    @override
    def get(self, key: str) -> StoredObject | None:
        return self._around(f"get {key}", lambda: self._inner.get(key))

    @override
    def open(self, key: str, *, start: int = 0) -> BinaryIO:
        return self._around(f"open {key}", lambda: self._inner.open(key, start=start))

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        return self._around(
            f"put {key}", lambda: self._inner.put(key, body, if_none_match=if_none_match, if_match=if_match)
        )

    @override
    def put_stream(self, key: str, chunks: Iterable[bytes]) -> PutResult:
        return self._around(f"put {key}", lambda: self._inner.put_stream(key, chunks))

    @override
    def delete(self, key: str) -> None:
        self._around(f"delete {key}", lambda: self._inner.delete(key))

    @override
    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectSummary]:
        return self._around(f"list {prefix}", lambda: iter(list(self._inner.list(prefix, start_after=start_after))))

    def _around(self, what: str, effect: Callable[[], T]) -> T:
        return self._watch.around(self._worker, what, effect)


class WatchedQueues(Queues):
    """A worker's queues."""

    def __init__(self, inner: Queues, watch: Watch, worker: Worker) -> None:
        self._inner = inner
        self._watch = watch
        self._worker = worker

    @override
    def of(self, service: str) -> Queue:
        return _WatchedQueue(self._inner.of(service), self._watch, self._worker)

    @override
    def dead_letters_of(self, service: str) -> Queue:
        return _WatchedQueue(self._inner.dead_letters_of(service), self._watch, self._worker)


class _WatchedQueue(Queue):
    def __init__(self, inner: Queue, watch: Watch, worker: Worker) -> None:
        self._inner = inner
        self._watch = watch
        self._worker = worker

    @property
    @override
    def name(self) -> str:
        return self._inner.name

    @property
    @override
    def fifo(self) -> bool:
        return self._inner.fifo

    @override
    def send(self, messages: Sequence[Outgoing]) -> None:
        self._around(f"send {len(messages)} to {self.name}", lambda: self._inner.send(messages))

    @override
    def receive(self, *, max_messages: int = 10, wait_seconds: int = 0) -> list[Received]:
        return self._around(
            f"receive from {self.name}",
            lambda: self._inner.receive(max_messages=max_messages, wait_seconds=wait_seconds),
        )

    @override
    def delete(self, receipt: str) -> None:
        self._around(f"forget in {self.name}", lambda: self._inner.delete(receipt))

    @override
    def change_visibility(self, receipt: str, seconds: int) -> None:
        self._around(f"hide in {self.name}", lambda: self._inner.change_visibility(receipt, seconds))

    @override
    def counts(self) -> QueueCounts:
        return self._around(f"count {self.name}", self._inner.counts)

    def _around(self, what: str, effect: Callable[[], T]) -> T:
        return self._watch.around(self._worker, what, effect)


class WatchedTransport(Transport):
    """A worker's way to Qualtrics."""

    def __init__(self, inner: Transport, watch: Watch, worker: Worker) -> None:
        self._inner = inner
        self._watch = watch
        self._worker = worker

    @override
    def send(self, request: Request) -> Response:
        return self._watch.around(
            self._worker,
            f"{request.method} {request.path}",
            lambda: self._inner.send(request),
            changes_qualtrics=request.method not in ("GET", "HEAD"),
        )
