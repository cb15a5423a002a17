"""Queues on one machine with the semantics of SQS, so that what works here works there.

Visibility time-outs, receive counts, redrive to the dead-letter queue, delays, FIFO order and deduplication follow the
documentation of SQS. Not modelled, since nothing of ours meets it: retention, limits on messages in flight.
"""

from __future__ import annotations

import heapq
import random
import threading
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypedDict

from typing_extensions import override

from qualtrics_etl.errors import ConfigurationError, PermanentError, RetryableError
from qualtrics_etl.local import limits
from qualtrics_etl.ports import Clock, Outgoing, Queue, QueueCounts, Queues, Received

State = Literal["visible", "in_flight", "delayed"]

DEAD_LETTER_VISIBILITY_SECONDS = 30
"""Visibility time-out of the dead-letter queues: time enough for a command to send on what it received."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What a service's queue is like.

    Attributes:
        visibility_seconds: How long a received message stays invisible.
        max_receive_count: Received more often than this, a message goes to the dead-letter queue.
        fifo: Order is kept, one batch is out at a time, repeated deduplication ids are dropped.
    """

    visibility_seconds: int
    max_receive_count: int
    fifo: bool = False


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A message as it lies in a queue, seen without receiving it.

    Attributes:
        message_id: The queue's id of the message.
        body: Text.
        attributes: String attributes.
        receive_count: How often it was delivered so far, in all queues that it was in.
        state: Ready to be received, being worked on, or delayed.
        due_at: When it is visible again; not later than now for a visible one.
    """

    message_id: str
    body: str
    attributes: Mapping[str, str]
    receive_count: int
    state: State
    due_at: datetime


class MessageSnapshot(TypedDict):
    """A message of a paused run; `due_at` in ISO 8601; `copy` and `copied` belong to `duplicates`."""

    message_id: str
    body: str
    attributes: dict[str, str]
    receive_count: int
    state: State
    due_at: str
    copy: bool
    copied: bool


class QueueSnapshot(TypedDict):
    """A queue of a paused run: its messages in order, and deduplication ids with the time they were first sent."""

    messages: list[MessageSnapshot]
    deduplication: dict[str, str]


class LocalQueue(Queue):
    """One queue, standard or FIFO; made by `LocalQueues`.

    Args:
        name: Its name; FIFO queues end in `.fifo`.
        clock: Decides when time-outs and delays are over.
        max_receive_count: None for a queue without a dead-letter queue.
        shuffle: Deliver in random order, as a standard queue may.
        duplicates: Deliver every message a second time, as a standard queue may; one text is doubled once only.
        numbers: Where ids and random order come from.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        visibility_seconds: int = DEAD_LETTER_VISIBILITY_SECONDS,
        max_receive_count: int | None = None,
        dead_letters: LocalQueue | None = None,
        shuffle: bool = False,
        duplicates: bool = False,
        numbers: random.Random | None = None,
    ) -> None:
        self._name = name
        self._clock = clock
        self._visibility = timedelta(seconds=visibility_seconds)
        self._max_receive_count = max_receive_count
        self._dead_letters = dead_letters
        self._shuffle = shuffle and not self.fifo
        self._duplicates = duplicates and not self.fifo
        self._numbers = numbers or random.Random()  # noqa: S311 - ids and order, no secrets
        self._lock = threading.RLock()
        self._empty()

    def _empty(self) -> None:
        self._sequence = 0
        self._held: dict[int, _Held] = {}
        self._tally: Counter[State] = Counter()
        # Two heaps of (rank, sequence, place, message): what is due, and what will be. A message that has moved on
        # since has another place; its old entry is dropped when it comes up.
        self._ready: list[tuple[float, int, int, _Held]] = []
        self._waiting: list[tuple[datetime, int, int, _Held]] = []
        self._deduplication: dict[str, datetime] = {}
        # What is sent once more because its sender was doubled is not doubled again: along a chain, twice would
        # become a thousand times.
        self._doubled: set[str] = set()

    @property
    @override
    def name(self) -> str:
        return self._name

    @property
    @override
    def fifo(self) -> bool:
        return self._name.endswith(".fifo")

    @override
    def send(self, messages: Sequence[Outgoing]) -> None:
        """Take the messages that SQS would take.

        Raises:
            PermanentError: SQS would refuse one or more of them; the others were taken.
        """
        with self._lock:
            now = self._clock.now()
            problems = [self._accept(message, now) for message in messages]
        refused = [problem for problem in problems if problem]
        if refused:
            raise PermanentError(
                f"{self._name} refused {len(refused)} of {len(messages)} messages: {refused[0]}.",
                remedy="Correct the step that makes the message.",
            )

    @override
    def receive(self, *, max_messages: int = 10, wait_seconds: int = 0) -> list[Received]:
        limits.check_range("max_messages", max_messages, 1, limits.MAX_RECEIVED)
        limits.check_range("wait_seconds", wait_seconds, 0, limits.MAX_WAIT_SECONDS)
        until = self._clock.now() + timedelta(seconds=wait_seconds)
        while True:
            with self._lock:
                now = self._clock.now()
                received = self._take(now, max_messages)
            if received or now >= until:
                return received
            self._clock.sleep(min(_LOOK_INTERVAL, until - now).total_seconds())

    @override
    def delete(self, receipt: str) -> None:
        """Acknowledge a delivery.

        On a standard queue an old receipt is accepted and deletes nothing; on a FIFO queue it is refused once its
        time-out is over.

        Raises:
            RetryableError: The delivery is over, and the message comes again.
        """
        with self._lock:
            self._settle(self._clock.now())
            held = self._holder(receipt)
            if held is None:
                return
            over = held.receipt != receipt or held.state != "in_flight"
            if over and self.fifo:
                raise self._over()
            if held.receipt == receipt:
                self._drop(held)

    @override
    def change_visibility(self, receipt: str, seconds: int) -> None:
        """Make a delivery visible again after `seconds`.

        Raises:
            RetryableError: The delivery is over: deleted, visible again, or out to somebody else.
            PermanentError: `seconds` is out of range, or would keep the message longer than 12 hours in all.
        """
        limits.check_range("seconds", seconds, 0, limits.MAX_VISIBILITY_SECONDS)
        with self._lock:
            now = self._clock.now()
            self._settle(now)
            held = self._holder(receipt)
            if held is None or held.receipt != receipt or held.state != "in_flight":
                raise self._over()
            due_at = now + timedelta(seconds=seconds)
            limits.check_range(
                "total visibility", int((due_at - held.received_at).total_seconds()), 0, limits.MAX_VISIBILITY_SECONDS
            )
            self._wait(held, "in_flight", due_at)

    @override
    def counts(self) -> QueueCounts:
        with self._lock:
            self._settle(self._clock.now())
            return QueueCounts(self._tally["visible"], self._tally["in_flight"], self._tally["delayed"])

    def messages(self) -> list[HeldMessage]:
        """Look at all messages, in the order they came, without receiving them."""
        with self._lock:
            self._settle(self._clock.now())
            return [
                HeldMessage(m.message_id, m.body, dict(m.attributes), m.receive_count, m.state, m.due_at)
                for m in self._held.values()
            ]

    def next_due_at(self) -> datetime | None:
        """When the first delayed or in-flight message becomes visible; None when there is none."""
        with self._lock:
            self._settle(self._clock.now())
            while self._waiting and not _current(self._waiting[0]):
                heapq.heappop(self._waiting)
            return self._waiting[0][0] if self._waiting else None

    def snapshot(self) -> QueueSnapshot:
        """Write down what the queue holds, for a run that is paused."""
        with self._lock:
            self._settle(self._clock.now())
            return {
                "messages": [_to_snapshot(held) for held in self._held.values()],
                "deduplication": {name: at.isoformat() for name, at in self._deduplication.items()},
            }

    def restore(self, snapshot: QueueSnapshot) -> None:
        """Hold what a snapshot says, and nothing else.

        What was in flight stays invisible until its time-out, as it does on SQS when a worker dies. Old receipts are
        void.
        """
        with self._lock:
            self._empty()
            for message in snapshot["messages"]:
                self._add(_from_snapshot(message))
            self._deduplication.update((i, datetime.fromisoformat(at)) for i, at in snapshot["deduplication"].items())

    def _accept(self, message: Outgoing, now: datetime) -> str | None:
        """Take a message, or say why SQS refuses it."""
        problem = limits.find_problem(message, fifo=self.fifo)
        if problem is None and not (self.fifo and self._is_repeated(message, now)):
            delay = timedelta(seconds=message.delay_seconds)
            self._add(
                _Held(
                    message_id=str(uuid.UUID(int=self._numbers.getrandbits(128), version=4)),
                    body=message.body,
                    attributes=dict(message.attributes),
                    state="delayed" if delay else "visible",
                    due_at=now + delay,
                    received_at=now,
                    copied=message.body in self._doubled,
                )
            )
            if self._duplicates:
                self._doubled.add(message.body)
        return problem

    def _is_repeated(self, message: Outgoing, now: datetime) -> bool:
        while self._deduplication:
            oldest = next(iter(self._deduplication))
            if now - self._deduplication[oldest] < limits.DEDUPLICATION_INTERVAL:
                break
            del self._deduplication[oldest]
        identity = message.deduplication_id or ""
        is_repeated = identity in self._deduplication
        self._deduplication.setdefault(identity, now)
        return is_repeated

    def _add(self, held: _Held) -> None:
        held.sequence = self._sequence
        self._sequence += 1
        self._held[held.sequence] = held
        self._tally[held.state] += 1
        if held.state == "visible":
            self._show(held)
        else:
            self._wait(held, held.state, held.due_at)

    def _settle(self, now: datetime) -> None:
        """Make visible what is due."""
        while self._waiting and self._waiting[0][0] <= now:
            entry = heapq.heappop(self._waiting)
            if _current(entry):
                self._show(entry[-1])

    def _take(self, now: datetime, max_messages: int) -> list[Received]:
        self._settle(now)
        if self.fifo and self._tally["in_flight"]:
            return []  # one message group: nothing passes what is being worked on
        taken: dict[str, _Held] = {}
        twins: list[_Held] = []
        while len(taken) < max_messages and (held := self._next_ready()):
            # No batch holds the same message twice: answers for a part of a batch go by its id.
            if taken.setdefault(held.message_id, held) is not held:
                twins.append(held)
        received = [self._deliver(held, now) for held in taken.values()]
        for held in twins:
            self._show(held)
        for held in taken.values() if self._duplicates else ():
            self._repeat(held)
        return received

    def _next_ready(self) -> _Held | None:
        """Take the next visible message off its heap; bury those before it that were received too often."""
        while self._ready:
            entry = heapq.heappop(self._ready)
            if not _current(entry):
                continue
            held = entry[-1]
            if self._max_receive_count is None or held.receive_count < self._max_receive_count:
                return held
            self._bury(held)
        return None

    def _deliver(self, held: _Held, now: datetime) -> Received:
        held.receive_count += 1
        held.receipt = f"{self._name}:{held.sequence}:{self._numbers.getrandbits(64):x}"
        held.received_at = now
        self._wait(held, "in_flight", now + self._visibility)
        return Received(held.message_id, held.receipt, held.body, dict(held.attributes), held.receive_count)

    def _repeat(self, held: _Held) -> None:
        if not held.copied:
            held.copied = True
            self._add(held.again(copy=True))

    def _bury(self, held: _Held) -> None:
        """Move a message that was received too often; a second delivery of one is not a second message."""
        self._drop(held)
        if self._dead_letters is not None and not held.copy:
            self._dead_letters.adopt(held)

    def adopt(self, held: _Held) -> None:
        """Take over a message from the queue whose dead-letter queue this is: id, attributes and count are kept.

        Source: Amazon SQS API reference, ReceiveMessage (the receive count goes across all queues).
        """
        with self._lock:
            self._add(held.again(copy=False))

    def _holder(self, receipt: str) -> _Held | None:
        """Return the message of a receipt, even of an old one; None when the message is gone.

        Raises:
            RetryableError: This queue never gave such a receipt.
        """
        name, _, number = receipt.rpartition(":")[0].rpartition(":")
        if name != self._name or not number.isdecimal():
            raise RetryableError(f"{self._name} gave no receipt {receipt[:80]!r}.", call_made=False)
        return self._held.get(int(number))

    def _over(self) -> RetryableError:
        return RetryableError(f"The delivery from {self._name} is over: its visibility time-out has passed.")

    def _show(self, held: _Held) -> None:
        place = self._move(held, "visible")
        rank = self._numbers.random() if self._shuffle else 0.0 if self.fifo else held.due_at.timestamp()
        heapq.heappush(self._ready, (rank, held.sequence, place, held))

    def _wait(self, held: _Held, state: State, due_at: datetime) -> None:
        held.due_at = due_at
        heapq.heappush(self._waiting, (due_at, held.sequence, self._move(held, state), held))

    def _move(self, held: _Held, state: State) -> int:
        self._tally[held.state] -= 1
        self._tally[state] += 1
        held.state = state
        held.place += 1
        return held.place

    def _drop(self, held: _Held) -> None:
        del self._held[held.sequence]
        self._tally[held.state] -= 1
        held.place += 1


class LocalQueues(Queues):
    """The queues of a workflow on one machine: for each service its own and its dead-letter queue.

    Args:
        services: What each service's queue is like.
        seed: Deliver in a random order that this seed repeats; None delivers in the order of sending, which a standard
            queue does not promise.
        shuffle: With False, a seed repeats the ids only, and the order is that of sending.
        duplicates: Deliver every message of a standard queue twice.
    """

    def __init__(
        self,
        services: Mapping[str, QueueSettings],
        clock: Clock,
        *,
        seed: int | None = None,
        shuffle: bool = True,
        duplicates: bool = False,
    ) -> None:
        numbers = random.Random(seed)  # noqa: S311 - ids and order, no secrets
        self._dead_letters = {
            service: LocalQueue(_name(f"{service}-dlq", settings), clock, numbers=numbers)
            for service, settings in services.items()
        }
        self._queues = {
            service: LocalQueue(
                _name(service, settings),
                clock,
                visibility_seconds=settings.visibility_seconds,
                max_receive_count=settings.max_receive_count,
                dead_letters=self._dead_letters[service],
                shuffle=shuffle and seed is not None,
                duplicates=duplicates,
                numbers=numbers,
            )
            for service, settings in services.items()
        }

    @override
    def of(self, service: str) -> LocalQueue:
        return _of(self._queues, service)

    @override
    def dead_letters_of(self, service: str) -> LocalQueue:
        return _of(self._dead_letters, service)

    def next_due_at(self) -> datetime | None:
        """When the first delayed or in-flight message of the services' own queues becomes visible; None without one.

        Dead-letter queues don't count: nobody receives from them until a person does.
        """
        return min((due for queue in self._queues.values() if (due := queue.next_due_at())), default=None)

    def snapshot(self) -> dict[str, QueueSnapshot]:
        """Write down what all queues hold, by queue name, as JSON can carry it. Nobody may be at work meanwhile."""
        return {queue.name: queue.snapshot() for queue in self._all()}

    def restore(self, snapshot: Mapping[str, QueueSnapshot]) -> None:
        """Hold what a snapshot says, and nothing else.

        Raises:
            ConfigurationError: A queue with messages in it is no longer part of the workflow.
        """
        lost = sorted(snapshot.keys() - {queue.name for queue in self._all()})
        lost = [name for name in lost if snapshot[name]["messages"]]
        if lost:
            raise ConfigurationError(
                f"The paused run has messages in queues that the workflow no longer has: {', '.join(lost)}.",
                remedy="Bring the services back into workflow.yml and resume, or start the run again.",
            )
        for queue in self._all():
            queue.restore(snapshot.get(queue.name, {"messages": [], "deduplication": {}}))

    def _all(self) -> list[LocalQueue]:
        return [*self._queues.values(), *self._dead_letters.values()]


@dataclass(slots=True)
class _Held:
    message_id: str
    body: str
    attributes: dict[str, str]
    state: State
    due_at: datetime
    received_at: datetime
    receive_count: int = 0
    receipt: str | None = None
    copy: bool = False
    copied: bool = False
    sequence: int = 0
    place: int = 0

    def again(self, *, copy: bool) -> _Held:
        """Return the message as it starts anew, visible: as a second delivery, or in the dead-letter queue."""
        return replace(self, state="visible", due_at=self.received_at, receipt=None, copy=copy, copied=copy)


_LOOK_INTERVAL = timedelta(milliseconds=20)  # how soon a waiting receive sees what another thread sent


def _current(entry: tuple[object, int, int, _Held]) -> bool:
    return entry[2] == entry[3].place


def _name(service: str, settings: QueueSettings) -> str:
    return f"{service}.fifo" if settings.fifo else service


def _of(queues: Mapping[str, LocalQueue], service: str) -> LocalQueue:
    if service not in queues:
        raise ConfigurationError(f"There is no queue of a service {service}.", remedy="Run `qetl check`.")
    return queues[service]


def _to_snapshot(held: _Held) -> MessageSnapshot:
    return {
        "message_id": held.message_id,
        "body": held.body,
        "attributes": held.attributes,
        "receive_count": held.receive_count,
        "state": held.state,
        "due_at": held.due_at.isoformat(),
        "copy": held.copy,
        "copied": held.copied,
    }


def _from_snapshot(message: MessageSnapshot) -> _Held:
    due_at = datetime.fromisoformat(message["due_at"])
    return _Held(
        message["message_id"],
        message["body"],
        dict(message["attributes"]),
        message["state"],
        due_at,
        due_at,
        message["receive_count"],
        copy=message["copy"],
        copied=message["copied"],
    )
