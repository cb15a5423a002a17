"""What waits in the dead-letter queues of a run on one machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.local.queues import LocalQueues
from qualtrics_etl.messages import FileFetched, Message
from qualtrics_etl.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits in a dead-letter queue.

    Attributes:
        service: Whose.
        about: Which run and file it belongs to; empty for what can't be read.
        cause: Why.
        remedy: What to do.
    """

    service: str
    about: str
    cause: str
    remedy: str


def dead_letters(workflow: Workflow, queues: LocalQueues) -> Iterator[Waiting]:
    """Yield what waits in the dead-letter queues."""
    for service in workflow.services:
        for message in queues.dead_letters_of(service).messages():
            attributes = message.attributes
            cause = attributes.get("cause", "It was received too often; the function's log says why.")
            yield Waiting(service, _about(message.body), cause, attributes.get("remedy", ""))


def _about(body: str) -> str:
    try:
        message = Message.decode(body)
    except PermanentError:
        return ""
    file = f", file {message.fact(FileFetched).name}" if message.has(FileFetched) else ""
    return f"run {message.run}{file}"
