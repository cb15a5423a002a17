"""How much of what Qualtrics allows is used: many messages and workers, and a simulator that limits requests a minute.

Each worker keeps what a warm function keeps, and is busy for a while with each message. Nothing is timed: time is the
virtual clock's, so that the same load gives nearly the same counts (who waits comes again at a random second).
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

from typing_extensions import override

from qualtrics_etl.formats.batches import Batch, Position, encode_batch
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.objects import MemoryObjects
from qualtrics_etl.local.queues import LocalQueues
from qualtrics_etl.local.run import queue_settings
from qualtrics_etl.local.secrets import FixedSecrets
from qualtrics_etl.messages import MESSAGE_LIFETIME, WHOLE_RUN, Fact, FileParsed, MailingListCreated, Message
from qualtrics_etl.payloads import batch_name, batches_prefix
from qualtrics_etl.ports import Clock, Outgoing
from qualtrics_etl.qualtrics import mailing_lists
from qualtrics_etl.qualtrics.connect import connect
from qualtrics_etl.qualtrics.transport import Request, RequestsTransport, Response, Transport
from qualtrics_etl.settings import StageConfig
from qualtrics_etl.simulator import Simulator
from qualtrics_etl.simulator.seed import (
    EXAMPLE_DIRECTORY_ID,
    EXAMPLE_LIBRARY_ID,
    EXAMPLE_SURVEY_ID,
    EXAMPLE_TOKEN,
)
from qualtrics_etl.steps.base import Delivery, Step, Wiring
from qualtrics_etl.workflow import Workflow, check_workflow
from qualtrics_etl.yaml_lines import YamlFile

START = datetime(2026, 1, 15, 9, 0, 20, tzinfo=UTC)
RUN = "paced-0123456789ab"
CHAIN = ("fetch_sftp_file", "parse_file", "create_mailing_list", "import_contacts", "schedule_distribution")
WORKING = CHAIN[2:]
"""The services that call Qualtrics."""
PATIENCE_SECONDS = 120.0
"""How long an answer of the simulator is waited for, on the machine's clock."""


@dataclass(frozen=True, slots=True)
class Load:
    """What there is to do, and by whom.

    Attributes:
        batches: Of one run, to be imported.
        invitations: Of as many runs, to be scheduled.
        lists: Of as many runs, to be created.
        workers: At each service.
        seconds_a_message: How long a worker is busy with one.
        scale: Factor on every limit of Qualtrics: a tenth of the limits needs a tenth of the messages.
        share: What the workers are told is theirs of the documented limits; `scale` when left out.
    """

    batches: int = 0
    invitations: int = 0
    lists: int = 0
    workers: int = 16
    seconds_a_message: float = 0.25
    scale: float = 1.0
    share: float | None = None


@dataclass
class Paced:
    """What a load came to.

    Attributes:
        requests: Requests that Qualtrics took, by minute and endpoint (method and end of the path).
        refused: Requests that it answered with 429.
        deliveries: How often a message was given to a worker.
        most_receives: How often one and the same message was received at most: 1 where none was burnt.
        dead_letters: Messages that were put aside.
    """

    requests: Counter[tuple[datetime, str]] = field(default_factory=Counter)
    refused: int = 0
    deliveries: int = 0
    most_receives: int = 0
    dead_letters: int = 0

    def share_used(self, limit: int, endpoint: str = "") -> float:
        """Return which part of a limit was used, in the whole minutes that began with enough to do for all of it.

        What begins with less is the end of the work, and what is left of a limit then says nothing about pacing.

        Args:
            limit: Requests a minute.
            endpoint: Of which endpoint; of all together when left out.

        Raises:
            ValueError: There was no such minute.
        """
        minutes: Counter[datetime] = Counter()
        for (minute, name), count in self.requests.items():
            minutes[minute] += count * (not endpoint or name == endpoint)
        minute = min(minutes)  # had begun when the work did
        to_do = minutes.total() - minutes[minute]
        used: list[int] = []
        while to_do >= limit:
            minute += timedelta(minutes=1)
            used.append(minutes[minute])
            to_do -= minutes[minute]
        if not used:
            raise ValueError("No whole minute had enough to do: give more to do.")
        return sum(used) / (limit * len(used))

    @property
    def share_refused(self) -> float:
        """Return which part of the requests was answered with 429."""
        return self.refused / max(1, self.refused + self.requests.total())


def run_paced(load: Load) -> Paced:
    """Work on a load until nothing is left."""
    clock = VirtualClock(START)
    simulator = Simulator(rate_scale=load.scale, time_source=lambda: clock.now().timestamp())
    with simulator.serve() as base_url:
        place = _Place(load, clock, base_url)
        place.fill()
        place.work()
        place.paced.dead_letters = place.count_dead_letters()
        return place.paced


class _CountedTransport(Transport):
    """The network; counts what was answered."""

    def __init__(self, clock: Clock, paced: Paced) -> None:
        self._inner = RequestsTransport()
        self._clock = clock
        self._paced = paced

    @override
    def send(self, request: Request) -> Response:
        # Only the virtual clock counts: a busy machine must not look like a Qualtrics that does not answer.
        response = self._inner.send(replace(request, timeout_seconds=PATIENCE_SECONDS))
        if response.status == 429:
            self._paced.refused += 1
        else:
            end = [part for part in request.path.split("/") if "_" not in part][-1]
            self._paced.requests[_minute(self._clock.now()), f"{request.method} {end}"] += 1
        return response


class _Place:
    """Where a load is worked on."""

    def __init__(self, load: Load, clock: VirtualClock, base_url: str) -> None:
        self.paced = Paced()
        self._load = load
        self._clock = clock
        self._workflow = _workflow()
        self._bucket = MemoryObjects(clock)
        self._queues = LocalQueues(queue_settings(self._workflow), clock)
        self._config = _config(base_url, load.scale if load.share is None else load.share)
        self._transport = _CountedTransport(clock, self.paced)

    def fill(self) -> None:
        """Send the first messages; batches come from their run's own list."""
        load, at = self._load, batches_prefix(f"{RUN}/parse_file")
        for number in range(load.batches):
            self._bucket.put(f"{at}/{batch_name(number)}", _batch(number))
        if load.batches:
            self._send("create_mailing_list", RUN, FileParsed(load.batches, at, load.batches, load.batches, 0))
        for number in range(load.lists):
            self._send("create_mailing_list", f"paced-list{number:08}", FileParsed(0, at, 1, 1, 0))
        if load.invitations:
            created = self._create_list()
            for number in range(load.invitations):
                self._send("schedule_distribution", f"paced-mail{number:08}", created)

    def work(self) -> None:
        """Let the workers work: who is free first takes the next message."""
        workers = [(service, self._step(service)) for service in WORKING for _ in range(self._load.workers)]
        free = [(self._clock.now(), number) for number in range(len(workers))]
        while free:
            at, number = heapq.heappop(free)
            self._clock.advance(max(0.0, (at - self._clock.now()).total_seconds()))
            if (due := self._due(*workers[number])) is not None:
                heapq.heappush(free, (due, number))

    def count_dead_letters(self) -> int:
        """Return how many messages were put aside."""
        return sum(self._queues.dead_letters_of(service).counts().visible for service in CHAIN)

    def _due(self, service: str, step: Step) -> datetime | None:
        """Work on one message; return when the worker is free, None when there will be nothing for it any more."""
        now, queue = self._clock.now(), self._queues.of(service)
        received = queue.receive(max_messages=1)
        for each in received:
            self.paced.deliveries += 1
            self.paced.most_receives = max(self.paced.most_receives, each.receive_count)
            if step.handle(Delivery(each, lambda: 60.0)):
                queue.delete(each.receipt)
        if received:
            return now + timedelta(seconds=self._load.seconds_a_message)
        if any(self._queues.of(each).counts().visible for each in WORKING):
            return now + timedelta(seconds=self._load.seconds_a_message)  # others' work may become ours
        return self._queues.next_due_at()

    def _send(self, service: str, run: str, *facts: Fact) -> None:
        message = Message(self._workflow.name, run, service, WHOLE_RUN, START + MESSAGE_LIFETIME, context=facts)
        self._queues.of(service).send([Outgoing(message.encode())])

    def _create_list(self) -> MailingListCreated:
        """Create a list that invitations can go to, in the minute before the others begin."""
        client = connect(self._config, _secrets(), self._clock)
        name = "paced"
        created = mailing_lists.create(client, EXAMPLE_DIRECTORY_ID, mailing_lists.build_create_body(name))
        self._clock.advance(60)
        return MailingListCreated(created, name)

    def _step(self, service: str) -> Step:
        kind = self._workflow.services[service].step
        step: type[Step] = getattr(import_module(kind.module), kind.class_name)
        return step(
            Wiring(
                workflow=self._workflow,
                service=service,
                config=self._config,
                objects=self._bucket,
                queues=self._queues,
                secrets=_secrets(),
                clock=self._clock,
                transport=self._transport,
            )
        )


def _secrets() -> FixedSecrets:
    return FixedSecrets({"qualtrics_api_token": EXAMPLE_TOKEN})


def _workflow() -> Workflow:
    usual = {"timeout_seconds": 60, "memory_mb": 256, "concurrency": 16, "batch_size": 1, "max_receive_count": 3}
    services: dict[str, dict[str, object]] = {name: {"kind": name, **usual} for name in CHAIN}
    services[CHAIN[0]]["schedule"] = "rate(15 minutes)"
    data = {"name": "paced", "chains": {"contacts": list(CHAIN)}, "services": services}
    return check_workflow(YamlFile(Path("workflow.yml"), data, {}))


def _config(base_url: str, share: float) -> StageConfig:
    mail = {
        "survey_id": EXAMPLE_SURVEY_ID,
        "library_id": EXAMPLE_LIBRARY_ID,
        "message_id": "MS_ExampleInvite01",
        "from_email": "surveys@client.example",
        "from_name": "Client",
        "reply_to_email": "help@client.example",
        "subject": "How was it?",
    }
    qualtrics = {
        "datacenter": "fra1",
        "directory_id": EXAMPLE_DIRECTORY_ID,
        "base_url": base_url,
        "share": share,
    }
    return StageConfig.model_validate(
        {
            "stage": "local",
            "aws_account_id": "111122223333",
            "aws_region": "eu-west-1",
            "alarm_email": "on-call@client.example",
            "qualtrics": qualtrics,
            "services": {"schedule_distribution": mail},
        }
    )


def _batch(number: int) -> bytes:
    """Return a batch of one person."""
    place = Position(0, 2, 1, 1, 0, ",", "utf-8", ("email",))
    person = f'["p{number}@client.example"]'.encode()
    return encode_batch(Batch(number, ("email",), (person,), (2,), place, place, is_last=True))


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
