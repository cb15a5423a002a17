"""How what is recorded leaves: as one message, as one a batch (fan-out), or as a mark at a fan-in.

Everything here may be repeated: messages have identities, and what is sent twice falls to the next service's claim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.ledger import How, Output
from qualtrics_etl.messages import FileParsed, Message
from qualtrics_etl.outputs import ARRIVALS_IN_BLOCK, block_of, each_batch_of, fan_in_of, has_block, split_mark
from qualtrics_etl.ports import ObjectStore, Outgoing, Queues
from qualtrics_etl.workflow import Workflow


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


def _identity(message: Message) -> str:
    identity = f"{message.run}/{message.service}/{message.batch}/{message.generation}"
    return hashlib.sha256(identity.encode()).hexdigest()
