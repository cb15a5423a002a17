"""What the AWS adapters make of answers that no imitation gives: conflicts, throttling, lost and broken connections."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from urllib3.exceptions import ProtocolError

from qualtrics_etl.aws.failures import translate
from qualtrics_etl.aws.objects import CONFLICT_WAIT_SECONDS, PART_BYTES, S3Objects
from qualtrics_etl.aws.queues import SqsQueue
from qualtrics_etl.errors import (
    ConfigurationError,
    InputError,
    PermanentError,
    PreconditionFailedError,
    QualtricsEtlError,
    RetryableError,
)
from qualtrics_etl.ports import Outgoing

if TYPE_CHECKING:
    from boto3.session import Session
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

NOW = "Sun, 01 Mar 2026 08:00:00 GMT"


@dataclass(frozen=True)
class Answer:
    """What the server says next; `cut_after` closes the connection after so many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None


@dataclass(frozen=True)
class Request:
    """What the server was asked; `wanted` is the version and the range, as far as they were named."""

    action: str
    wanted: tuple[str | None, str | None]
    body: bytes


@dataclass
class ScriptedAws:
    """A server that gives the answers it was told, in order, and keeps the requests."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def asked(self) -> list[str]:
        return [request.action for request in self.requests]


@pytest.fixture
def aws() -> Iterator[ScriptedAws]:
    """A server that says what the test told it to."""
    script = ScriptedAws()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # or botocore would wait a second for a 100 Continue

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            wanted = self.headers.get("If-Match"), self.headers.get("Range")
            script.requests.append(Request(f"{self.command} {self.path}", wanted, self.rfile.read(length)))
            said = script.answers.pop(0)
            self.close_connection = True
            if said.status:
                self.send_response_only(said.status)
                for name, value in {
                    "Date": NOW,
                    "Connection": "close",
                    "Content-Length": str(len(said.body)),
                    **said.headers,
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said.body[: said.cut_after])

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815 - names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}"
    yield script
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def session() -> Session:
    """What the clients are made from; it holds the service definitions, which take time to load."""
    from boto3.session import Session

    return Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")


@pytest.fixture
def waits() -> list[float]:
    """How long an adapter would have waited."""
    return []


@pytest.fixture
def objects(session: Session, aws: ScriptedAws, waits: list[float]) -> S3Objects:
    """The bucket behind the server, without botocore's own retries."""
    return S3Objects("bucket", _s3(session, aws.url), sleep=waits.append)


@pytest.fixture
def queue(session: Session, aws: ScriptedAws, waits: list[float]) -> SqsQueue:
    """The queue behind the server, without botocore's own retries."""
    return SqsQueue(f"{aws.url}/123456789012/step", _sqs(session, aws.url), sleep=waits.append)


def test_conflict_of_two_puts_is_tried_again(aws: ScriptedAws, objects: S3Objects, waits: list[float]) -> None:
    """A 409 means that the condition was not looked at, so the put is repeated after a short, jittered wait."""
    aws.answers += [_error(409, "ConditionalRequestConflict")] * 2 + [Answer(headers={"ETag": '"1"'})]

    put = objects.put("k", b"x", if_none_match=True)

    assert (put.etag, len(aws.requests), len(waits)) == ('"1"', 3, 2)
    assert 0.01 <= waits[0] <= 0.03 <= waits[1] * 1.5


def test_conflict_without_end_is_retryable(aws: ScriptedAws, objects: S3Objects, waits: list[float]) -> None:
    """When others are always at it, the put had no effect, and less than two seconds were waited."""
    aws.answers += [_error(409, "ConditionalRequestConflict")] * len(CONFLICT_WAIT_SECONDS)

    with pytest.raises(RetryableError) as caught:
        objects.put("k", b"x", if_none_match=True)

    assert (caught.value.call_made, sum(waits) < 2) == (False, True)


def test_put_whose_answer_is_lost_meets_its_own_success(session: Session, aws: ScriptedAws) -> None:
    """After a cut connection botocore asks again, and S3 answers 412: reading back shows who won."""
    objects = S3Objects("bucket", _s3(session, aws.url, attempts=2))
    aws.answers += [Answer(status=0), _error(412, "PreconditionFailed")]

    with pytest.raises(PreconditionFailedError):
        objects.put("k", b"nonce-1", if_none_match=True)

    aws.answers.append(Answer(body=b"nonce-1", headers={"ETag": '"1"', "Last-Modified": NOW}))
    found = objects.get("k")
    assert (found and found.body, aws.asked()) == (b"nonce-1", ["PUT /bucket/k", "PUT /bucket/k", "GET /bucket/k"])


def test_broken_stream_is_taken_up_where_it_broke(aws: ScriptedAws, objects: S3Objects) -> None:
    """A connection that breaks in the middle of a file costs a request, not the run."""
    content = bytes(range(250)) * 8
    aws.answers += [
        Answer(body=content, headers={"ETag": '"1"'}, cut_after=1_200),
        Answer(206, content[1_200:], {"ETag": '"1"', "Content-Range": "bytes 1200-1999/2000"}),
    ]

    with objects.open("k") as stream:
        read = b"".join(iter(lambda: stream.read(100), b""))

    assert read == content
    assert [request.wanted for request in aws.requests] == [(None, None), ('"1"', "bytes=1200-")]


def test_stream_that_keeps_breaking_is_retryable(aws: ScriptedAws, objects: S3Objects) -> None:
    """After a few attempts at the same byte the reader learns that the store fails."""
    broken = Answer(body=b"0123456789", headers={"ETag": '"1"'}, cut_after=0)
    aws.answers += [broken] * 4

    with objects.open("k") as stream, pytest.raises(RetryableError, match="s3://bucket/k"):
        stream.read()

    assert len(aws.requests) == 4


def test_replaced_object_is_not_read_on(aws: ScriptedAws, objects: S3Objects) -> None:
    """A stream never mixes two versions: when the object changed meanwhile, it fails."""
    aws.answers += [
        Answer(body=b"0123456789", headers={"ETag": '"1"'}, cut_after=5),
        _error(412, "PreconditionFailed"),
    ]

    with objects.open("k") as stream, pytest.raises(RetryableError):
        stream.read()


def test_failed_part_takes_back_the_whole_upload(aws: ScriptedAws, objects: S3Objects) -> None:
    """When a part fails, the parts before it are removed, and the failure comes through."""
    started = b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
    aws.answers += [Answer(body=started), Answer(headers={"ETag": '"1"'}), _error(403, "AccessDenied"), Answer(204)]

    with pytest.raises(PermanentError):
        objects.put_stream("k", [bytes(PART_BYTES), b"rest"])

    assert aws.asked() == [
        "POST /bucket/k?uploads",
        "PUT /bucket/k?uploadId=u1&partNumber=1",
        "PUT /bucket/k?uploadId=u1&partNumber=2",
        "DELETE /bucket/k?uploadId=u1",
    ]


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AccessDenied", PermanentError),
        (403, "SignatureDoesNotMatch", ConfigurationError),
        (404, "NoSuchBucket", ConfigurationError),
        (412, "PreconditionFailed", PreconditionFailedError),
        (400, "KeyTooLongError", PermanentError),
        (400, "ExpiredToken", RetryableError),
        (400, "RequestTimeout", RetryableError),
        (503, "SlowDown", RetryableError),
        (500, "Unheard", RetryableError),
        (429, "Unheard", RetryableError),
        (418, "Unheard", PermanentError),
    ],
)
def test_answer_becomes_the_error_that_says_what_is_next(
    aws: ScriptedAws, objects: S3Objects, status: int, code: str, expected: type[QualtricsEtlError]
) -> None:
    """Each refusal of S3 is sorted by what happens to the message, and names object, code and request."""
    aws.answers.append(_error(status, code))

    with pytest.raises(QualtricsEtlError) as caught:
        objects.put("ledger/r1", b"x")

    assert type(caught.value) is expected
    assert caught.value.what == f"Writing s3://bucket/ledger/r1 failed: {code}, why (AWS request req-1)."


def test_missing_permission_comes_with_its_remedy(aws: ScriptedAws, objects: S3Objects) -> None:
    """Whoever finds the message in the dead-letter queue reads where the permission is granted."""
    aws.answers.append(_error(403, "AccessDenied"))

    with pytest.raises(PermanentError) as caught:
        objects.get("k")

    assert caught.value.remedy == (
        "Add the permission to what Terraform grants this kind of step, deploy, then send the message back. "
        "(S3 answers the same for a missing object when the role may not list the bucket.)"
    )


def test_unreachable_store_is_retryable(objects: S3Objects, aws: ScriptedAws) -> None:
    """A cut connection says nothing about what happened, so the call counts as made."""
    aws.answers.append(Answer(status=0))

    with pytest.raises(RetryableError) as caught:
        objects.put("k", b"x")

    assert caught.value.call_made


def test_refusal_that_breaks_off_is_retryable(aws: ScriptedAws, objects: S3Objects) -> None:
    """A refusal whose reason is cut off decides nothing: neither that an object is missing, nor that it is for good."""
    body = b"<Error><Code>NoSuchKey</Code><Message>There is no such key.</Message></Error>"
    aws.answers.append(Answer(404, body, cut_after=len(body) // 2))
    with pytest.raises(RetryableError, match="Reading s3://bucket/a failed"):
        objects.get("a")


def test_what_botocore_lets_through_is_retryable() -> None:
    """Botocore reads the body of some refusals where it does not catch urllib3's own errors (Observed: 2026-11-30)."""
    broken = ProtocolError("Connection broken: IncompleteRead(38 bytes read, 39 more expected)")
    error = translate(broken, "Reading s3://bucket/a")
    assert isinstance(error, RetryableError)
    assert error.what == "Reading s3://bucket/a failed: the connection broke (ProtocolError)."
    assert error.call_made


def test_listing_that_fails_says_so(aws: ScriptedAws, objects: S3Objects) -> None:
    """A listing never looks complete when it is not."""
    aws.answers.append(_error(503, "SlowDown"))

    with pytest.raises(RetryableError, match="Listing s3://bucket/p/"):
        list(objects.list("p/"))


def test_missing_file_is_told_without_a_retry(aws: ScriptedAws, objects: S3Objects) -> None:
    """A file that has expired is the input's fault, not the store's."""
    aws.answers.append(_error(404, "NoSuchKey"))

    with pytest.raises(InputError, match="There is no s3://bucket/files/abc"):
        objects.open("files/abc")


def test_only_what_was_not_taken_is_sent_again(aws: ScriptedAws, queue: SqsQueue, waits: list[float]) -> None:
    """When SQS takes a part of a batch, the rest of it follows; nothing is sent twice."""
    aws.answers += [_batch(failed=[1, 3]), _batch(failed=[])]

    queue.send([Outgoing(f"m{n}") for n in range(4)])

    sent = [[entry["MessageBody"] for entry in json.loads(request.body)["Entries"]] for request in aws.requests]
    assert (sent, len(waits)) == ([["m0", "m1", "m2", "m3"], ["m1", "m3"]], 1)


def test_message_that_is_never_taken_is_retryable(aws: ScriptedAws, queue: SqsQueue, waits: list[float]) -> None:
    """The sender learns when messages are left after a few attempts and less than two seconds."""
    aws.answers += [_batch(failed=[0])] * 4

    with pytest.raises(RetryableError, match=r"step did not take 1 messages: InternalError, why\."):
        queue.send([Outgoing("m0"), Outgoing("m1")])

    assert (len(aws.requests), sum(waits) < 2) == (4, True)


def test_message_that_sqs_refuses_is_permanent(aws: ScriptedAws, queue: SqsQueue) -> None:
    """What the sender did wrong is not tried again."""
    aws.answers.append(_batch(failed=[0], senders_fault=True))

    with pytest.raises(PermanentError, match="step refused 1 messages"):
        queue.send([Outgoing("m0"), Outgoing("m1")])

    assert len(aws.requests) == 1


def test_missing_queue_is_a_configuration_error(aws: ScriptedAws, queue: SqsQueue) -> None:
    """A queue that Terraform has not made yet is named with what makes it."""
    body = json.dumps({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "why"}).encode()
    aws.answers.append(Answer(400, body, {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"}))

    with pytest.raises(ConfigurationError) as caught:
        queue.receive()

    assert caught.value.remedy == "Apply Terraform for this stage, then deploy the functions again."


def test_expired_receipt_of_a_fifo_queue_is_retryable(aws: ScriptedAws, queue: SqsQueue) -> None:
    """SQS refuses a receipt after its time-out; the message comes again, so nothing is lost."""
    text = "Value r1 for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
    body = json.dumps({"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": text}).encode()
    aws.answers += [Answer(400, body)] * 2

    for act in (lambda: queue.delete("r1"), lambda: queue.change_visibility("r1", 5)):
        with pytest.raises(RetryableError, match="The delivery from step is over"):
            act()


def _error(status: int, code: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>why.</Message><RequestId>req-1</RequestId></Error>"
    return Answer(status, body.encode(), {"x-amz-request-id": "req-1"})


def _batch(*, failed: list[int], senders_fault: bool = False) -> Answer:
    entries = [{"Id": str(n), "Code": "InternalError", "Message": "why.", "SenderFault": senders_fault} for n in failed]
    return Answer(body=json.dumps({"Successful": [], "Failed": entries}).encode())


def _s3(session: Session, url: str, *, attempts: int = 1) -> S3Client:
    from botocore.config import Config

    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": attempts, "mode": "standard"})
    return session.client("s3", endpoint_url=url, config=config)


def _sqs(session: Session, url: str) -> SQSClient:
    from botocore.config import Config

    return session.client("sqs", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))
