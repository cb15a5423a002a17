"""Dead letters go back to their service's queue: none is lost, none goes round for ever, and FIFO drops none."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from qualtrics_etl.aws.access import StageAccess
from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.queues import MESSAGE_GROUP
from qualtrics_etl.aws.redrive import DeadLetters, by_cause, dead_letters_of
from qualtrics_etl.errors import ConfigurationError, RetryableError
from qualtrics_etl.messages import Message
from qualtrics_etl.status import DeadLetter, Letters

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

SERVICE = "import_contacts"
ACCOUNT = "123456789012"


@dataclass
class Pair:
    """A service's two queues, and the stage that they are of."""

    access: StageAccess
    sqs: SQSClient
    own: str
    dead: str
    fifo: bool

    def put(self, batch: str, **attributes: str) -> None:
        """Put a letter into the dead-letter queue, as a step does."""
        message = Message("acme-etl", "acme-etl-0123456789ab", SERVICE, batch, datetime.now(UTC) + timedelta(days=9))
        self.put_body(message.encode(), **attributes)

    def put_body(self, body: str, **attributes: str) -> None:
        """Put any body into the dead-letter queue."""
        group = {"MessageGroupId": MESSAGE_GROUP, "MessageDeduplicationId": uuid.uuid4().hex} if self.fifo else {}
        texts = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        self.sqs.send_message(QueueUrl=self.dead, MessageBody=body, MessageAttributes=texts, **group)

    def letters(self) -> DeadLetters:
        """Return the dead letters as the command sees them."""
        return DeadLetters(self.access, SERVICE)

    def take(self, url: str) -> list[tuple[str, dict[str, str]]]:
        """Take everything that can be seen in a queue: batches (or bodies) and attributes."""
        found = []
        while True:
            answer = self.sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=0
            ).get("Messages", [])
            if not answer:
                return found
            for raw in answer:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=raw["ReceiptHandle"])
                attributes = {name: value["StringValue"] for name, value in raw.get("MessageAttributes", {}).items()}
                found.append((batch_of(raw["Body"]), attributes))


def batch_of(body: str) -> str:
    """Return a message's batch, or the body of what is none of ours."""
    return str(json.loads(body)["batch"]) if body.startswith("{") else body


@pytest.fixture(params=["standard", "fifo"])
def pair(request: pytest.FixtureRequest, emulator) -> Iterator[Pair]:
    """The queues of one service on the emulator, with the parameters that Terraform hands over."""
    aws = AwsAccess("eu-west-1", emulator.url, (ACCOUNT, "test"))
    access = StageAccess(f"acme-{uuid.uuid4().hex[:8]}", "dev", ACCOUNT, aws)
    fifo, sqs, ssm = request.param == "fifo", aws.client("sqs"), aws.client("ssm")
    kind = {"Attributes": {"FifoQueue": "true"}} if fifo else {}
    suffix = ".fifo" if fifo else ""
    urls = [
        sqs.create_queue(QueueName=f"{access.slug}-{name}{suffix}", **kind)["QueueUrl"] for name in ("own", "own-dlq")
    ]
    handed = {"queue_urls": json.dumps({SERVICE: urls[0], "other": "elsewhere"}), "dead_letter_queue_url": urls[1]}
    for name, value in handed.items():
        ssm.put_parameter(Name=f"{access.parameters}/{SERVICE}/{name}", Value=value, Type="String")
    yield Pair(access, sqs, *urls, fifo)
    for url in urls:
        sqs.delete_queue(QueueUrl=url)


def test_every_letter_goes_back_as_it_was(pair: Pair) -> None:
    """All letters reach the service's own queue, once each, with the attributes by which a step knows them."""
    for number in range(25):
        pair.put(str(number), cause="Qualtrics said 500.", error="RetryableError", remedy="Wait.")
    outcome = pair.letters().send_back()
    sent = pair.take(pair.own)
    assert (outcome.sent, outcome.unknown, outcome.came_back) == (25, 0, 0)
    assert sorted(int(batch) for batch, _ in sent) == list(range(25))
    assert {tuple(sorted(attributes.items())) for _, attributes in sent} == {
        (("cause", "Qualtrics said 500."), ("error", "RetryableError"), ("remedy", "Wait."))
    }
    assert pair.take(pair.dead) == []


@pytest.mark.parametrize("pair", ["fifo"], indirect=True)
def test_serial_queue_keeps_its_order(pair: Pair) -> None:
    """Letters of a serial service are worked on in the order in which they were put aside."""
    for number in range(12):
        pair.put(str(number), cause="x")
    pair.letters().send_back()
    assert [batch for batch, _ in pair.take(pair.own)] == [str(number) for number in range(12)]


def test_looking_takes_nothing(pair: Pair) -> None:
    """After a look every letter is there and can be seen at once; it tells run, batch, error, cause and remedy."""
    for number in range(3):
        pair.put(str(number), cause=f"cause {number // 2}", error="PermanentError", remedy="Mend it.")
    causes = by_cause(pair.letters().look())
    assert [(each.first.cause, each.first.remedy, each.runs) for each in causes] == [
        ("cause 0", "Mend it.", {"acme-etl-0123456789ab": ["0", "1"]}),
        ("cause 1", "Mend it.", {"acme-etl-0123456789ab": ["2"]}),
    ]
    assert abs(datetime.now(UTC) - causes[0].since) < timedelta(minutes=5)
    assert len(pair.take(pair.dead)) == 3


def test_unknown_outcomes_wait_for_a_person(pair: Pair) -> None:
    """A letter of which nobody knows what Qualtrics did is only sent when that is asked for."""
    pair.put("1", cause="x", error="OutcomeUnknownError")
    pair.put("2", cause="x", error="PermanentError")
    first = pair.letters().send_back()
    assert (first.sent, first.unknown) == (1, 1)
    assert [batch for batch, _ in pair.take(pair.own)] == ["2"]
    assert pair.letters().send_back(outcome_unknown=True).sent == 1
    assert [batch for batch, _ in pair.take(pair.own)] == ["1"]


@pytest.mark.parametrize("pair", ["standard"], indirect=True)
def test_many_unknown_outcomes_hide_no_other_letter(pair: Pair) -> None:
    """Letters that are left do not keep the other ones from going back."""
    for number in range(30):
        pair.put(str(number), cause="x", error="OutcomeUnknownError" if number % 2 else "PermanentError")
    outcome = pair.letters().send_back()
    assert (outcome.sent, outcome.unknown) == (15, 15)
    assert (len(pair.take(pair.own)), len(pair.take(pair.dead))) == (15, 15)


@pytest.mark.parametrize("pair", ["fifo"], indirect=True)
def test_unknown_outcomes_at_the_head_let_the_next_ones_pass(pair: Pair) -> None:
    """In a FIFO queue, letters that are left at its head do not keep those behind from going back."""
    for number in range(12):
        pair.put(str(number), cause="x", error="OutcomeUnknownError" if number < 9 else "PermanentError")
    outcome = pair.letters().send_back()
    assert (outcome.sent, outcome.unknown) == (3, 9)
    assert [batch for batch, _ in pair.take(pair.own)] == ["9", "10", "11"]


def test_limit_sends_so_many(pair: Pair) -> None:
    """With a limit so many are sent, and the others can be seen at once."""
    for number in range(5):
        pair.put(str(number), cause="x")
    assert pair.letters().send_back(limit=2).sent == 2
    assert (len(pair.take(pair.own)), len(pair.take(pair.dead))) == (2, 3)


def test_letter_that_comes_back_is_left(pair: Pair) -> None:
    """While the cause is still there, letters come back at once; each is sent once, and the command ends."""
    for number in range(4):
        pair.put(str(number), cause="x")
    back: list[str] = []

    def come_back() -> None:
        for batch, attributes in pair.take(pair.own):
            back.append(batch)
            pair.put(batch, **attributes)

    outcome = pair.letters().send_back(on_sent=come_back)
    assert (outcome.sent, sorted(back)) == (4, ["0", "1", "2", "3"])
    assert outcome.came_back > 0
    assert sorted(batch for batch, _ in pair.take(pair.dead)) == ["0", "1", "2", "3"]


def test_same_letter_twice_within_minutes_is_not_swallowed(pair: Pair) -> None:
    """A letter that was sent back, failed and was sent back again reaches the queue both times."""
    pair.put("1", cause="x")
    for _ in range(2):
        assert pair.letters().send_back().sent == 1
        ((batch, attributes),) = pair.take(pair.own)
        pair.put(batch, **attributes)
    assert len(pair.take(pair.dead)) == 1


def test_stopping_loses_nothing(pair: Pair) -> None:
    """Wherever it is stopped between two letters, each letter is in exactly one queue, and can be seen at once."""
    for number in range(12):
        pair.put(str(number), cause="x")
    sent: list[None] = []
    outcome = pair.letters().send_back(stopped=lambda: len(sent) >= 5, on_sent=lambda: sent.append(None))
    assert outcome.sent == 5
    batches = [batch for url in (pair.own, pair.dead) for batch, _ in pair.take(url)]
    assert Counter(batches) == Counter(map(str, range(12)))


@pytest.mark.parametrize("operation", ["SendMessage", "DeleteMessage"])
@pytest.mark.parametrize("when", ["before-call", "after-call"])
def test_breaking_off_anywhere_loses_nothing(pair: Pair, operation: str, when: str) -> None:
    """Cut off around any call, a letter is in one of the queues at least: sending comes before deleting."""
    for number in range(4):
        pair.put(str(number), cause="x")
    letters = pair.letters()
    calls: list[None] = []

    def cut(**_: object) -> None:
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt

    letters._client.meta.events.register(f"{when}.sqs.{operation}", cut)
    with pytest.raises(KeyboardInterrupt):
        letters.send_back()
    found = Counter(batch for url in (pair.own, pair.dead) for batch, _ in pair.take(url))
    assert found.keys() == {"0", "1", "2", "3"}
    assert sum(found.values()) <= 5


def test_letters_that_cannot_be_read_go_back_too(pair: Pair) -> None:
    """A body that is none of ours, moved by the queue itself, has no cause; it is shown and sent like the others."""
    pair.put_body("not ours")
    (letter,) = pair.letters().look()
    assert (letter.run, letter.error, letter.cause) == ("", "", "")
    assert pair.letters().send_back().sent == 1
    assert pair.take(pair.own) == [("not ours", {})]


def test_stage_that_was_not_deployed_is_named_with_the_command(emulator) -> None:
    """Without Terraform's parameters the error says so, and which command mends it."""
    aws = AwsAccess("eu-west-1", emulator.url, (ACCOUNT, "test"))
    with pytest.raises(ConfigurationError) as caught:
        DeadLetters(StageAccess("never-etl", "dev", ACCOUNT, aws), SERVICE)
    assert str(caught.value) == (
        "There is no parameter /never-etl/dev/import_contacts/queue_urls in account 123456789012, eu-west-1: stage dev"
        " was not deployed, or not to its end. Deploy it: `make deploy STAGE=dev`."
    )


def test_an_aws_that_fails_is_an_error_of_ours() -> None:
    """When AWS can't be reached, the error names what was asked."""
    aws = AwsAccess("eu-west-1", "http://127.0.0.1:9", (ACCOUNT, "test"))
    with pytest.raises(RetryableError, match="Reading the stage's parameters"):
        DeadLetters(StageAccess("acme-etl", "dev", ACCOUNT, aws), SERVICE)


def test_letters_of_several_services_are_looked_at_together(pair: Pair) -> None:
    """What stands in all dead-letter queues is read at once, an empty one is not waited for, and nothing is taken."""
    pair.put("1", cause="It failed.", error="PermanentError", remedy="Mend it.")
    for name in ("queue_urls", "dead_letter_queue_url"):
        value = json.dumps({"idle": pair.own}) if name == "queue_urls" else pair.own
        pair.access.aws.client("ssm").put_parameter(
            Name=f"{pair.access.parameters}/idle/{name}", Value=value, Type="String"
        )
    letter = DeadLetter(SERVICE, "acme-etl-0123456789ab", "1", "PermanentError", "It failed.", "Mend it.")
    assert dead_letters_of(pair.access, [SERVICE, "idle"]) == Letters((letter,))
    assert len(pair.take(pair.dead)) == 1
    assert pair.access.queues([SERVICE]).of(SERVICE).name == pair.own.rpartition("/")[2]
