"""Queues on SQS."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from qualtrics_etl.aws.clients import sqs_client
from qualtrics_etl.aws.failures import aws_failures, error_code
from qualtrics_etl.errors import ConfigurationError, PermanentError, RetryableError
from qualtrics_etl.ports import Outgoing, Queue, QueueCounts, Queues, Received

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        BatchResultErrorEntryTypeDef,
        MessageTypeDef,
        SendMessageBatchRequestEntryTypeDef,
    )

BATCH_MESSAGES = 10
BATCH_BYTES = 1_048_576
"""Source: Amazon SQS API reference, SendMessageBatch (ten entries, and 1 MiB together)."""

RESEND_WAIT_SECONDS = (0.1, 0.3, 0.9)
"""Waits before entries that were not taken are sent again, each multiplied by 0.5 to 1.5; below two seconds in all."""

MESSAGE_GROUP = "all"
"""The one message group of a FIFO queue: a serial service works on one message at a time."""


class SqsQueue(Queue):
    """One queue.

    Args:
        url: Its URL.
        client: Another client than the process's own, for tests.
        sleep: How to wait before entries that were not taken are sent again, in seconds.
    """

    def __init__(
        self, url: str, client: SQSClient | None = None, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._url = url
        self._given = client
        self._sleep = sleep

    @property
    def _client(self) -> SQSClient:
        return self._given or sqs_client()

    @property
    @override
    def name(self) -> str:
        return self._url.rpartition("/")[2]

    @property
    @override
    def fifo(self) -> bool:
        return self._url.endswith(".fifo")

    @override
    def send(self, messages: Sequence[Outgoing]) -> None:
        """Send in batches of ten and 1 MiB; what SQS does not take is sent again a few times.

        On a FIFO queue such an entry ends up behind the others of its batch.

        Raises:
            RetryableError: One or more were not taken; others may have been.
            PermanentError: SQS refuses one or more as they are; others may have been taken.
        """
        for batch in _batches(messages):
            self._send_batch([self._entry(index, message) for index, message in enumerate(batch)])

    @override
    def receive(self, *, max_messages: int = 10, wait_seconds: int = 0) -> list[Received]:
        with aws_failures(f"Receiving from {self.name}"):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=max_messages,
                WaitTimeSeconds=wait_seconds,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        return [_received(message) for message in answer.get("Messages", [])]

    @override
    def delete(self, receipt: str) -> None:
        """Acknowledge a delivery.

        On a standard queue an old receipt is accepted and deletes nothing; on a FIFO queue it is refused once its
        time-out is over.

        Raises:
            RetryableError: The delivery is over, and the message comes again.
        """
        client = self._client
        with aws_failures(f"Deleting from {self.name}"):
            try:
                client.delete_message(QueueUrl=self._url, ReceiptHandle=receipt)
            except client.exceptions.ClientError as exc:
                if error_code(exc) == "InvalidParameterValue":  # SQS's code for an expired receipt, FIFO only
                    raise self._over() from exc
                raise

    @override
    def change_visibility(self, receipt: str, seconds: int) -> None:
        """Make a delivery visible again after `seconds`.

        Raises:
            RetryableError: The delivery is over: deleted, visible again, or out to somebody else.
            PermanentError: `seconds` is out of range, or would keep the message longer than 12 hours in all.
        """
        client = self._client
        with aws_failures(f"Changing the visibility of a message in {self.name}"):
            try:
                client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=seconds)
            except client.exceptions.ClientError as exc:
                # The same code stands for a number out of range; only the text tells which one it is.
                if error_code(exc) == "InvalidParameterValue" and "ReceiptHandle" in str(exc):
                    raise self._over() from exc
                raise

    @override
    def counts(self) -> QueueCounts:
        with aws_failures(f"Counting the messages in {self.name}"):
            found = self._client.get_queue_attributes(
                QueueUrl=self._url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )["Attributes"]
        return QueueCounts(
            visible=int(found["ApproximateNumberOfMessages"]),
            in_flight=int(found["ApproximateNumberOfMessagesNotVisible"]),
            delayed=int(found["ApproximateNumberOfMessagesDelayed"]),
        )

    def _send_batch(self, entries: list[SendMessageBatchRequestEntryTypeDef]) -> None:
        failed: list[BatchResultErrorEntryTypeDef] = []
        for wait in (0.0, *RESEND_WAIT_SECONDS):
            if failed:
                self._sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            with aws_failures(f"Sending to {self.name}"):
                failed = self._client.send_message_batch(QueueUrl=self._url, Entries=entries).get("Failed", [])
            self._raise_for_refused(failed)
            if not failed:
                return
            again = {entry["Id"] for entry in failed}
            entries = [entry for entry in entries if entry["Id"] in again]
        raise RetryableError(f"{self.name} did not take {len(failed)} messages: {_reason(failed[0])}.", call_made=False)

    def _raise_for_refused(self, failed: Sequence[BatchResultErrorEntryTypeDef]) -> None:
        refused = [entry for entry in failed if entry["SenderFault"]]
        if refused:
            raise PermanentError(
                f"{self.name} refused {len(refused)} messages: {_reason(refused[0])}.",
                remedy="Correct the step that makes the message.",
            )

    def _entry(self, index: int, message: Outgoing) -> SendMessageBatchRequestEntryTypeDef:
        entry: SendMessageBatchRequestEntryTypeDef = {
            "Id": str(index),
            "MessageBody": message.body,
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in message.attributes.items()
            },
        }
        if message.delay_seconds:
            entry["DelaySeconds"] = message.delay_seconds
        if self.fifo:
            entry["MessageGroupId"] = MESSAGE_GROUP
            if message.deduplication_id is not None:
                entry["MessageDeduplicationId"] = message.deduplication_id
        return entry

    def _over(self) -> RetryableError:
        return RetryableError(f"The delivery from {self.name} is over: its visibility time-out has passed.")


class SqsQueues(Queues):
    """The queues that a function knows.

    Args:
        urls: Service to the URL of its own queue.
        dead_letter_urls: Service to the URL of its dead-letter queue.
        client: Another client than the process's own, for tests.
    """

    def __init__(
        self, urls: Mapping[str, str], dead_letter_urls: Mapping[str, str], client: SQSClient | None = None
    ) -> None:
        self._queues = {service: SqsQueue(url, client) for service, url in urls.items()}
        self._dead_letters = {service: SqsQueue(url, client) for service, url in dead_letter_urls.items()}

    @override
    def of(self, service: str) -> SqsQueue:
        return _of(self._queues, service, "queue")

    @override
    def dead_letters_of(self, service: str) -> SqsQueue:
        return _of(self._dead_letters, service, "dead-letter queue")


def _batches(messages: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Cut into batches that SQS takes; a message that is too long by itself stands alone, and SQS will say so."""
    batch: list[Outgoing] = []
    held = 0
    for message in messages:
        size = _size(message)
        if batch and (len(batch) == BATCH_MESSAGES or held + size > BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(message)
        held += size
    if batch:
        yield batch


def _size(message: Outgoing) -> int:
    """Count as SQS does: the body, and the name, type and value of each attribute.

    Raises:
        PermanentError: Half of a surrogate pair, which no encoding can carry and boto3 trips over.
    """
    attributes = [f"{name}String{value}" for name, value in message.attributes.items()]
    try:
        return sum(len(text.encode()) for text in (message.body, *attributes))
    except UnicodeEncodeError as exc:
        raise PermanentError(
            "A message holds characters outside the set that SQS allows.",
            remedy="Correct the step that makes the message.",
        ) from exc


def _received(message: MessageTypeDef) -> Received:
    attributes = message.get("MessageAttributes", {})
    return Received(
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        attributes={name: value["StringValue"] for name, value in attributes.items() if "StringValue" in value},
        receive_count=int(message["Attributes"]["ApproximateReceiveCount"]),
    )


def _reason(entry: BatchResultErrorEntryTypeDef) -> str:
    return f"{entry['Code']}, {entry.get('Message', '').rstrip('.')}"


def _of(queues: Mapping[str, SqsQueue], service: str, what: str) -> SqsQueue:
    if service not in queues:
        raise ConfigurationError(
            f"This function knows no {what} of the service {service}.",
            remedy="Run `make check`, then deploy: the function's environment names the queues it may send to.",
        )
    return queues[service]
