"""How what is recorded leaves: as one message, as one a batch (fan-out), or as a mark at a fan-in.

Everything here may be repeated: messages have identities, and what is sent twice falls to the next service's claim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

from qualtrics_etl.catalogue import LEVEL_OF_FACT, Level
from qualtrics_etl.errors import ConfigurationError, PermanentError
from qualtrics_etl.ledger import How, Output
from qualtrics_etl.messages import WHOLE_RUN, FileParsed, Message
from qualtrics_etl.payloads import MAX_BATCHES, batch_name, halves_of
from qualtrics_etl.ports import ObjectStore, Outgoing, Queues
from qualtrics_etl.workflow import Workflow

ARRIVALS_IN_BLOCK = 100


class Outbox:
    """Sends on what a ledger entry says."""

    def __init__(self, workflow: Workflow, queues: Queues, objects: ObjectStore) -> None:
        self._workflow = workflow
        self._queues = queues
        self._objects = objects

    def send_all(self, outputs: Iterable[Output]) -> None:
        """Send recorded outputs.

        Raises:
            RetryableError: Some may be sent and others not; sending all of them again is safe.
        """
        for output in outputs:
            message = Message.decode(output.message)
            match output.how:
                case How.SEND:
                    self.send([message], delay_seconds=output.delay_seconds)
                case How.EACH_BATCH:
                    self._fan_out(message, output.waiting)
                case How.ARRIVE:
                    self._mark(message, message.batch)
                case How.SPLIT:
                    self._mark(message, split_mark(message.batch))

    def send(
        self, messages: list[Message], *, delay_seconds: int = 0, attributes: Mapping[str, str] | None = None
    ) -> None:
        """Send messages of one service to its queue.

        Raises:
            ConfigurationError: The workflow has no such service any more.
        """
        service = messages[0].service
        if service not in self._workflow.services:
            raise ConfigurationError(
                f"Run {messages[0].run} goes on with {service}, which workflow.yml no longer has.",
                remedy="Bring the service back, deploy, and send the message back; the run then goes on.",
            )
        serial = self._workflow.services[service].serial
        self._queues.of(service).send(
            [
                Outgoing(
                    message.encode(),
                    delay_seconds=0 if serial else delay_seconds,
                    attributes=attributes or {},
                    deduplication_id=_identity(message) if serial else None,
                )
                for message in messages
            ]
        )

    def _fan_out(self, message: Message, waiting: tuple[str, ...]) -> None:
        if batches := each_batch_of(message):
            self.send(batches)
        for service in () if batches else waiting:
            self.send([fan_in_of(replace(message, service=service))])

    def _mark(self, message: Message, mark: str) -> None:
        """Mark what has come; whoever then sees the set complete tells the service that waits for it.

        Marks lie in blocks, so that an arrival lists its block only, and a complete block lists the blocks. Two who
        both see the set complete both tell: that falls to the claim.
        """
        total, block = message.fact(FileParsed).batches, block_of(message.batch)
        here = f"ledger/{message.run}/{message.service}"
        self._objects.put(f"{here}/arrived/{block:05}/{mark}", b"")
        marks = self._names(f"{here}/arrived/{block:05}/")
        if not has_block(message, marks):
            return
        self._objects.put(f"{here}/complete/{block:05}", b"")
        if len(self._names(f"{here}/complete/")) * ARRIVALS_IN_BLOCK >= total:
            self.send([fan_in_of(message)])

    def _names(self, prefix: str) -> set[str]:
        return {summary.key.rpartition("/")[2] for summary in self._objects.list(prefix)}


def fan_in_of(message: Message) -> Message:
    """Return what a service that waits for all batches is told, from what the last of them says.

    Only what is true of the whole run goes on, so that it does not matter which batch came last.
    """
    context = tuple(fact for fact in message.context if LEVEL_OF_FACT.get(type(fact)) is not Level.BATCH)
    return replace(message, batch=WHOLE_RUN, context=context)


def each_batch_of(message: Message) -> list[Message]:
    """Return the messages of a fan-out, one for each batch of the file.

    Raises:
        PermanentError: It is said that there are more than a run has.
    """
    total = message.fact(FileParsed).batches
    if total > MAX_BATCHES:
        raise PermanentError(
            f"The message for {message.service} (run {message.run}) says that there are {total} batches; a run has"
            f" at most {MAX_BATCHES}.",
            remedy="Look who sent it; delete it from the dead-letter queue when it is not ours.",
        )
    return [replace(message, batch=batch_name(number)) for number in range(total)]


def split_mark(batch: str) -> str:
    """Return the mark at a fan-in that two halves will arrive in a batch's place."""
    return f"{batch}=2"


def block_of(batch: str) -> int:
    """Return the block of marks in which a batch, or a part of it, is marked."""
    return int(batch.partition(".")[0]) // ARRIVALS_IN_BLOCK


def has_block(message: Message, marks: Set[str]) -> bool:
    """Whether all batches have come that are marked in the same block as this message's."""
    total, block = message.fact(FileParsed).batches, block_of(message.batch)
    numbers = range(block * ARRIVALS_IN_BLOCK, min(total, (block + 1) * ARRIVALS_IN_BLOCK))
    return all(_has_arrived(batch_name(number), marks) for number in numbers)


def _has_arrived(batch: str, marks: Set[str]) -> bool:
    if batch in marks:
        return True
    return split_mark(batch) in marks and all(_has_arrived(half, marks) for half in halves_of(batch))


def _identity(message: Message) -> str:
    identity = f"{message.run}/{message.service}/{message.batch}/{message.generation}"
    return hashlib.sha256(identity.encode()).hexdigest()
