"""Moves messages on one machine: does for the handlers what event source mappings and schedules do on AWS.

One thread, one message batch at a time, so that a debugger can follow. Time in which every message is delayed is
skipped instead of waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from qualtrics_etl.channels.http_requests import http_event
from qualtrics_etl.lambda_entry import LambdaHandler
from qualtrics_etl.local.queues import LocalQueue, LocalQueues
from qualtrics_etl.messages import Ticked
from qualtrics_etl.ports import Clock, Received
from qualtrics_etl.workflow import Service, Workflow


class SkippableClock(Clock, Protocol):
    """A clock that can go forward at once."""

    def skip(self, seconds: float) -> None:
        """Go forward by `seconds`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the engine just did.

    Attributes:
        service: Whose function was called.
        settled: Messages it settled.
        waiting: Messages that its queue still holds.
        seconds: How long the call took.
    """

    service: str
    settled: int
    waiting: int
    seconds: float


class Engine:
    """Calls handlers until no message is left.

    Args:
        skip: Called with the seconds that are skipped, so that others (the simulator) can go along.
        observe: Called after each call of a handler.
    """

    def __init__(
        self,
        workflow: Workflow,
        handlers: Mapping[str, LambdaHandler],
        queues: LocalQueues,
        clock: SkippableClock,
        *,
        skip: Callable[[float], None] = lambda seconds: None,
        observe: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._workflow = workflow
        self._handlers = handlers
        self._queues = queues
        self._clock = clock
        self._skip = skip
        self._observe = observe
        self.stop_requested = False

    def tick(self, scheduled_for: datetime) -> None:
        """Start every service that begins a chain by a schedule, as that does."""
        for service in self._workflow.starts():
            if self._workflow.services[service].step.starts_on is not Ticked:
                continue
            event = {"source": "aws.events", "time": scheduled_for.isoformat()}
            self._handlers[service](event, self._context(service))

    def post(self, service: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Give a service a POST, as the HTTP API does; return what it answers."""
        event = http_event("POST", f"/{service}", headers, body)
        return self._handlers[service](event, self._context(service)) or {}

    def run(self) -> bool:
        """Work until nothing is left; return False when a stop was requested before that."""
        while not self.stop_requested:
            if not self._work_once() and not self._skip_to_next() and not self._is_ready():
                return True
        return False

    def _is_ready(self) -> bool:
        """Whether a message became visible while nobody looked: its time came just after its queue was empty."""
        return any(self._queues.of(service).counts().visible for service in self._workflow.services)

    def _work_once(self) -> bool:
        """Give each service what waits for it, the last of the chains first, so that runs come to an end."""
        worked = False
        for service in reversed(list(self._workflow.services)):
            if self.stop_requested:
                break
            settings = self._workflow.services[service]
            queue = self._queues.of(service)
            if received := queue.receive(max_messages=settings.batch_size):
                self._call(service, settings, queue, received)
                worked = True
        return worked

    def _call(self, service: str, settings: Service, queue: LocalQueue, received: list[Received]) -> None:
        began = self._clock.now()
        answer = self._handlers[service](sqs_event(queue.name, received), self._context(service))
        kept = {item["itemIdentifier"] for item in (answer or {}).get("batchItemFailures", [])}
        for message in received:
            if message.message_id not in kept:
                queue.delete(message.receipt)
        seconds = (self._clock.now() - began).total_seconds()
        counts = queue.counts()
        waiting = counts.visible + counts.in_flight + counts.delayed
        self._observe(Progress(service, len(received) - len(kept), waiting, seconds))

    def _context(self, service: str) -> _Context:
        return _Context(self._clock, self._workflow.services[service].timeout_seconds)

    def _skip_to_next(self) -> bool:
        """Go to the time when the next message is due; False when there is none."""
        due = self._queues.next_due_at()
        if due is None:
            return False
        seconds = (due - self._clock.now()).total_seconds()
        if seconds > 0:
            self._clock.skip(seconds)
            self._skip(seconds)
        return True


class _Context:
    """Lambda's context object, as far as it is used."""

    def __init__(self, clock: Clock, timeout_seconds: int) -> None:
        self._clock = clock
        self._began = clock.now()
        self._timeout_seconds = timeout_seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds left."""
        used = (self._clock.now() - self._began).total_seconds()
        return max(0, round((self._timeout_seconds - used) * 1000))


def sqs_event(queue_name: str, received: list[Received]) -> dict[str, Any]:
    """Return the event that Lambda gets for messages of a queue.

    Source: AWS Lambda developer guide, using Lambda with Amazon SQS (the example event).
    """
    return {"Records": list(_records(queue_name, received))}


def _records(queue_name: str, received: list[Received]) -> Iterator[dict[str, Any]]:
    for message in received:
        yield {
            "messageId": message.message_id,
            "receiptHandle": message.receipt,
            "body": message.body,
            "attributes": {"ApproximateReceiveCount": str(message.receive_count)},
            "messageAttributes": {
                name: {"stringValue": value, "dataType": "String"} for name, value in message.attributes.items()
            },
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:eu-west-1:000000000000:{queue_name}",
        }
