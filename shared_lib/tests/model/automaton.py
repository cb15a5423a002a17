"""The code's own steps as automata: what a worker does next, given what it was answered so far.

Nothing of the protocol is described anew here. A worker's whole state is the delivery that it works on and the list
of answers that it got. To find out what it does next, the real `handle` is run again from the start on ports that give
these answers and, when they are used up, stop it and say what it asked for. Each run is kept, so that every history is
run once: the histories of a step make a tree, whose nodes are numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import TracebackType
from typing import Any, ClassVar, NamedTuple

import orjson
from typing_extensions import override

from qualtrics_etl import catalogue
from qualtrics_etl.catalogue import Kind
from qualtrics_etl.errors import (
    NotYetError,
    OutcomeUnknownError,
    PermanentError,
    PreconditionFailedError,
    RetryableError,
)
from qualtrics_etl.ledger import Entry, How, Output, entry_key
from qualtrics_etl.messages import (
    WHOLE_RUN,
    ContactsImported,
    Fact,
    FileFetched,
    FileParsed,
    MailingListCreated,
    Message,
)
from qualtrics_etl.ports import (
    Clock,
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
from qualtrics_etl.qualtrics import Unpaced
from qualtrics_etl.settings import StageConfig
from qualtrics_etl.steps.base import CAUSE_ATTRIBUTE, Delivery, Step, Wiring
from qualtrics_etl.steps.calling import CallingStep
from qualtrics_etl.steps.outcomes import Ended, Prepared, Started, StillRunning
from qualtrics_etl.steps.repeatable import RepeatableStep
from qualtrics_etl.workflow import Service, Workflow

TICK_SECONDS = 60
"""The model's clock moves in steps of a function's time-out; lease and settle time are two of them."""
MAX_RECEIVES = 2
PATIENCE = 2
"""Ticks that a job may run before somebody should look."""
START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
RUN = "acme-etl-0123456789ab"
BATCHES_AT = f"payloads/{RUN}/batches"
FOLLOWING = "following"


# --- what a worker can ask for ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Read:
    """Get the ledger's entry."""


@dataclass(frozen=True, slots=True)
class Write:
    """Put the ledger's entry: `etag` is the version that must be there, "" for none, None for any."""

    etag: str | None
    body: bytes
    is_body_stored: bool


@dataclass(frozen=True, slots=True)
class Call:
    """The one call to Qualtrics; `key` is what its effect can be found by."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Search:
    """Look at what Qualtrics' lists show: number and key of each effect, in turn."""


@dataclass(frozen=True, slots=True)
class Check:
    """Ask whether a repeat is harmless: whether the directory de-duplicates."""


@dataclass(frozen=True, slots=True)
class Look:
    """Ask how a job is doing."""

    job: int


@dataclass(frozen=True, slots=True)
class Work:
    """Do work that may be repeated."""


@dataclass(frozen=True, slots=True)
class Send:
    """Tell the next service."""

    body: str


@dataclass(frozen=True, slots=True)
class Resend:
    """Send the message to the own queue again: it was deferred."""

    generation: int


@dataclass(frozen=True, slots=True)
class Bury:
    """Send the message to the dead-letter queue."""

    generation: int
    error: str


@dataclass(frozen=True, slots=True)
class NewNonce:
    """Ask for a nonce."""


@dataclass(frozen=True, slots=True)
class NewBody:
    """Ask for what tells a request from those that other attempts would build."""


@dataclass(frozen=True, slots=True)
class AskTime:
    """Ask how much of the function's time is left."""


@dataclass(frozen=True, slots=True)
class End:
    """Return from `handle`; when settled, the queue is told to forget the message."""

    settled: bool


Answer = tuple[str | bytes | int, ...]
Op = Read | Write | Call | Search | Check | Look | Work | Send | Resend | Bury | NewNonce | NewBody | AskTime | End


class Msg(NamedTuple):
    """A message of the model: what of a real one can change what a step does.

    Attributes:
        generation: As in the envelope.
        looked: Whether it was deferred before.
        letter: Whether it carries the cause of a dead letter that was sent back as it was.
        receives: How often it was received, this time included where it is being worked on.
    """

    generation: int = 0
    looked: bool = False
    letter: bool = False
    receives: int = 0


# --- the ports that play a history back -------------------------------------------------------------------------------


class _Pause(BaseException):  # not an Exception: no clean-up of the code runs on it
    def __init__(self, op: Op) -> None:
        self.op = op


ERRORS: Mapping[str, Callable[[], Exception]] = {
    "silent": lambda: RetryableError("The store did not answer.", call_made=False),
    "refused": lambda: PreconditionFailedError("412"),
    "timed out": lambda: RetryableError("No answer in time.", call_made=True),
    "not connected": lambda: RetryableError("Nothing was sent.", call_made=False),
    "throttled": lambda: NotYetError("429", delay_seconds=60),
    "rejected": lambda: PermanentError("400"),
}
"""What a worker can be told by an exception."""


BODIES: dict[str, bytes] = {}
"""What was stored beside the entry, by key."""
NUMBERS: dict[bytes, int] = {}
"""The number that each request was built with."""


class Tape:
    """The answers of a history, in order."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers
        self._at = 0
        self._new_body = 0
        self.stored: set[str] = set()

    def new_body(self) -> int:
        """Return a number that tells the request that is built now from all others."""
        self._new_body = int(self.ask(NewBody())[1])
        return self._new_body

    def put(self, key: str, body: bytes) -> None:
        """Store a request body."""
        self.stored.add(key)
        BODIES[key], NUMBERS[body] = body, self._new_body

    def ask(self, op: Op) -> Any:
        """Return the next answer, or stop the worker here."""
        if self._at == len(self._answers):
            raise _Pause(op)
        answer = self._answers[self._at]
        self._at += 1
        if answer[0] in ERRORS:
            raise ERRORS[answer[0]]()  # type: ignore[index]
        return answer


class TapeApi:
    """Qualtrics, as a step of the model sees it."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def new_body(self) -> bytes:
        """Return a request that no other attempt would build: dates and code differ between them."""
        return b"body %d" % self._tape.new_body()

    def call(self, key: str, body: bytes) -> str:
        """Make the call; return the id of what came of it."""
        return str(self._tape.ask(Call(key, body))[1])

    def search(self, key: str) -> str | None:
        """Return the id of an earlier effect, or None."""
        _, *listed = self._tape.ask(Search())
        return next(
            (str(number) for number, found in zip(listed[::2], listed[1::2], strict=True) if found == key), None
        )

    def deduplicates(self) -> bool:
        """Return whether a repeat is harmless."""
        return bool(self._tape.ask(Check())[0] == "yes")

    def look(self, job: str) -> str:
        """Return how a job is doing: `running`, `ended well` or `ended badly`."""
        return str(self._tape.ask(Look(int(job)))[0])

    def work(self) -> None:
        """Do work that may be repeated."""
        self._tape.ask(Work())


class TapeObjects(ObjectStore):
    """The store: the entry is asked for; request bodies, whose keys are their hashes, are simply there once put."""

    def __init__(self, tape: Tape, key: str) -> None:
        self._tape = tape
        self._key = key

    @override
    def get(self, key: str) -> StoredObject | None:
        if key != self._key:
            return StoredObject(key, BODIES[key], "", START, START)
        answer = self._tape.ask(Read())
        if answer[0] == "nothing":
            return None
        _, body, etag, written, read = answer
        return StoredObject(key, body, etag, at_tick(written), at_tick(read))

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        if key != self._key:
            self._tape.put(key, body)
            return PutResult("", START)
        is_stored = orjson.loads(body)["request_key"] in {None, *self._tape.stored}
        _, etag, written = self._tape.ask(Write("" if if_none_match else if_match, body, is_stored))
        return PutResult(etag, at_tick(written))

    @override
    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectSummary]:
        raise AssertionError("The model's steps list nothing.")

    open = put_stream = delete = list  # type: ignore[assignment]  # noqa: A003 - the port's names


class TapeQueue(Queue):
    """A queue that can only be sent to."""

    def __init__(self, tape: Tape, name: str) -> None:
        self._tape = tape
        self._name = name

    @property
    @override
    def name(self) -> str:
        return self._name

    @property
    @override
    def fifo(self) -> bool:
        return False

    @override
    def send(self, messages: Sequence[Outgoing]) -> None:
        (sent,) = messages
        if self._name == FOLLOWING:
            self._tape.ask(Send(sent.body))
        elif self._name == "letters":
            self._tape.ask(Bury(Message.decode(sent.body).generation, sent.attributes["error"]))
        else:
            self._tape.ask(Resend(Message.decode(sent.body).generation))

    @override
    def change_visibility(self, receipt: str, seconds: int) -> None:
        """Nothing to ask: in the model a message may come back at any time."""

    @override
    def receive(self, *, max_messages: int = 10, wait_seconds: int = 0) -> list[Received]:
        raise AssertionError("A step receives nothing by itself.")

    delete = counts = receive  # type: ignore[assignment]


class TapeQueues(Queues):
    """The queues of the model's workflow."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    @override
    def of(self, service: str) -> Queue:
        return TapeQueue(self._tape, service)

    @override
    def dead_letters_of(self, service: str) -> Queue:
        return TapeQueue(self._tape, "letters")


class _Clock(Clock):
    """A worker's clock, which leases must not depend on: it stands still."""

    @override
    def now(self) -> datetime:
        return START

    @override
    def sleep(self, seconds: float) -> None:
        """No time passes between two tries of a call."""


def at_tick(tick: int) -> datetime:
    """Return the time of a tick."""
    return START + timedelta(seconds=tick * TICK_SECONDS)


# --- the steps of the model: real ones, with the smallest call there is -----------------------------------------------


class Searching(CallingStep):
    """A step whose earlier call is looked for, as `create_mailing_list` and the two that schedule."""

    kind: ClassVar[Kind] = catalogue.CREATE_MAILING_LIST

    @override
    def _prepare(self, message: Message, key: str) -> Prepared:
        return Prepared(self._api.new_body())

    @override
    def _call(self, body: bytes, key: str, message: Message, notes: Mapping[str, int]) -> MailingListCreated:
        return MailingListCreated(self._api.call(key, body), "list")

    @override
    def _reconcile(self, body: bytes, key: str, message: Message) -> MailingListCreated | None:
        found = self._api.search(key)
        return None if found is None else MailingListCreated(found, "list")

    @property
    def _api(self) -> TapeApi:
        assert isinstance(self._wiring.transport, TapeApi)
        return self._wiring.transport


class Importing(CallingStep):
    """A step whose call starts a job, and may be repeated where the directory de-duplicates: `import_contacts`."""

    kind: ClassVar[Kind] = catalogue.IMPORT_CONTACTS
    may_repeat: ClassVar[bool] = True

    @override
    def _prepare(self, message: Message, key: str) -> Prepared:
        return Prepared(self._api.new_body())

    @override
    def _call(self, body: bytes, key: str, message: Message, notes: Mapping[str, int]) -> Started:
        return Started(self._api.call(key, body), TICK_SECONDS)

    @override
    def _look(self, job_id: str, message: Message, entry: Entry, delivery: Delivery) -> Ended | StillRunning:
        answer = self._api.look(job_id)
        if answer == "running":
            return StillRunning(TICK_SECONDS)
        if answer == "ended badly":
            raise PermanentError("The job has failed.")
        return Ended(ContactsImported(job_id, 1, 0, 0, 0, 0))

    @override
    def _check_repeatable(self, message: Message) -> None:
        if not self._api.deduplicates():
            raise OutcomeUnknownError("Whether it was imported is unknown.")

    @property
    @override
    def _patience_seconds(self) -> float:
        return PATIENCE * TICK_SECONDS

    @property
    def _api(self) -> TapeApi:
        assert isinstance(self._wiring.transport, TapeApi)
        return self._wiring.transport


class Repeating(RepeatableStep):
    """A step whose work may be repeated, as `fetch_sftp_file` and `parse_file`."""

    kind: ClassVar[Kind] = catalogue.PARSE_FILE

    @override
    def _work(self, message: Message, delivery: Delivery) -> Ended:
        assert isinstance(self._wiring.transport, TapeApi)
        self._wiring.transport.work()
        return Ended(FileFetched("contacts.csv", "key", 1, "0" * 64))


def _workflow(kind: Kind) -> Workflow:
    usual: dict[str, Any] = {
        "kind": kind.name,
        "timeout_seconds": TICK_SECONDS,
        "memory_mb": 256,
        "concurrency": 2,
        "batch_size": 1,
        "max_receive_count": MAX_RECEIVES,
    }
    services = {name: Service.model_validate(usual) for name in (kind.name, FOLLOWING)}
    chains = {"only": (kind.name, FOLLOWING)}
    return Workflow("acme-etl", chains, services, {kind.name: (FOLLOWING,), FOLLOWING: ()})


CONFIG = StageConfig.model_validate(
    {
        "stage": "local",
        "aws_account_id": "111122223333",
        "aws_region": "eu-west-1",
        "alarm_email": "on-call@client.example",
        "qualtrics": {"datacenter": "fra1", "directory_id": "POOL_ExampleDirector"},
    }
)


@dataclass(frozen=True, slots=True)
class Node:
    """A history of a worker.

    Attributes:
        msg: What it was delivered.
        answers: What it was answered.
        op: What it asks for now.
        written: The entry that it put last; empty before.
        nonces: The nonces that it remembers.
        bodies: The numbers of the requests that it remembers.
        children: The histories that go on from here, by answer.
    """

    msg: Msg
    answers: tuple[Answer, ...]
    op: Op
    written: bytes
    nonces: frozenset[int]
    bodies: frozenset[int]
    children: dict[Answer, int] = field(default_factory=dict)


class Automaton:
    """The histories of one class of step, run on demand, each once."""

    def __init__(
        self,
        step: type[Step],
        *facts: Fact,
        connect: Callable[[Tape], object] = TapeApi,
        config: StageConfig = CONFIG,
        secrets: Secrets | None = None,
    ) -> None:
        self._step, self._connect, self._config, self._secrets = step, connect, config, secrets
        self.makes_jobs = issubclass(step, CallingStep) and step.may_repeat
        self._workflow = _workflow(step.kind)
        self.key = entry_key(RUN, step.kind.name, WHOLE_RUN)
        self._roots: dict[Msg, int] = {}
        self._known: dict[tuple[object, ...], int] = {}
        self.nodes: list[Node] = []
        self.histories = 0
        context = (FileParsed(1, BATCHES_AT, 1, 1, 0), *facts)
        expires = START + timedelta(days=30)
        message = Message("acme-etl", RUN, step.kind.name, WHOLE_RUN, expires, context=context)
        self._message = orjson.loads(message.encode())
        self.following = (Output(How.SEND, message.after(FOLLOWING).encode()),)

    def start(self, msg: Msg) -> int:
        """Return the history of a worker that was just given a message."""
        if msg not in self._roots:
            self._roots[msg] = self._add(msg, (), b"")
        return self._roots[msg]

    def advance(self, number: int, answer: Answer) -> int:
        """Return the history that goes on with an answer."""
        node = self.nodes[number]
        after = node.children.get(answer)
        if after is None:
            written = node.op.body if isinstance(node.op, Write) else node.written
            after = node.children[answer] = self._add(node.msg, (*node.answers, answer), written)
        return after

    def _add(self, msg: Msg, answers: tuple[Answer, ...], written: bytes) -> int:
        """Return the number of a history: that of one in whose every frame the same values stand, if there is one."""
        op, memory = self._run(msg, answers)
        known = (msg, op, written, memory.state)
        number = self._known.get(known)
        if number is None:
            number = self._known[known] = len(self.nodes)
            self.nodes.append(Node(msg, answers, op, written, frozenset(memory.nonces), frozenset(memory.bodies)))
        self.histories += 1
        return number

    def _run(self, msg: Msg, answers: tuple[Answer, ...]) -> tuple[Op, Memory]:
        tape = Tape(answers)
        wiring = Wiring(
            workflow=self._workflow,
            service=self._step.kind.name,
            config=self._config,
            objects=TapeObjects(tape, self.key),
            queues=TapeQueues(tape),
            secrets=self._secrets,  # type: ignore[arg-type]  # the model's own steps have none
            clock=_Clock(),
            new_nonce=lambda: str(tape.ask(NewNonce())[1]),
            transport=self._connect(tape),  # type: ignore[arg-type]  # the model's own steps call another thing
            pace=Unpaced(),  # a request that has to wait for its minute ends as one that is throttled does
        )
        body = orjson.dumps({**self._message, "generation": msg.generation, "looks": int(msg.looked)}).decode()
        attributes = {CAUSE_ATTRIBUTE: "why"} if msg.letter else {}
        received = Received("message", "receipt", body, attributes, msg.receives)

        def remaining() -> float:
            return float(tape.ask(AskTime())[0] == "plenty") * TICK_SECONDS

        try:
            return End(self._step(wiring).handle(Delivery(received, remaining))), Memory()
        except _Pause as pause:
            memory = Memory(tape.stored)
            memory.lookat_tick(pause.__traceback__)
            return pause.op, memory


class Memory:
    """What a stopped worker remembers: the code's place in every frame, and the values of its variables.

    Two workers with the same memory do the same from here on, whatever they have been through. What has no value (the
    step, its ports, functions) is made anew for each run, and left out; what a step counts is not.
    """

    def __init__(self, stored: Iterable[str] = ()) -> None:
        self.nonces: set[int] = set()
        self.bodies: set[int] = set()
        self.state: tuple[object, ...] = tuple(sorted(stored))

    def lookat_tick(self, trace: TracebackType | None) -> None:
        """Take in the frames of a worker that was stopped."""
        while trace is not None:
            frame, place = trace.tb_frame, trace.tb_lasti
            if frame.f_globals["__name__"] != __name__:
                values = tuple((name, self._value(value)) for name, value in sorted(frame.f_locals.items()))
                self.state += ((frame.f_code, place, values),)
            trace = trace.tb_next

    def _value(self, value: object) -> object:
        match value:
            case None | bool() | int() | float() | str() | bytes() | datetime() | Enum():
                return value
            case Step():
                return value._failures_counted
            case Exception():
                return (type(value), str(value), tuple((name, str(each)) for name, each in vars(value).items()))
            case Delivery() | Received() | Message() | Wiring() | Service() | Workflow():
                return None  # the same for all who work on the same message
            case Entry() if value.nonce:
                self.nonces.add(int(value.nonce))
            case tuple() | list():
                return tuple(map(self._value, value))
            case dict():
                return tuple((name, self._value(each)) for name, each in value.items())
        if isinstance(value, Entry) and value.request_key:
            self.bodies.add(body_number(value.request_key))
        if is_dataclass(value):
            return (type(value), *(self._value(getattr(value, each.name)) for each in fields(value)))
        return type(value)


def body_number(key: str) -> int:
    """Return the number of the request body that is stored under a key."""
    return NUMBERS[BODIES[key]]


def silence() -> Callable[[], None]:
    """Turn the steps' log off, which a hundred thousand runs would fill; return what turns it on again."""
    logger = logging.getLogger("qualtrics_etl")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    return lambda: logger.setLevel(before)
