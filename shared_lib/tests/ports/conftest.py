"""The worlds that the contract of the ports is held against: our doubles and two independent imitations of AWS.

A test module names its worlds in `WORLDS`. Where an imitation does otherwise than the documentation of AWS says, the
module's `DEVIATIONS` gives the reason, and the test must fail there: when the imitation is mended, the entry has to
go. `LEFT_OUT` names what an imitation does at random or too slowly, so that nothing can be asserted there.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qualtrics_etl.aws.objects import S3Objects
from qualtrics_etl.aws.queues import SqsQueues
from qualtrics_etl.aws.secrets import SsmSecrets
from qualtrics_etl.errors import RetryableError
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.objects import FolderObjects, MemoryObjects
from qualtrics_etl.local.queues import LocalQueues, QueueSettings
from qualtrics_etl.local.secrets import EnvironmentSecrets, FixedSecrets
from qualtrics_etl.ports import ObjectStore, Queues, Secrets

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

REPOSITORY = Path(__file__).parents[3]
REGION = "eu-west-1"
START_SECONDS = 20
"""How long the emulator may take to answer: it needs one second on an idle machine."""


@dataclass
class LocalWorld:
    """Our own doubles; waiting moves the hand of a clock."""

    name: str
    folder: Path
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(datetime(2026, 3, 1, 8, 0, 0, 250_000, UTC)))

    def make_objects(self) -> ObjectStore:
        if self.name == "folder":
            return FolderObjects(self.folder / uuid.uuid4().hex, self.clock)
        return MemoryObjects(self.clock)

    def make_queues(self, settings: QueueSettings) -> Queues:
        return LocalQueues({"step": settings}, self.clock)

    def make_secrets(self, name: str, value: str) -> Secrets:
        if self.name == "environment":
            return EnvironmentSecrets({f"QETL_SECRET_{name.upper()}": value})
        return FixedSecrets({name: value})

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)


@dataclass
class AwsWorld:
    """An imitation of AWS, reached through boto3; waiting takes its time."""

    name: str
    s3: S3Client
    sqs: SQSClient
    ssm: SSMClient

    def make_objects(self) -> ObjectStore:
        bucket = f"contract-{uuid.uuid4().hex}"
        self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        return S3Objects(bucket, self.s3)

    def make_queues(self, settings: QueueSettings) -> Queues:
        name, suffix = uuid.uuid4().hex, ".fifo" if settings.fifo else ""
        kind = {"FifoQueue": "true"} if settings.fifo else {}
        dead_letters = self.sqs.create_queue(QueueName=f"{name}-dlq{suffix}", Attributes={**kind})["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": settings.max_receive_count})
        own = self.sqs.create_queue(
            QueueName=f"{name}{suffix}",
            Attributes={**kind, "VisibilityTimeout": str(settings.visibility_seconds), "RedrivePolicy": redrive},
        )["QueueUrl"]
        return SqsQueues({"step": own}, {"step": dead_letters}, self.sqs)

    def make_secrets(self, name: str, value: str) -> Secrets:
        prefix = f"/{uuid.uuid4().hex}/dev"
        self.ssm.put_parameter(Name=f"{prefix}/{name}", Value=value, Type="SecureString")
        return SsmSecrets(prefix, self.ssm)

    def wait(self, seconds: float) -> None:
        time.sleep(seconds + 0.1)


@dataclass
class Emulator:
    """A running emulator of AWS."""

    url: str
    process_id: int
    folder: Path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of the contract in each of its module's worlds."""
    if "world" not in metafunc.fixturenames:
        return
    test, module = metafunc.definition.originalname, metafunc.module
    deviations, left_out = module.DEVIATIONS.get(test, {}), module.LEFT_OUT.get(test, {})
    worlds = [
        pytest.param(name, marks=[_must_fail(deviations[name])] if name in deviations else [])
        for name in module.WORLDS
        if name not in left_out
    ]
    metafunc.parametrize("world", worlds, indirect=True, scope="module")


def _must_fail(reason: str) -> pytest.MarkDecorator:
    refusals = (AssertionError, RetryableError, pytest.fail.Exception)
    return pytest.mark.xfail(reason=reason, raises=refusals, strict=True)


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[LocalWorld | AwsWorld]:
    """One of the worlds, for the tests of a module."""
    if request.param == "moto":
        with _moto() as made:
            yield made
    elif request.param == "ministack":
        yield AwsWorld("ministack", *_clients(request.getfixturevalue("emulator").url))
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield LocalWorld(request.param, Path(folder))


@pytest.fixture
def objects(world: LocalWorld | AwsWorld) -> ObjectStore:
    """An empty bucket."""
    return world.make_objects()


@pytest.fixture
def make_queues(world: LocalWorld | AwsWorld) -> Callable[..., Queues]:
    """Make empty queues of one service, `step`."""

    def make(*, visibility_seconds: int = 30, max_receive_count: int = 5, fifo: bool = False) -> Queues:
        return world.make_queues(QueueSettings(visibility_seconds, max_receive_count, fifo))

    return make


@pytest.fixture
def wait(world: LocalWorld | AwsWorld) -> Callable[[float], None]:
    """Let time pass in this world."""
    return world.wait


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """The emulator that the whole session shares."""
    with _emulator() as running:
        yield running


@pytest.fixture
def emulator_ssm(emulator: Emulator) -> SSMClient:
    """The emulator's parameters."""
    return _clients(emulator.url)[2]


@pytest.fixture
def run_emulator() -> Callable[[], contextlib.AbstractContextManager[Emulator]]:
    """Run an emulator of one's own."""
    return _emulator


@contextlib.contextmanager
def _emulator() -> Iterator[Emulator]:
    program = REPOSITORY / ".venv-emulator" / "bin" / "ministack"
    if not program.exists():
        pytest.fail(f"The AWS emulator is not installed: there is no {program.name}. Remedy: make emulator")
    with tempfile.TemporaryDirectory(prefix="emulator-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), _free_port()
        with (folder / "log.txt").open("w+b") as log:
            process = subprocess.Popen([program], env=_environment(folder, port), stdout=log, stderr=log, cwd=folder)
            try:
                _await_health(process, f"http://127.0.0.1:{port}", folder / "log.txt")
                yield Emulator(f"http://127.0.0.1:{port}", process.pid, folder)
            finally:
                process.terminate()
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _environment(folder: Path, port: int) -> dict[str, str]:
    """Nothing of ours: what it runs inherits its environment, and a stray endpoint would lead it elsewhere."""
    return {
        "PATH": os.defpath,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_health(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up_at:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/_ministack/health", timeout=2):
            return
        time.sleep(0.05)
    pytest.fail(f"The AWS emulator did not start. It said:\n{log.read_text()[-2000:]}")


@contextlib.contextmanager
def _moto() -> Iterator[AwsWorld]:
    import moto

    with moto.mock_aws():
        world = AwsWorld("moto", *_clients(None))
        # In-process moto leaves out the Date header, which S3 sends with every answer.
        world.s3.meta.events.register("after-call.s3", _add_date)
        yield world


def _add_date(parsed: dict[str, Any], **_: object) -> None:
    parsed["ResponseMetadata"]["HTTPHeaders"].setdefault("date", format_datetime(datetime.now(UTC), usegmt=True))


def _clients(endpoint: str | None) -> tuple[S3Client, SQSClient, SSMClient]:
    from boto3.session import Session
    from botocore.config import Config

    session = Session(aws_access_key_id="123456789012", aws_secret_access_key="test", region_name=REGION)
    pool = Config(max_pool_connections=20)
    return (
        session.client("s3", endpoint_url=endpoint, config=pool),
        session.client("sqs", endpoint_url=endpoint, config=pool),
        session.client("ssm", endpoint_url=endpoint, config=pool),
    )
