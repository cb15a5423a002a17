"""Sends dead letters again: from a service's dead-letter queue to the service's own queue, letter by letter.

    receive -> send, attributes and all -> delete

In this order a letter is always in one of the two queues: whatever breaks in between, it is there twice at worst, and
the steps do its work once. SQS' own redrive is of no use here: the steps put letters into the dead-letter queue
themselves, and SQS sends back only what it moved.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qualtrics_etl.aws.access import StageAccess, stage_failures
from qualtrics_etl.aws.queues import MESSAGE_GROUP, SqsQueue
from qualtrics_etl.errors import OutcomeUnknownError, PermanentError, RetryableError
from qualtrics_etl.messages import Message
from qualtrics_etl.status import DeadLetter, Letters
from qualtrics_etl.steps.base import CAUSE_ATTRIBUTE

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef, SendMessageRequestTypeDef

HIDE_SECONDS = 300
"""How long a letter is hidden from others while this command holds it; it gives back what it does not send."""

RECEIVE_WAIT_SECONDS = 1
"""Long enough that SQS asks all its servers: an empty answer is an empty queue."""

RECEIVE_MESSAGES = 10
"""Source: Amazon SQS API reference, ReceiveMessage."""

MOST_LOOKED_AT = 1000
"""Letters that the summary reads at most; sending takes all."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter.

    Attributes:
        work: Which piece of work it asks for; two letters of the same text about one work are copies.
        run, batch: Of its message; empty where that can't be read.
        error: Class of the error; empty when the queue itself gave the message up.
        cause, remedy: As the step wrote them; empty like `error`.
        sent_at: When it came into the dead-letter queue, or, where the queue moved it, into its first queue.
    """

    work: str
    run: str
    batch: str
    error: str
    cause: str
    remedy: str
    sent_at: datetime
    raw: MessageTypeDef = field(repr=False)

    @property
    def outcome_unknown(self) -> bool:
        """Whether a person has to look into Qualtrics before it may be sent."""
        return self.error == OutcomeUnknownError.__name__


@dataclass(frozen=True, slots=True)
class Cause:
    """Letters of one cause, as they were found."""

    letters: tuple[Letter, ...]

    @property
    def first(self) -> Letter:
        """The letter that says it for all."""
        return self.letters[0]

    @property
    def since(self) -> datetime:
        """When the oldest of them was sent."""
        return min(letter.sent_at for letter in self.letters)

    @property
    def runs(self) -> dict[str, list[str]]:
        """The batches by run."""
        found: dict[str, list[str]] = {}
        for letter in self.letters:
            found.setdefault(letter.run, []).append(letter.batch)
        return found


def dead_letters_of(access: StageAccess, services: Iterable[str]) -> Letters:
    """Return what stands in the dead-letter queues of several services, without taking it: as `DeadLetters.look`."""

    def look(service: str) -> tuple[list[DeadLetter], bool]:
        letters = DeadLetters(access, service)
        # An empty queue is only told by its count: a look at it would wait for letters that may come.
        count = letters.count()
        found = letters.look() if count else []
        seen = [DeadLetter(service, each.run, each.batch, each.error, each.cause, each.remedy) for each in found]
        return seen, len(seen) < count

    services = list(services)
    with ThreadPoolExecutor(max(1, len(services))) as looking:
        looked = dict(zip(services, looking.map(look, services), strict=True))
    return Letters(
        tuple(letter for seen, _ in looked.values() for letter in seen),
        frozenset(service for service, (_, is_partly) in looked.items() if is_partly),
    )


def by_cause(letters: Iterable[Letter]) -> list[Cause]:
    """Sort letters by error, cause and remedy, the most frequent first."""
    found: dict[tuple[str, str, str], list[Letter]] = {}
    for letter in letters:
        found.setdefault((letter.error, letter.cause, letter.remedy), []).append(letter)
    return sorted((Cause(tuple(each)) for each in found.values()), key=lambda cause: -len(cause.letters))


@dataclass(slots=True)
class Outcome:
    """What became of the letters.

    Attributes:
        sent: Sent to the service's own queue.
        unknown: Left in the dead-letter queue, because nobody knows what Qualtrics did.
        came_back: Left there, because the same work was sent before in this run.
    """

    sent: int = 0
    unknown: int = 0
    came_back: int = 0


class DeadLetters:
    """A service's dead letters, and the way back."""

    def __init__(self, access: StageAccess, service: str) -> None:
        urls = json.loads(access.read_parameter(f"{service}/queue_urls"))
        self._own_url: str = urls[service]
        self._url = access.read_parameter(f"{service}/dead_letter_queue_url")
        self._client: SQSClient = access.aws.client("sqs")
        self._queue = SqsQueue(self._url, self._client)
        self._held: dict[str, str] = {}  # receipts by message id: what has to be given back

    @property
    def name(self) -> str:
        """Name of the dead-letter queue."""
        return self._queue.name

    @property
    def serial(self) -> bool:
        """Whether the queues are FIFO: then only the first letters can be looked at."""
        return self._queue.fifo

    def count(self) -> int:
        """Return how many letters there are, about."""
        with stage_failures(f"Looking into {self.name}"):
            counts = self._queue.counts()
        return counts.visible + counts.in_flight + counts.delayed

    def look(self, stopped: Callable[[], bool] = lambda: False) -> list[Letter]:
        """Return letters without taking them: all up to 1,000, or the first ten of a FIFO queue."""
        found: dict[str, Letter] = {}
        with self._giving_back():
            while not stopped() and len(found) < MOST_LOOKED_AT:
                new = [raw for raw in self._receive() if raw["MessageId"] not in found]
                if not new:
                    break
                found |= {raw["MessageId"]: read_letter(raw) for raw in new}
        return list(found.values())

    def send_back(
        self,
        *,
        limit: int | None = None,
        outcome_unknown: bool = False,
        wanted: Callable[[Letter], bool] = lambda letter: True,
        is_settled: Callable[[Letter], bool] = lambda letter: False,
        stopped: Callable[[], bool] = lambda: False,
        on_sent: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Send letters to the service's own queue, each once.

        A letter that comes back meanwhile is left, so that a cause that is still there doesn't keep this busy for ever.

        Args:
            limit: Most letters to send; None for all.
            outcome_unknown: Also send those of which nobody knows what Qualtrics did.
            wanted: Tells which letters are meant; the others stay.
            is_settled: Tells whether a letter's work is done or given up: then it does nothing, whatever its error is.
            stopped: Asked between two letters.
            on_sent: Called behind each letter that was sent.
        """
        outcome, left = Outcome(), set[str]()
        sent: dict[str, str] = {}  # message ids by work
        with self._giving_back():
            for raw in self._all_but(left, stopped):
                if limit is not None and outcome.sent >= limit:
                    break
                letter, name = read_letter(raw), raw["MessageId"]
                if not wanted(letter):
                    left.add(name)
                elif sent.get(letter.work) == name:
                    self._delete(raw)  # sent before, but the delete came too late
                elif letter.work in sent:
                    outcome.came_back += 1
                    left.add(name)
                elif letter.outcome_unknown and not outcome_unknown and not is_settled(letter):
                    outcome.unknown += 1
                    left.add(name)
                else:
                    self._send(raw)
                    sent[letter.work] = name
                    outcome.sent += 1
                    self._delete(raw)
                    on_sent()
        return outcome

    def _all_but(self, left: set[str], stopped: Callable[[], bool]) -> Iterator[MessageTypeDef]:
        """Yield letters until the queue gives only those that are left."""
        waiting: deque[MessageTypeDef] = deque()
        while not stopped():
            if not waiting:
                if self.serial:
                    self._give_back()  # a FIFO queue gives nothing while something of it is held
                received = self._receive()
                waiting.extend(raw for raw in received if raw["MessageId"] not in left)
                if not received or (self.serial and not waiting):
                    return
            if waiting:
                yield waiting.popleft()

    def _receive(self) -> list[MessageTypeDef]:
        with stage_failures(f"Receiving from {self.name}"):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=RECEIVE_MESSAGES,
                WaitTimeSeconds=RECEIVE_WAIT_SECONDS,
                VisibilityTimeout=HIDE_SECONDS,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            )
        found = answer.get("Messages", [])
        self._held |= {raw["MessageId"]: raw["ReceiptHandle"] for raw in found}
        return found

    def _send(self, raw: MessageTypeDef) -> None:
        message: SendMessageRequestTypeDef = {
            "QueueUrl": self._own_url,
            "MessageBody": raw["Body"],
            # With `cause` among them: by it a step knows a letter that was sent back, and begins it anew.
            "MessageAttributes": raw.get("MessageAttributes", {}),
        }
        if self.serial:
            message["MessageGroupId"] = MESSAGE_GROUP
            # A new one each time: the queue would silently drop what it has seen in the last five minutes.
            message["MessageDeduplicationId"] = (
                f"redrive-{raw['MessageId']}-{raw['Attributes']['ApproximateReceiveCount']}"
            )
        with stage_failures(f"Sending a letter of {self.name} to the service's own queue"):
            self._client.send_message(**message)

    def _delete(self, raw: MessageTypeDef) -> None:
        with contextlib.suppress(RetryableError), stage_failures(f"Deleting from {self.name}"):
            # What can't be deleted now comes once more, and is known then.
            self._queue.delete(raw["ReceiptHandle"])
            self._held.pop(raw["MessageId"], None)

    @contextlib.contextmanager
    def _giving_back(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._give_back()

    def _give_back(self) -> None:
        """Let others see at once what is held and was not sent."""
        held, self._held = self._held, {}
        for receipt in held.values():
            # Where that fails, it is seen again when its time is over.
            with contextlib.suppress(RetryableError, PermanentError):
                self._queue.change_visibility(receipt, 0)


def read_letter(raw: MessageTypeDef) -> Letter:
    """Read a dead letter as SQS delivers it; a body that is none of ours is known by its digest."""
    attributes = {name: value.get("StringValue", "") for name, value in raw.get("MessageAttributes", {}).items()}
    digest = hashlib.sha256(raw["Body"].encode()).hexdigest()
    try:
        message = Message.decode(raw["Body"])
        run, batch, work = message.run, message.batch, f"{message.service}/{message.run}/{message.batch}"
    except PermanentError:
        run, batch, work = "", "", digest
    return Letter(
        work=work,
        run=run,
        batch=batch,
        error=attributes.get("error", ""),
        cause=attributes.get(CAUSE_ATTRIBUTE, ""),
        remedy=attributes.get("remedy", ""),
        sent_at=datetime.fromtimestamp(int(raw["Attributes"]["SentTimestamp"]) / 1000, UTC),
        raw=raw,
    )
