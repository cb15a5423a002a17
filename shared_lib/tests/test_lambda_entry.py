"""What Lambda calls: each message gets its own answer, and a tick becomes one message, however often it is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

import pytest
from typing_extensions import override

from qualtrics_etl import catalogue, lambda_handler
from qualtrics_etl.catalogue import Kind
from qualtrics_etl.errors import ConfigurationError, RetryableError
from qualtrics_etl.lambda_entry import LambdaHandler
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.engine import sqs_event
from qualtrics_etl.local.objects import MemoryObjects
from qualtrics_etl.local.queues import LocalQueues
from qualtrics_etl.local.run import queue_settings
from qualtrics_etl.local.secrets import FixedSecrets
from qualtrics_etl.messages import Message, Ticked
from qualtrics_etl.ports import Outgoing
from qualtrics_etl.runtime import wiring_on_lambda
from qualtrics_etl.settings import QualtricsSettings, StageConfig
from qualtrics_etl.steps.base import Delivery, Wiring
from qualtrics_etl.steps.outcomes import Ended
from qualtrics_etl.steps.repeatable import RepeatableStep
from qualtrics_etl.workflow import Service, Workflow

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
CONFIG = StageConfig(
    stage="local",
    aws_account_id="000000000000",
    aws_region="eu-west-1",
    alarm_email="on-call@client.example",
    qualtrics=QualtricsSettings(datacenter="fra1", directory_id="POOL_0123456789abcde"),
)


class FailsOnBad(RepeatableStep):
    """A step that fails on a batch named `bad`."""

    kind: ClassVar[Kind] = catalogue.PARSE_FILE

    @override
    def _work(self, message: Message, delivery: Delivery) -> Ended:
        if message.batch == "bad":
            raise RetryableError("bad batch")
        return Ended()


class Context:
    """Lambda's context, with plenty of time."""

    def get_remaining_time_in_millis(self) -> int:
        """Return a minute."""
        return 60_000


class Place:
    """One service, its queue, and the handler that is wired to it."""

    def __init__(self, *, serial: bool = False) -> None:
        service = Service(
            kind="parse_file",
            timeout_seconds=60,
            memory_mb=256,
            concurrency="serial" if serial else 2,
            batch_size=1 if serial else 10,
            max_receive_count=5,
        )
        workflow = Workflow("acme-etl", {"c": ("parse_file",)}, {"parse_file": service}, {"parse_file": ()})
        clock = VirtualClock(NOW)
        self.queues = LocalQueues(queue_settings(workflow), clock)
        self.queue = self.queues.of("parse_file")
        self.handler: LambdaHandler = lambda_handler(FailsOnBad)
        self.handler.wire(
            Wiring(workflow, "parse_file", CONFIG, MemoryObjects(clock), self.queues, FixedSecrets({}), clock)
        )

    def deliver(self, *batches: str) -> list[str]:
        """Send a message a batch and call the handler with all of them; return the batches that it keeps."""
        sent = [
            Outgoing(
                Message("acme-etl", "run-1", "parse_file", batch, datetime(2026, 2, 1, tzinfo=UTC)).encode(),
                deduplication_id=batch if self.queue.fifo else None,
            )
            for batch in batches
        ]
        self.queue.send(sent)
        received = self.queue.receive(max_messages=10)
        answer = self.handler(sqs_event(self.queue.name, received), Context())
        assert answer is not None
        kept = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        return [Message.decode(each.body).batch for each in received if each.message_id in kept]


def test_one_failing_message_stops_no_other() -> None:
    """Of a batch, only what failed is kept by the queue; what is behind it is done."""
    assert Place().deliver("one", "bad", "three") == ["bad"]


def test_in_a_fifo_queue_what_is_behind_a_failure_waits() -> None:
    """Order is what serial means: nothing overtakes the message that failed."""
    assert Place(serial=True).deliver("one", "bad", "three") == ["bad", "three"]


def test_event_without_records_or_source_is_refused() -> None:
    """A function that is called by hand with anything says what it expects."""
    with pytest.raises(ConfigurationError, match="neither of its queue nor of what starts its service"):
        Place().handler({"detail": {}}, Context())


def test_tick_told_twice_is_the_same_message() -> None:
    """EventBridge may call twice for one schedule: run and text come from the scheduled time, not the clock."""
    place = Place()
    for _ in range(2):
        assert place.handler({"source": "aws.events", "time": "2026-01-15T12:00:00Z"}, Context()) is None
    first, second = (Message.decode(each.body) for each in place.queue.messages())
    assert first == second
    assert (first.run, first.context) == (
        "parse_file-20260115T120000Z",
        (Ticked(scheduled_for="2026-01-15T12:00:00+00:00"),),
    )


@pytest.mark.parametrize(
    ("environment", "missing"),
    [({}, "QETL_STAGE"), ({"QETL_STAGE": "dev"}, "QETL_SERVICE")],
)
def test_function_without_its_variables_says_which(
    tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str], missing: str
) -> None:
    """A function that was deployed by hand names the variable that serverless.yml would have set."""
    with pytest.raises(ConfigurationError) as caught:
        wiring_on_lambda(environment, tmp_path_factory.mktemp("root"))
    assert str(caught.value) == (
        f"The function has no environment variable {missing}. It is set by serverless.yml: deploy the repository again."
    )


def test_message_without_its_facts_waits_with_its_cause() -> None:
    """What can't be read is put aside with cause and remedy, and settled for the queue."""
    place = Place()
    place.queue.send([Outgoing("nonsense")])
    event = sqs_event(place.queue.name, place.queue.receive())
    assert place.handler(event, Context()) == {"batchItemFailures": []}
    (letter,) = place.queues.dead_letters_of("parse_file").messages()
    assert letter.body == "nonsense"
    assert letter.attributes["remedy"] == (
        "Look who sent it; delete it from the dead-letter queue when it is not ours."
    )
