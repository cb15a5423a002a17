"""What AWS Lambda calls: a batch of queue messages, a schedule's tick, or a client's POST, becomes calls of one step.

handler = lambda_handler(ImportCrmContacts)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from qualtrics_etl.channels.http_requests import is_http_request
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.json_log import log_where_lambda_does_not
from qualtrics_etl.messages import MESSAGE_LIFETIME, FilePosted, Ticked
from qualtrics_etl.ports import Received
from qualtrics_etl.runtime import wiring_on_lambda
from qualtrics_etl.steps.base import Delivery, Step, Wiring
from qualtrics_etl.steps.fetch_sftp_file import tick_run


class LambdaContext(Protocol):
    """What is used of the context object that Lambda hands over."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds left until the function is stopped."""


class LambdaHandler:
    """A step as a Lambda function; wired at its first call, and kept for the next ones."""

    def __init__(self, step: type[Step]) -> None:
        self.step = step
        self._running: Step | None = None

    def wire(self, wiring: Wiring) -> None:
        """Wire the step otherwise than from the function's environment: on a developer's machine, in a test."""
        self._running = self.step(wiring)

    def __call__(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any] | None:
        """Work on an event.

        Returns:
            For messages of a queue, which of them are not settled (`batchItemFailures`); for a POST, what the HTTP API
            answers; None for a tick.

        Raises:
            ConfigurationError: The function can't be wired, or the event is none of ours.
            PermanentError: A POST can't be taken for a reason that no repeat mends.
        """
        if self._running is None:
            log_where_lambda_does_not(os.environ)
            root = Path(os.environ.get("LAMBDA_TASK_ROOT", "."))
            self.wire(wiring_on_lambda(os.environ, root))
        assert self._running is not None
        if records := _records_of(event):
            return _work_through(self._running, records, context)
        if self._running.kind.starts_on is FilePosted:
            if is_http_request(event):
                return _answer(self._running, event)
        elif scheduled_for := _scheduled_time_of(event):
            _tick(self._running, scheduled_for)
            return None
        raise ConfigurationError(
            "The function was called with an event that is neither of its queue nor of what starts its service.",
            remedy="See the events in services/<service>/function.yml.",
        )


def lambda_handler(step: type[Step]) -> LambdaHandler:
    """Make the function that runs a step: the last line of every service's handler.py."""
    return LambdaHandler(step)


def _work_through(step: Step, records: list[dict[str, Any]], context: LambdaContext) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": failed} for failed in _failures(step, records, context)]}


def _failures(step: Step, records: list[dict[str, Any]], context: LambdaContext) -> Iterator[str]:
    """Work on each message; yield the ids of those that the queue must keep.

    A failing message stops no other, but in a FIFO queue: there what comes behind it must wait for it.
    """
    blocked = False
    for record in records:
        delivery = Delivery(_received(record), _seconds_left(context))
        if blocked or not step.handle(delivery):
            blocked = record["eventSourceARN"].endswith(".fifo")
            yield record["messageId"]


def _seconds_left(context: LambdaContext) -> Callable[[], float]:
    return lambda: context.get_remaining_time_in_millis() / 1000


def _received(record: Mapping[str, Any]) -> Received:
    attributes = record.get("messageAttributes") or {}
    return Received(
        message_id=record["messageId"],
        receipt=record["receiptHandle"],
        body=record["body"],
        attributes={name: value["stringValue"] for name, value in attributes.items() if "stringValue" in value},
        receive_count=int(record["attributes"]["ApproximateReceiveCount"]),
    )


def _records_of(event: object) -> list[dict[str, Any]]:
    """Return the messages of a queue that an event holds; none where it is an event of something else."""
    records = event.get("Records") if isinstance(event, Mapping) else None
    return records if isinstance(records, list) and all(map(_is_of_a_queue, records)) else []


def _is_of_a_queue(record: object) -> bool:
    """Whether a record is a message of a queue: storage and topics call a function with records too."""
    if not isinstance(record, Mapping) or record.get("eventSource") != "aws:sqs":
        return False
    attributes = record.get("attributes")
    count = attributes.get("ApproximateReceiveCount") if isinstance(attributes, Mapping) else None
    texts = ("messageId", "receiptHandle", "body", "eventSourceARN")
    return isinstance(count, str) and count.isdecimal() and all(isinstance(record.get(name), str) for name in texts)


def _scheduled_time_of(event: object) -> datetime | None:
    """Return the time of a schedule's event; None where it is another event, or its time is none."""
    if not isinstance(event, Mapping) or event.get("source") != "aws.events":
        return None
    try:
        time = datetime.fromisoformat(event["time"])
        return time.astimezone(UTC) if time.tzinfo else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _answer(step: Step, event: Mapping[str, Any]) -> dict[str, Any]:
    from qualtrics_etl.steps.receive_post import ReceivePost

    assert isinstance(step, ReceivePost)
    return step.answer(event)


def _tick(step: Step, scheduled_for: datetime) -> None:
    """Begin a look for input. Its run is named after the scheduled time, so that a tick told twice is one tick."""
    started = Ticked(scheduled_for.isoformat(timespec="seconds"))
    step.start(tick_run(step.service, scheduled_for), started, scheduled_for + MESSAGE_LIFETIME)
