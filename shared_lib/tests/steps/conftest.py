"""A place where steps run: queues and objects in memory, a served simulator, one clock for all, and what can go wrong.

Workers are made anew for each delivery, as if each ran on a machine of its own. What goes wrong is armed: a write or a
send that fails before or after its effect, a worker that is killed there, faults of the simulator.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from typing_extensions import override

from qualtrics_etl.channels.http_requests import http_event
from qualtrics_etl.channels.signatures import SignedPost, post_headers
from qualtrics_etl.lambda_entry import lambda_handler
from qualtrics_etl.ledger import Entry, Ledger, entry_key
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.objects import MemoryObjects
from qualtrics_etl.local.queues import HeldMessage, LocalQueues, QueueSettings
from qualtrics_etl.local.secrets import FixedSecrets
from qualtrics_etl.local.sftp_server import LocalSftpServer
from qualtrics_etl.messages import MESSAGE_LIFETIME, WHOLE_RUN, Fact, FileFetched, FileParsed, Message, Ticked
from qualtrics_etl.ports import (
    ObjectStore,
    ObjectSummary,
    Outgoing,
    PutResult,
    Queue,
    Queues,
    Received,
    Secrets,
    StoredObject,
)
from qualtrics_etl.qualtrics import Pace, Request, RequestsTransport, Response, Transport
from qualtrics_etl.settings import StageConfig
from qualtrics_etl.simulator import Fault, JobProgress, Simulator
from qualtrics_etl.simulator.seed import EXAMPLE_DIRECTORY_ID, EXAMPLE_LIBRARY_ID, EXAMPLE_SURVEY_ID, EXAMPLE_TOKEN
from qualtrics_etl.steps.base import Delivery, Step, Wiring
from qualtrics_etl.workflow import Workflow, check_workflow
from qualtrics_etl.yaml_lines import YamlFile

START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
RUN = "acme-etl-0123456789ab"
TIMEOUT_SECONDS = 60
SFTP_PASSWORD = "canary-sftp-password"
SIGNING_SECRET = "canary-signing-secret-of-thirty-two-characters"
POST_KEY = "canary-key-2026-11-22"
LEASE_SECONDS = 120
CHAIN = (
    "fetch_sftp_file",
    "parse_file",
    "create_mailing_list",
    "import_contacts",
    "schedule_distribution",
    "schedule_reminder",
)
MAIL = {
    "library_id": EXAMPLE_LIBRARY_ID,
    "from_email": "surveys@client.example",
    "from_name": "Client",
    "reply_to_email": "help@client.example",
    "subject": "How was it?",
}
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "schedule_distribution": {**MAIL, "survey_id": EXAMPLE_SURVEY_ID, "message_id": "MS_ExampleInvite01"},
    "schedule_reminder": {**MAIL, "message_id": "MS_ExampleReminder"},
}


class WorkerKilled(BaseException):
    """The machine is gone: no except clause and no clean-up of ours runs on it."""


@dataclass
class Mishap:
    """Something that happens at one write, send or request.

    Attributes:
        what: Part of the key, queue name or path that it happens to.
        error: What is raised; None where only something else happens.
        after: Whether the effect comes first.
        skip: How many matching ones pass.
    """

    what: str
    error: BaseException | None
    after: bool = False
    skip: int = 0
    meanwhile: Callable[[], object] = lambda: None
    met: bool = False

    def hits(self, name: str) -> bool:
        """Whether it happens now; once."""
        if self.met or self.what not in name:
            return False
        self.skip -= 1
        self.met = self.skip < 0
        return self.met


class Mishaps:
    """What is armed to happen."""

    def __init__(self) -> None:
        self.armed: list[Mishap] = []

    def around(self, name: str, effect: Callable[[], Any]) -> Any:
        """Have the effect, unless something happens before it; something may happen after it."""
        mishap = next((each for each in self.armed if each.hits(name)), None)
        if mishap is None:
            return effect()
        mishap.meanwhile()
        if mishap.error is None:
            return effect()
        if mishap.after:
            effect()
        raise mishap.error


class UnsureObjects(ObjectStore):
    """Another store, whose writes meet mishaps."""

    def __init__(self, inner: ObjectStore, mishaps: Mishaps) -> None:
        self._inner = inner
        self._mishaps = mishaps

    @override
    def get(self, key: str) -> StoredObject | None:
        return self._mishaps.around(f"get {key}", lambda: self._inner.get(key))

    @override
    def open(self, key: str, *, start: int = 0) -> BinaryIO:
        return self._inner.open(key, start=start)

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        return self._mishaps.around(
            f"put {key}", lambda: self._inner.put(key, body, if_none_match=if_none_match, if_match=if_match)
        )

    @override
    def put_stream(self, key: str, chunks: Iterable[bytes]) -> PutResult:
        return self._mishaps.around(f"put {key}", lambda: self._inner.put_stream(key, chunks))

    @override
    def delete(self, key: str) -> None:
        self._mishaps.around(f"delete {key}", lambda: self._inner.delete(key))

    @override
    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectSummary]:
        return self._inner.list(prefix, start_after=start_after)


class UnsureQueues(Queues):
    """Other queues, whose sends meet mishaps."""

    def __init__(self, inner: LocalQueues, mishaps: Mishaps) -> None:
        self._inner = inner
        self._mishaps = mishaps

    @override
    def of(self, service: str) -> Queue:
        return _UnsureQueue(self._inner.of(service), self._mishaps)

    @override
    def dead_letters_of(self, service: str) -> Queue:
        return _UnsureQueue(self._inner.dead_letters_of(service), self._mishaps)


class _UnsureQueue(Queue):
    def __init__(self, inner: Queue, mishaps: Mishaps) -> None:
        self._inner = inner
        self._mishaps = mishaps

    @property
    @override
    def name(self) -> str:
        return self._inner.name

    @property
    @override
    def fifo(self) -> bool:
        return self._inner.fifo

    @override
    def send(self, messages: Sequence[Outgoing]) -> None:
        self._mishaps.around(f"send {self.name}", lambda: self._inner.send(messages))

    @override
    def receive(self, *, max_messages: int = 10, wait_seconds: int = 0) -> list[Received]:
        return self._inner.receive(max_messages=max_messages, wait_seconds=wait_seconds)

    @override
    def delete(self, receipt: str) -> None:
        self._inner.delete(receipt)

    @override
    def change_visibility(self, receipt: str, seconds: int) -> None:
        self._mishaps.around(f"visibility {self.name}", lambda: self._inner.change_visibility(receipt, seconds))

    @override
    def counts(self) -> Any:
        return self._inner.counts()


class UnsureTransport:
    """The network, whose requests meet mishaps; keeps what was sent."""

    def __init__(self, mishaps: Mishaps) -> None:
        self._inner: Transport = RequestsTransport()
        self._mishaps = mishaps
        self.sent: list[Request] = []

    def send(self, request: Request) -> Response:
        """Send a request."""

        def send() -> Response:
            self.sent.append(request)
            return self._inner.send(request)

        return self._mishaps.around(f"{request.method} {request.path}", send)


class RenewableSecrets(Secrets):
    """Secrets that can be changed while a function is warm."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    @override
    def get(self, name: str) -> str:
        return FixedSecrets(self._values).get(name)


def workflow_of(chains: Mapping[str, Sequence[str]], services: Mapping[str, Mapping[str, object]]) -> Workflow:
    """Return a workflow; each service is of the kind of its name and small, unless told otherwise."""
    names = dict.fromkeys(name for chain in chains.values() for name in chain)
    usual = {
        "timeout_seconds": TIMEOUT_SECONDS,
        "memory_mb": 256,
        "concurrency": 2,
        "batch_size": 1,
        "max_receive_count": 3,
    }
    described = {name: {"kind": name, **usual, **services.get(name, {})} for name in names}
    for chain in chains.values():
        if described[chain[0]]["kind"] != "receive_post":
            described[chain[0]]["schedule"] = "rate(15 minutes)"
    data = {"name": "acme-etl", "chains": {name: list(chain) for name, chain in chains.items()}, "services": described}
    return check_workflow(YamlFile(Path("workflow.yml"), data, {}))


@dataclass
class Place:
    """Where steps run. Change what is public before the first delivery."""

    simulator: Simulator
    base_url: str
    clock: VirtualClock
    workflow: Workflow
    steps: dict[str, type[Step]] = field(default_factory=dict)
    settings: dict[str, dict[str, object]] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=lambda: {"qualtrics_api_token": EXAMPLE_TOKEN})
    sftp: dict[str, object] | None = None
    post: dict[str, object] | None = None
    remaining_seconds: float = TIMEOUT_SECONDS
    duplicates: bool = False

    def __post_init__(self) -> None:
        self.mishaps = Mishaps()
        self.transport = UnsureTransport(self.mishaps)
        self.losing: dict[str, tuple[int, bool]] = {}
        self.bucket = MemoryObjects(self.clock)
        self.rebuild_queues()

    def rebuild_queues(self) -> None:
        """Make the queues anew: after a change of the workflow."""
        described = {
            name: QueueSettings(service.visibility_seconds, service.queue_receive_count, service.serial)
            for name, service in self.workflow.services.items()
        }
        self.queues = LocalQueues(described, self.clock, duplicates=self.duplicates)

    def use(self, *chain: str, **services: Mapping[str, object]) -> None:
        """Take another chain, or other services' settings."""
        self.workflow = workflow_of({"contacts": chain or CHAIN}, services)
        self.rebuild_queues()

    @staticmethod
    def workflow_of(chains: Mapping[str, Sequence[str]], services: Mapping[str, Mapping[str, object]]) -> Workflow:
        """Return a workflow of several chains."""
        return workflow_of(chains, services)

    # --- running --------------------------------------------------------------------------------------------------

    def step(self, service: str, *, transport: Transport | None = None, pace: Pace | None = None) -> Step:
        """Return a worker of a service, as a cold start makes it; with another transport or pace if need be."""
        kind = self.workflow.services[service].step
        step = self.steps.get(service) or getattr(importlib.import_module(kind.module), kind.class_name)
        return step(
            Wiring(
                workflow=self.workflow,
                service=service,
                config=self.config,
                objects=UnsureObjects(self.bucket, self.mishaps),
                queues=UnsureQueues(self.queues, self.mishaps),
                secrets=RenewableSecrets(self.secrets),
                clock=self.clock,
                transport=transport or self.transport,
                pace=pace,
            )
        )

    @property
    def config(self) -> StageConfig:
        """What config/local.yml would say."""
        settings = {name: {**SETTINGS.get(name, {}), **self.settings.get(name, {})} for name in self.workflow.services}
        return StageConfig.model_validate(
            {
                "stage": "local",
                "aws_account_id": "111122223333",
                "aws_region": "eu-west-1",
                "alarm_email": "on-call@client.example",
                "qualtrics": {
                    "datacenter": "fra1",
                    "directory_id": EXAMPLE_DIRECTORY_ID,
                    "base_url": self.base_url,
                },
                "sftp": self.sftp,
                "post": self.post,
                "services": {name: told for name, told in settings.items() if told},
            }
        )

    def receive(self, service: str) -> list[Received]:
        """Take messages from a service's queue without working on them."""
        return self.queues.of(service).receive(max_messages=self.workflow.services[service].batch_size)

    def handle(self, service: str, received: Received) -> bool | None:
        """Let a worker work on a delivery and delete what is settled; None when it was killed."""
        if self._is_lost(service, received):
            self.queues.of(service).delete(received.receipt)
            return True
        try:
            settled = self.step(service).handle(Delivery(received, lambda: self.remaining_seconds))
        except WorkerKilled:
            return None
        if settled:
            self.queues.of(service).delete(received.receipt)
        return settled

    def _is_lost(self, service: str, received: Received) -> bool:
        skip, again = self.losing.get(service, (-1, False))
        if skip < 0 or (again and received.receive_count == 1):
            return False
        self.losing[service] = (skip - 1, again)
        return skip == 0

    def lose(self, service: str, *, skip: int = 0, again: bool = False) -> None:
        """Let one delivery of a service reach nobody and never come again, behind so many that do.

        Args:
            again: Only of those count that are not the first of their message.
        """
        self.losing[service] = (skip, again)

    def handle_with(self, worker: Step, service: str) -> None:
        """Let one worker, which may be warm, work on what waits for a service."""
        for received in self.receive(service):
            if worker.handle(Delivery(received, lambda: self.remaining_seconds)):
                self.queues.of(service).delete(received.receipt)

    def deliver(self, service: str) -> list[bool | None]:
        """Give a service what waits for it, as Lambda would: whether each message was settled."""
        return [self.handle(service, received) for received in self.receive(service)]

    def run(self, *, until: Callable[[], bool] = lambda: False, most: int = 3000) -> None:
        """Deliver, and go to the next message that is due, until nothing is left."""
        for _ in range(most):
            worked = False
            for service in self.workflow.services:
                if until():
                    return
                worked = bool(self.deliver(service)) or worked
            if not worked and not self._skip():
                return
        raise AssertionError("It never comes to an end.")

    def run_only(self, service: str, *, most: int = 200) -> None:
        """Work on what waits for one service, until nothing does."""
        for _ in range(most):
            if not self.waiting(service):
                return
            if not self.deliver(service):
                self.wait_for(service)
        raise AssertionError(f"{service} never comes to an end.")

    def _skip(self) -> bool:
        due = self.queues.next_due_at()
        if due is not None:
            self.clock.advance(max(0.0, (due - self.clock.now()).total_seconds()))
        return due is not None

    def wait_for(self, service: str) -> None:
        """Let time pass until the first message of a service is due."""
        due = self.queues.of(service).next_due_at()
        assert due is not None, f"nothing waits for {service}"
        self.clock.advance(max(0.0, (due - self.clock.now()).total_seconds()))

    # --- messages -------------------------------------------------------------------------------------------------

    def message(self, service: str, *facts: Fact, batch: str = WHOLE_RUN, **others: Any) -> Message:
        """Return a message for a service."""
        expires_at = START + MESSAGE_LIFETIME
        run, expires_at = others.pop("run", RUN), others.pop("expires_at", expires_at)
        return Message("acme-etl", run, service, batch, expires_at, context=facts, **others)

    def send(self, message: Message, **attributes: str) -> None:
        """Put a message into its service's queue."""
        identity = f"{message.service}-{self.clock.now().timestamp()}" if self.queues.of(message.service).fifo else None
        self.queues.of(message.service).send(
            [Outgoing(message.encode(), attributes=attributes, deduplication_id=identity)]
        )

    def file(self, content: bytes, name: str = "contacts.csv") -> FileFetched:
        """Store a client's file as if it had been fetched."""
        key = f"payloads/{RUN}/fetch_sftp_file/file"
        self.bucket.put(key, content)
        return FileFetched(name, key, len(content), "0" * 64)

    def begin(self, content: bytes) -> None:
        """Begin a run at `parse_file`."""
        self.send(self.message("parse_file", self.file(content)))

    def order_list(self) -> None:
        """Ask for the mailing list of a run with one batch."""
        self.send(self.message("create_mailing_list", FileParsed(1, f"payloads/{RUN}/parse_file/batches", 1, 1, 0)))

    def redrive(self, service: str) -> None:
        """Send the dead letters of a service back as they are, as the console does."""
        letters, fifo = self.queues.dead_letters_of(service), self.queues.of(service).fifo
        while received := letters.receive():
            for each in received:
                identity = f"redrive-{each.message_id}" if fifo else None
                again = Outgoing(each.body, attributes=each.attributes, deduplication_id=identity)
                self.queues.of(service).send([again])
                letters.delete(each.receipt)

    def waiting(self, service: str) -> list[HeldMessage]:
        """Look at what lies in a service's queue."""
        return self.queues.of(service).messages()

    def letters(self, service: str) -> list[HeldMessage]:
        """Look at what lies in a service's dead-letter queue."""
        return self.queues.dead_letters_of(service).messages()

    def cause(self, service: str) -> str:
        """Return why the one dead letter of a service lies there, with the remedy."""
        (letter,) = self.letters(service)
        return f"{letter.attributes['cause']} {letter.attributes.get('remedy', '')}".strip()

    # --- what is there --------------------------------------------------------------------------------------------

    def entry(self, service: str, batch: str = WHOLE_RUN, run: str = RUN) -> Entry | None:
        """Read a ledger entry."""
        held = Ledger(self.bucket).read(entry_key(run, service, batch))
        return held.entry if held else None

    def keys(self, prefix: str) -> list[str]:
        """List keys."""
        return [summary.key for summary in self.bucket.list(prefix)]

    def text(self, key: str) -> str:
        """Read an object."""
        found = self.bucket.get(key)
        assert found is not None, f"there is no {key}"
        return found.body.decode()

    def calls(self, endpoint: str) -> int:
        """Count the requests that reached an endpoint: method and end of the path."""
        method, end = endpoint.split(" ")
        return sum(sent.method == method and sent.path.endswith(end) for sent in self.transport.sent)

    def lists(self) -> list[str]:
        """Return the names of the mailing lists."""
        return [each.name for each in self.simulator.state.mailing_lists.values()]

    def members(self) -> list[str]:
        """Return the addresses in the mailing lists, one for each membership."""
        state = self.simulator.state
        return sorted(
            state.directories[each.directory_id].contacts[contact].email
            for each in state.mailing_lists.values()
            for contact in each.members
        )

    def contacts(self) -> list[str]:
        """Return the addresses in the directory, one for each contact."""
        return sorted(each.email for each in self.simulator.state.directories[EXAMPLE_DIRECTORY_ID].contacts.values())

    def scheduled(self) -> list[str]:
        """Return the kinds of the distributions that are scheduled or sent."""
        return [each.kind for each in self.simulator.state.post.distributions.values()]

    # --- what goes wrong ------------------------------------------------------------------------------------------

    def fault(self, scenario: str, **options: Any) -> None:
        """Arm a fault of the simulator."""
        self.simulator.arm(Fault(scenario, **options))

    def mishap(
        self,
        what: str,
        error: BaseException | None = None,
        *,
        after: bool = False,
        skip: int = 0,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Arm a mishap; without an error the worker is killed."""
        self.mishaps.armed.append(Mishap(what, error or WorkerKilled(), after, skip, meanwhile))

    def meanwhile(self, what: str, action: Callable[[], object]) -> None:
        """Let something happen just before a write, a send or a request."""
        self.mishaps.armed.append(Mishap(what, None, meanwhile=action))

    def no_deduplication(self) -> None:
        """Let the directory count every contact as a new one."""
        self.simulator.state.directories[EXAMPLE_DIRECTORY_ID].deduplication.email = False


@pytest.fixture
def place() -> Iterator[Place]:
    """A place with the default chain, and nothing in it."""
    clock = VirtualClock(START)
    simulator = Simulator(rate_limits=False, time_source=lambda: clock.now().timestamp())
    with simulator.serve() as base_url:
        yield Place(simulator, base_url, clock, workflow_of({"contacts": CHAIN}, {}))


@dataclass
class Client:
    """The client's SFTP server, and what happens there."""

    root: Path
    place: Place

    def drop(self, name: str = "contacts.csv", content: bytes = b"", *, age_seconds: int = 0) -> Path:
        """Put a file there; without content, one of three people."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or rows(3))
        at = START.timestamp() - age_seconds
        os.utime(path, (at, at))
        return path

    def tick(self) -> None:
        """Let the schedule's tick come, a minute after the last one."""
        self.place.clock.advance(60)
        now = self.place.clock.now()
        run = f"fetch_sftp_file-{now:%Y%m%dT%H%M%SZ}"
        self.place.step("fetch_sftp_file").start(run, Ticked(now.isoformat()), now + MESSAGE_LIFETIME)

    def names(self) -> list[str]:
        """Return what lies there."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def files(self) -> list[str]:
        """Return the names of the files that began a run."""
        held = [self.place.bucket.get(key) for key in self.place.keys("files/")]
        entries = [Entry.decode(each.body) for each in held if each is not None and each.body]
        return sorted(entry.fact.name for entry in entries if isinstance(entry.fact, FileFetched))


@dataclass
class Poster:
    """A client that POSTs: what it sends is signed with the stage's secret, unless told otherwise."""

    place: Place

    def headers(self, content: bytes, key: str, *, name: str = "contacts.csv", age_seconds: int = 0) -> dict[str, str]:
        """Return the headers of a POST that was signed so long ago."""
        at = self.place.clock.now() - timedelta(seconds=age_seconds)
        return post_headers(SignedPost("receive_post", key, name, content), SIGNING_SECRET, at)

    def post(self, content: bytes = b"", key: str = POST_KEY, **signed: Any) -> tuple[int, dict[str, Any]] | None:
        """POST a content; without one, three people. Return status and content of the answer, None where none came."""
        content = content or rows(3)
        return self.send(http_event("POST", "/receive_post", self.headers(content, key, **signed), content))

    def send(self, event: Any) -> tuple[int, dict[str, Any]] | None:
        """Let a worker answer an event."""
        step = self.place.step("receive_post")
        handler = lambda_handler(type(step))
        handler.wire(step._wiring)
        try:
            answer = handler(event, self)
        except WorkerKilled:
            return None
        assert answer is not None
        return answer["statusCode"], json.loads(answer["body"])

    def post_until_accepted(self, content: bytes = b"", key: str = POST_KEY) -> str:
        """POST again and again, as a client does that hears nothing or 503; return the run."""
        for _ in range(9):
            answer = self.post(content, key)
            if answer is not None and answer[0] != 503:
                assert answer[0] == 202
                return str(answer[1]["run"])
            self.place.clock.advance(30)
        raise AssertionError("It is never accepted.")

    def get_remaining_time_in_millis(self) -> int:
        """Return a minute: this is Lambda's context too."""
        return 60_000


@pytest.fixture
def poster(place: Place) -> Poster:
    """A client that POSTs to a place whose chain begins with `receive_post`."""
    place.use("receive_post", *CHAIN[1:])
    place.post = {"replay_window_seconds": 300}
    place.secrets["post_signing_secret"] = SIGNING_SECRET
    return Poster(place)


@pytest.fixture(scope="session")
def host_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep the host key of all servers of a session."""
    return tmp_path_factory.mktemp("sftp") / "host_key"


@pytest.fixture
def client(place: Place, tmp_path: Path, host_key: Path) -> Iterator[Client]:
    """A client with an SFTP server; the place knows it."""
    root = tmp_path / "client"
    root.mkdir()
    with LocalSftpServer(root, user="etl", password=SFTP_PASSWORD, host_key_path=host_key) as server:
        place.sftp = {
            "host": server.host,
            "port": server.port,
            "user": "etl",
            "host_key": server.host_key,
            "auth": "password",
        }
        place.secrets["sftp_password"] = SFTP_PASSWORD
        yield Client(root, place)


@pytest.fixture
def with_slow_jobs(place: Place) -> Place:
    """Import jobs take fifteen seconds, which is two looks."""
    place.simulator.state.job_progress = JobProgress(seconds=15)
    return place


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return all that was logged so far, with every field."""
    caplog.set_level(logging.DEBUG)
    return lambda: "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)


def rows(count: int, *, first: int = 0) -> bytes:
    """Return a file of good rows."""
    lines = ["email,first_name,branch", *(f"p{first + n}@client.example,P{n},North" for n in range(count))]
    return "\n".join(lines).encode() + b"\n"


@pytest.fixture
def contacts() -> Callable[..., bytes]:
    """Make files of good rows."""
    return rows
