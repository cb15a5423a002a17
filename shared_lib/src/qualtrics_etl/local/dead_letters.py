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
        run, batch: Of its message; empty for what can't be read.
        error: Class of the error; empty where the queue itself gave the message up.
    """

    service: str
    about: str
    cause: str
    remedy: str
    run: str = ""
    batch: str = ""
    error: str = ""


def dead_letters(workflow: Workflow, queues: LocalQueues) -> Iterator[Waiting]:
    """Yield what waits in the dead-letter queues."""
    for service in workflow.services:
        for held in queues.dead_letters_of(service).messages():
            told, message = held.attributes, _read(held.body)
            yield Waiting(
                service,
                about=_about(message) if message else "",
                cause=told.get("cause", "It was received too often; the function's log says why."),
                remedy=told.get("remedy", ""),
                run=message.run if message else "",
                batch=message.batch if message else "",
                error=told.get("error", ""),
            )


def _read(body: str) -> Message | None:
    try:
        return Message.decode(body)
    except PermanentError:
        return None


def _about(message: Message) -> str:
    file = f", file {message.fact(FileFetched).name}" if message.has(FileFetched) else ""
    return f"run {message.run}{file}"
