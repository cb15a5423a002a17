"""What stands between functions and the emulator: calls go wrong as the plan says, and time runs as it is told."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from typing_extensions import override

from qualtrics_etl.aws.clients import make_config
from qualtrics_etl.aws.objects import S3Objects
from qualtrics_etl.aws.queues import SqsQueue
from qualtrics_etl.errors import PreconditionFailedError, RetryableError
from qualtrics_etl.local.place import Place
from qualtrics_etl.ports import Outgoing
from qualtrics_etl.testing.chaos_plan import MISHAPS, SENT_TWICE, AwsCall, ChaosPlan, Mishap
from qualtrics_etl.testing.chaos_proxy import ChaosProxy, StoreClock

REGION = "eu-west-1"
SPEED, AHEAD = 10.0, 300.0


@dataclass(frozen=True, slots=True)
class Told(ChaosPlan):
    """A plan that says what it was told, by operation."""

    mishaps: dict[str, str] = field(default_factory=dict)
    twice: bool = False

    @override
    def mishap(self, call: AwsCall) -> Mishap | None:
        kind = self.mishaps.get(call.operation)
        return next((each for each in MISHAPS if each.kind == kind and call.number == 1), None)

    @override
    def is_sent_twice(self, call: AwsCall) -> bool:
        return self.twice and call.operation == "SendMessageBatch"


@dataclass
class Behind:
    """Clients of the emulator: through the proxy, and past it."""

    proxy: ChaosProxy
    through: dict[str, Any]
    past: dict[str, Any]

    def __post_init__(self) -> None:
        name = uuid.uuid4().hex
        self.past["s3"].create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.queue_url = self.past["sqs"].create_queue(QueueName=name)["QueueUrl"]
        self.objects = S3Objects(name, self.through["s3"])
        self.really = S3Objects(name, self.past["s3"])
        self.queue = SqsQueue(self.queue_url, self.through["sqs"])

    def counts(self) -> dict[str, int]:
        """Return the queue's depths as they really are."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
        found = self.past["sqs"].get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)
        return {name.removeprefix("ApproximateNumberOf"): int(count) for name, count in found["Attributes"].items()}


@pytest.fixture
def behind(emulator: Any, request: pytest.FixtureRequest) -> Iterator[Behind]:
    """A proxy with the test's plan."""
    from boto3.session import Session

    session = Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    place = Place(emulator.process_id, REGION, emulator.url, "", "", 0, "")
    proxy = ChaosProxy(place, request.param, StoreClock(time.time(), AHEAD, SPEED))
    with proxy.serve(["import_contacts"]) as addresses:
        config = make_config(10)
        yield Behind(
            proxy,
            *(
                {name: session.client(name, endpoint_url=url, config=config) for name in ("s3", "sqs")}
                for url in (addresses["import_contacts"], emulator.url)
            ),
        )


@pytest.mark.parametrize("behind", [Told(0)], indirect=True)
def test_store_clock_is_ahead_and_fast(behind: Behind) -> None:
    """An answer's date and an object's time are the fast clock's, and an object is never younger than its answer."""
    written = behind.objects.put("a", b"1").written_at
    time.sleep(1.2)
    found = behind.objects.get("a")
    assert found is not None
    assert (written.timestamp() - time.time()) > AHEAD - 10
    assert 10 <= (found.read_at - written).total_seconds() < 60
    assert written.timestamp() - 2 * SPEED <= found.last_modified.timestamp() <= found.read_at.timestamp()
    assert behind.proxy.log.injected == []


@pytest.mark.parametrize(
    "behind",
    [
        Told(0, mishaps={"PutObject": kind})
        for kind in (
            "error", "error after the effect", "throttled", "cut before the effect", "cut after the effect",
            "half an answer",
        )
    ],
    indirect=True,
)  # fmt: skip
def test_what_hits_one_try_is_mended_by_the_next(behind: Behind) -> None:
    """One fault is injected and counted, and the object is there."""
    behind.objects.put("a", b"1")
    found = behind.really.get("a")
    assert found is not None
    assert found.body == b"1"
    assert behind.proxy.log.counts().total() == 1
    assert behind.proxy.log.calls == 1


@pytest.mark.parametrize("behind", [Told(0, mishaps={"PutObject": "error at each attempt"})], indirect=True)
def test_error_at_each_attempt_reaches_the_caller_without_effect(behind: Behind) -> None:
    """All tries fail, nothing is there; the next call works."""
    with pytest.raises(RetryableError):
        behind.objects.put("a", b"1")
    assert behind.really.get("a") is None
    behind.objects.put("a", b"2")
    assert behind.proxy.log.counts() == Counter({"s3: error at each attempt": 1})


@pytest.mark.parametrize("behind", [Told(0, mishaps={"PutObject": "effect, and error at each attempt"})], indirect=True)
def test_put_with_a_condition_whose_answer_never_comes_has_been_made(behind: Behind) -> None:
    """The caller hears of errors alone; the object is there, and a second such put is refused."""
    with pytest.raises(RetryableError):
        behind.objects.put("a", b"1", if_none_match=True)
    assert behind.really.get("a") is not None
    with pytest.raises(PreconditionFailedError):
        behind.objects.put("a", b"2", if_none_match=True)


@pytest.mark.parametrize("behind", [Told(0, twice=True)], indirect=True)
def test_messages_are_sent_twice(behind: Behind) -> None:
    """The queue holds each message two times."""
    behind.queue.send([Outgoing("one"), Outgoing("two")])
    assert behind.counts() == {"Messages": 4, "MessagesDelayed": 0}
    assert behind.proxy.log.counts() == Counter({f"sqs: {SENT_TWICE}": 1})


@pytest.mark.parametrize("behind", [Told(0)], indirect=True)
def test_delays_pass_as_fast_as_the_clock(behind: Behind) -> None:
    """A delay of 20 seconds is one of 2, by a request that was signed anew: the message comes long before its time."""
    behind.queue.send([Outgoing(json.dumps({"n": 1}), delay_seconds=20)])
    assert behind.counts() == {"Messages": 0, "MessagesDelayed": 1}
    give_up_at = time.monotonic() + 15
    while behind.counts()["Messages"] == 0 and time.monotonic() < give_up_at:
        time.sleep(0.1)
    (received,) = behind.queue.receive()
    assert json.loads(received.body) == {"n": 1}


@pytest.mark.parametrize("behind", [Told(0, mishaps={"PutObject": "worker killed before the call"})], indirect=True)
def test_only_workers_of_the_place_are_killed(behind: Behind) -> None:
    """A caller that is no process of the emulator lives on: it sees a cut connection, and tries again."""
    behind.objects.put("a", b"1")
    assert behind.really.get("a") is not None
    assert behind.proxy.log.killed == {}
