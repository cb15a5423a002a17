"""The world of the model: frozen values, what can happen in them, and what must never happen.

Time moves in ticks of 60 s: a worker may act until a tick after it began, a lease (120 s) and the settle time (120 s)
last two. All times are ages, cut off where no decision can change any more, so that the worlds are finitely many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import NamedTuple

from qualtrics_etl.ledger import Entry, Held, State
from qualtrics_etl.messages import WHOLE_RUN
from qualtrics_etl.steps.calling import SETTLE_SECONDS
from qualtrics_etl.steps.waivers import refusal_of, waived

from .automaton import (
    BODIES,
    MAX_RECEIVES,
    NUMBERS,
    PATIENCE,
    START,
    TICK_SECONDS,
    Answer,
    AskTime,
    Automaton,
    Bury,
    Call,
    Check,
    End,
    Look,
    Msg,
    NewBody,
    NewNonce,
    Node,
    Read,
    Resend,
    Search,
    Send,
    Work,
    Write,
    at_tick,
    body_number,
)

SETTLE = SETTLE_SECONDS // TICK_SECONDS
WORKERS = 2
_ENDS = (State.DONE, State.WAIVED)


class Stored(NamedTuple):
    """The ledger's entry.

    Attributes:
        blob: Number of its content, `quiet_since` left out.
        quiet: Ticks since its `quiet_since`, at most `SETTLE`; -1 for none.
        age: Ticks since it was written, as long as it matters.
    """

    blob: int
    quiet: int
    age: int


class Letter(NamedTuple):
    """A message in the dead-letter queue; without an error when the queue itself gave it up."""

    generation: int
    looked: bool
    error: str


class Worker(NamedTuple):
    """A function at work: its history, and for how many ticks it has run."""

    node: int
    age: int


class Effect(NamedTuple):
    """What a call did at Qualtrics.

    Attributes:
        key: What it can be found by.
        body: The request.
        hidden: For how many ticks more lists may not show it, or it may not have landed at all; 0 is there to see.
        job: `running`, `ended well` or `ended badly`; empty where there is no job.
    """

    key: str
    body: bytes
    hidden: int
    job: str


class World(NamedTuple):
    """All there is.

    Attributes:
        entry: In the ledger.
        queue: Messages that can be delivered, sorted.
        letters: The dead-letter queue, sorted.
        workers: Those at work, sorted.
        effects: In the order in which they came.
        sent: Whether the next service was told.
        answered: Whether a person sent back a message whose outcome was unknown.
        faults: How many more may come.
        copies: How many more second deliveries.
        redrives: How many more dead letters are sent back.
        waivers: How many more times a person may give the work up.
    """

    entry: Stored | None
    queue: tuple[Msg, ...]
    letters: tuple[Letter, ...]
    workers: tuple[Worker, ...]
    effects: tuple[Effect, ...]
    sent: bool
    answered: bool
    faults: int
    copies: int
    redrives: int
    waivers: int


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that does not hold after an action."""

    promise: str


Step = tuple[tuple[str, ...], World | Broken]
"""An action in words, and what it leads to."""


def beginning(*, faults: int, copies: int = 1, redrives: int = 1, waivers: int = 0) -> World:
    """Return the world in which one message waits, and nothing has happened."""
    return World(None, (Msg(),), (), (), (), False, False, faults, copies, redrives, waivers)


class Blobs:
    """The contents of entries as numbers.

    What no decision depends on is made small: how many attempts there were, and failures beyond the limit.
    """

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self.entries: list[Entry] = []
        self.nonces: list[frozenset[int]] = []
        self.bodies: list[frozenset[int]] = []

    def store(self, body: bytes, tick: int) -> tuple[int, int]:
        """Return number and `quiet` of a body that a worker puts in its own tick `tick`."""
        return self._stored(body, tick)

    def body(self, blob: int, quiet: int, tick: int) -> bytes:
        """Return the body as a worker reads it in its own tick `tick`."""
        return self._body(blob, quiet, tick)

    @cache  # noqa: B019 - lives as long as the exploration
    def _stored(self, body: bytes, tick: int) -> tuple[int, int]:
        entry = Entry.decode(body)
        quiet = -1
        if entry.quiet_since is not None:
            seconds = (START + timedelta(seconds=tick * TICK_SECONDS) - entry.quiet_since).total_seconds()
            quiet = min(SETTLE, round(seconds) // TICK_SECONDS)
        failures = (entry.failures - 1) % MAX_RECEIVES + 1 if entry.failures else 0
        small = replace(entry, quiet_since=None, attempt=min(entry.attempt, 2), failures=failures)
        if entry.state in (State.DONE, State.FAILED, State.WAIVED):
            # Nothing is asked of an end but what it is.
            quiet = -1
            small = Entry(
                entry.state,
                entry.generation,
                nonce=entry.nonce,
                job_id=entry.job_id,
                fact=entry.fact,
                outputs=entry.outputs,
                cause=entry.cause,
            )
        key = small.encode()
        if key not in self._numbers:
            self._numbers[key] = len(self.entries)
            self.entries.append(small)
            self.nonces.append(frozenset({int(small.nonce)}))
            self.bodies.append(frozenset({body_number(small.request_key)} if small.request_key else ()))
        return self._numbers[key], quiet

    @cache  # noqa: B019
    def _body(self, blob: int, quiet: int, tick: int) -> bytes:
        since = None if quiet < 0 else START + timedelta(seconds=(tick - quiet) * TICK_SECONDS)
        return replace(self.entries[blob], quiet_since=since).encode()


class Rules:
    """What can happen, for one class of step.

    Args:
        repeats_harmlessly: Whether the directory de-duplicates: a second effect is then no harm.
        settle: For how many ticks lists may lag behind. A number above the code's own settle time breaks its
            assumption.
        refuse: Why an entry can't be waived, as the code says it.
    """

    def __init__(
        self,
        automaton: Automaton,
        *,
        repeats_harmlessly: bool = False,
        settle: int = SETTLE,
        refuse: Callable[[Held | None, str], str] = refusal_of,
    ) -> None:
        self.automaton = automaton
        self._nodes = automaton.nodes
        self._repeats = repeats_harmlessly
        self._settle = settle
        self._refuse = refuse
        self._blobs = Blobs()

    def entry(self, world: World) -> Entry | None:
        """Return the ledger's entry, `quiet_since` left out."""
        return None if world.entry is None else self._blobs.entries[world.entry.blob]

    # --- what can happen --------------------------------------------------------------------------------------------

    def after(self, world: World) -> Iterator[Step]:
        """Yield each thing that can happen next, in words, with the world after it."""
        for words, after in self._raw(world):
            yield words, after if isinstance(after, Broken) else self._tidied(after)

    def _raw(self, world: World) -> Iterator[Step]:
        late = next((index for index, worker in enumerate(world.workers) if self._is_late(world, worker)), None)
        if late is not None:
            yield from self._worker(world, late)
            return
        yield from self._deliveries(world)
        for index in range(len(world.workers)):
            yield from self._worker(world, index)
        yield from self._elsewhere(world)
        yield from self._time(world)

    def _is_late(self, world: World, worker: Worker) -> bool:
        """Whether a worker is about to put over a version that is gone.

        That will be refused, whenever it comes, and changes nothing for anybody: so it is let come at once.
        """
        op = self._nodes[worker.node].op
        there = "" if world.entry is None else str(world.entry.blob)
        return isinstance(op, Write) and op.etag is not None and op.etag != there

    def _worker(self, world: World, index: int) -> Iterator[Step]:
        worker = world.workers[index]
        others = world._replace(workers=world.workers[:index] + world.workers[index + 1 :])
        yield from self._moves(others, worker)
        if world.faults:
            yield (self._name(worker), "is killed"), self._gone(_faulty(others), worker)

    def _tidied(self, world: World) -> World:
        """Forget what nothing depends on any more, so that worlds that go on alike are one."""
        entry = self.entry(world)
        if entry is None or world.entry is None:
            return world
        stored, effects = world.entry, world.effects
        oldest = self._oldest(entry, stored)
        if stored.age > oldest:
            stored = stored._replace(age=oldest)
        if entry.state in _ENDS and any(effect.hidden for effect in effects):
            effects = tuple(effect._replace(hidden=0) for effect in effects)
        return world._replace(entry=stored, effects=effects)

    def _oldest(self, entry: Entry, stored: Stored) -> int:
        """Return the age after which it changes no decision how old an entry is."""
        if entry.state is State.STARTED:
            return PATIENCE + 1
        if entry.state is not State.INTENT:
            return 0
        lease = -(-entry.lease_seconds // TICK_SECONDS)
        return lease + (SETTLE if entry.call_possible and stored.quiet < 0 else 0)

    def _deliveries(self, world: World) -> Iterator[Step]:
        for index, msg in enumerate(world.queue):
            if index and msg == world.queue[index - 1]:
                continue
            rest = world._replace(queue=world.queue[:index] + world.queue[index + 1 :])
            if msg.receives >= MAX_RECEIVES:
                letter = Letter(msg.generation, msg.looked, "sent back" if msg.letter else "")
                yield ("the queue gives up", _said(msg)), _with_letter(rest, letter)
            elif len(world.workers) < WORKERS:
                given = msg._replace(receives=msg.receives + 1)
                worker = Worker(self.automaton.start(given), 0)
                words = (_said(msg), "is delivered")
                yield from self._go_on(words, rest, worker)
                if world.copies:
                    again = rest._replace(copies=world.copies - 1, queue=_sorted((*rest.queue, given)))
                    yield from self._go_on((*words, "and stays in the queue"), again, worker)

    def _taken_nonces(self, world: World) -> frozenset[int]:
        """Return the nonces that somebody remembers, so that two writings are never taken for one."""
        taken = frozenset[int]() if world.entry is None else self._blobs.nonces[world.entry.blob]
        for worker in world.workers:
            taken |= self._nodes[worker.node].nonces
        return taken

    def _taken_bodies(self, world: World) -> frozenset[int]:
        taken = frozenset(NUMBERS[effect.body] for effect in world.effects if effect.body in NUMBERS)
        if world.entry is not None:
            taken |= self._blobs.bodies[world.entry.blob]
        for worker in world.workers:
            taken |= self._nodes[worker.node].bodies
        return taken

    def _is_mine(self, world: World, node: Node) -> bool:
        """Whether the entry is what this worker wrote last."""
        return (
            world.entry is not None and bool(node.written) and self._blobs.store(node.written, 0)[0] == world.entry.blob
        )

    def _elsewhere(self, world: World) -> Iterator[Step]:
        for index, effect in enumerate(world.effects):
            if effect.hidden:
                yield (f"lists show effect {index}",), _with_effect(world, index, effect._replace(hidden=0))
            if effect.job == "running":
                for end in ("ended well", "ended badly") if world.faults else ("ended well",):
                    done = _faulty(world) if end == "ended badly" else world
                    yield (f"job {index} has {end}",), _with_effect(done, index, effect._replace(job=end))
        if world.waivers:
            yield from self._waivers(world)
        for index, letter in enumerate(world.letters if world.redrives else ()):
            if index and letter == world.letters[index - 1]:
                continue
            unknown = letter.error == "OutcomeUnknownError"
            msg = Msg(letter.generation, letter.looked, letter=bool(letter.error))
            back = world._replace(
                letters=world.letters[:index] + world.letters[index + 1 :],
                queue=_sorted((*world.queue, msg)),
                redrives=world.redrives - 1,
                answered=world.answered or unknown,
            )
            yield (f"a person sends back the dead letter of generation {letter.generation}",), back

    def _waivers(self, world: World) -> Iterator[Step]:
        """A person gives the work up, as the command does: at once, since a put over another version is refused.

        The marks are sent with it, or the command dies before that. That a mark is one for a fan-in is left to other
        tests: here it is the message that an end sends on.
        """
        entry, stored = self.entry(world), world.entry
        held = None
        if entry is not None and stored is not None:
            held = Held(self.automaton.key, entry, str(stored.blob), START, at_tick(stored.age))
        if (entry is not None and entry.state is State.WAIVED) or self._refuse(held, WHOLE_RUN):
            return
        if entry is not None and entry.state is State.DONE:
            yield ("a person waives it",), Broken("what is done stays done")
            return
        nonce = next(number for number in range(100) if number not in self._taken_nonces(world))
        waiver = replace(waived(entry, "why", None, self.automaton.following), nonce=str(nonce))
        blob, quiet = self._blobs.store(waiver.encode(), 0)
        after = world._replace(entry=Stored(blob, quiet, 0), waivers=world.waivers - 1)
        yield ("a person waives it",), after._replace(sent=True)
        yield ("a person waives it, and the command dies",), after

    def _time(self, world: World) -> Iterator[Step]:
        """A tick passes; who has used up its time is killed, which is a fault like any other."""
        staying = tuple(Worker(worker.node, 1) for worker in world.workers if not worker.age)
        over = [worker for worker in world.workers if worker.age]
        entry, stored = self.entry(world), world.entry
        if len(over) > world.faults or (entry is not None and entry.state in _ENDS):
            return
        if stored is not None:
            quiet = stored.quiet if stored.quiet < 0 else min(SETTLE, stored.quiet + 1)
            stored = stored._replace(age=stored.age + 1, quiet=quiet)
        effects = tuple(effect._replace(hidden=max(0, effect.hidden - 1)) for effect in world.effects)
        later = world._replace(entry=stored, effects=effects, workers=staying, faults=world.faults - len(over))
        for worker in over:
            later = self._gone(later, worker)
        names = " and ".join(self._name(worker) for worker in over)
        yield ("a minute passes", *([f"and {names} is killed by the time-out"] if over else [])), later

    # --- what a worker does -----------------------------------------------------------------------------------------

    def _moves(self, world: World, worker: Worker) -> Iterator[Step]:
        """Yield what comes of what a worker asks for; `world` is without it."""
        node, me = self._nodes[worker.node], self._name(worker)
        for words, after, answer in self._answers(world, worker, node):
            if isinstance(after, Broken):
                yield (me, words), after
            else:
                yield from self._go_on(
                    (me, words), after, Worker(self.automaton.advance(worker.node, answer), worker.age)
                )

    def _answers(self, world: World, worker: Worker, node: Node) -> Iterator[tuple[str, World | Broken, Answer]]:
        """Yield what happens to what a worker asks for, and what it is told."""
        op, fault = node.op, _faulty(world) if world.faults else None
        match op:
            case Write():
                yield from self._writes(world, fault, worker, node, op)
            case Call():
                yield from self._calls(world, fault, node, op)
            case Search():
                seen = [(str(i), effect.key) for i, effect in enumerate(world.effects) if not effect.hidden]
                words = f"sees {', '.join(f'effect {i}' for i, _ in seen) or 'nothing'} in the lists"
                yield words, world, ("listed", *(text for pair in seen for text in pair))
                if fault:
                    yield "searches the lists, without answer", fault, ("not connected",)
                    yield "searches the lists, and is refused", fault, ("rejected",)
            case Check():
                yield "asks whether a repeat is harmless", world, ("yes" if self._repeats else "no",)
                if fault:
                    yield "asks whether a repeat is harmless, without answer", fault, ("not connected",)
            case Look():
                job = world.effects[op.job].job
                yield f"looks at job {op.job}, which is {job}", world, ("rejected",) if job == "ended badly" else (job,)
                if fault:
                    yield f"looks at job {op.job}, without answer", fault, ("not connected",)
            case Work():
                yield "does the work", world, ("worked",)
                if fault:
                    yield "does the work, and fails", fault, ("not connected",)
                    yield "does the work, which is refused", fault, ("rejected",)
            case _:
                raise AssertionError(f"{op} is done at once.")

    def _read(self, world: World, worker: Worker, node: Node) -> Answer:
        if world.entry is None:
            return ("nothing",)
        entry = world.entry
        body = self._blobs.body(entry.blob, entry.quiet, worker.age)
        if self._is_mine(world, node):
            body = node.written  # its own writing it reads back byte for byte, though old times are cut off
        return ("found", body, str(entry.blob), worker.age - entry.age, worker.age)

    def _writes(
        self, world: World, fault: World | None, worker: Worker, node: Node, op: Write
    ) -> Iterator[tuple[str, World | Broken, Answer]]:
        there = "" if world.entry is None else str(world.entry.blob)
        blob, quiet = self._blobs.store(op.body, worker.age)
        entry = self._blobs.entries[blob]
        words = f"puts `{entry.state.value}` of generation {entry.generation}"
        if op.etag is not None and op.etag != there:
            yield f"{words}, which is refused", world, ("refused",)
            if fault:
                yield f"{words}, without answer", fault, ("silent",)
            return
        if (broken := self._broken_by_write(world, node, op, entry)) is not None:
            yield words, broken, ()
            return
        stored = Stored(blob, quiet, 0)
        yield words, world._replace(entry=stored), ("stored", str(blob), worker.age)
        if fault:
            yield f"{words}, and is not answered", fault._replace(entry=stored), ("silent",)
            yield f"{words}, which is lost", fault, ("silent",)

    def _calls(
        self, world: World, fault: World | None, node: Node, op: Call
    ) -> Iterator[tuple[str, World | Broken, Answer]]:
        number, is_job = len(world.effects), self.automaton.makes_jobs
        effect = Effect(op.key, op.body, *((0, "running") if is_job else (self._settle, "")))
        landed = world._replace(effects=(*world.effects, effect))
        words = f"calls Qualtrics, which makes effect {number}"
        if (broken := self._broken_by_call(world, node, op) or self._broken_by_effect(landed)) is not None:
            yield words, broken, ()
            return
        yield words, landed, ("made", str(number))
        if fault:
            yield f"{words}, but gets no answer", _faulty(landed), ("timed out",)
            for error in ("timed out", "not connected", "throttled", "rejected"):
                yield f"calls Qualtrics, which does nothing: {error}", fault, (error,)

    def _go_on(self, words: tuple[str, ...], world: World, worker: Worker) -> Iterator[Step]:
        """Put a worker back into the world, past what nobody else can notice.

        Sending and acknowledging are done at once, with all that can go wrong: a message that comes into a queue
        sooner can still be delivered at any time later, so nothing that can happen is left out. Reading is done at
        once: who reads later was delivered later.
        """
        node = self._nodes[worker.node]
        if isinstance(node.op, NewNonce | NewBody | Read | AskTime):
            for said, after, answer in self._given(world, worker, node):
                following = Worker(self.automaton.advance(worker.node, answer), worker.age)
                yield from self._go_on((*words, *said), after, following)
            return
        if not isinstance(node.op, Send | Resend | Bury | End):
            yield words, world._replace(workers=tuple(sorted((*world.workers, worker))))
            return
        if node.op == End(False):
            yield words, self._gone(world, worker)
            return
        if world.faults:
            yield (*words, "and is killed"), self._gone(_faulty(world), worker)
        if node.op == End(True):
            yield (*words, "and acknowledges"), self.broken(world) or world
            return
        said, sent = self._sent(world, node)
        words = (*words, said)
        if isinstance(sent, Broken):
            yield words, sent
            return
        done = Worker(self.automaton.advance(worker.node, ("sent",)), worker.age)
        yield from self._go_on(words, sent, done)
        if world.faults:
            unsure = Worker(self.automaton.advance(worker.node, ("silent",)), worker.age)
            yield from self._go_on((*words, "(lost)"), _faulty(world), unsure)
            yield from self._go_on((*words, "(not answered)"), _faulty(sent), unsure)

    def _given(self, world: World, worker: Worker, node: Node) -> Iterator[tuple[tuple[str, ...], World, Answer]]:
        """Yield what a worker is told at once."""
        match node.op:
            case NewNonce():
                taken = node.nonces | self._taken_nonces(world)
                yield (), world, ("nonce", next(number for number in range(100) if number not in taken))
            case NewBody():
                taken = node.bodies | self._taken_bodies(world)
                yield (), world, ("body", next(number for number in range(100) if number not in taken))
            case Read():
                yield ("and reads the entry",), world, self._read(world, worker, node)
                if world.faults:
                    yield ("and reads the entry, without answer",), _faulty(world), ("silent",)
            case AskTime():
                yield (), world, ("plenty",)
                yield ("and has too little time left",), world, ("little",)

    def _sent(self, world: World, node: Node) -> tuple[str, World | Broken]:
        op = node.op
        if isinstance(op, Resend):
            queue = _sorted((*world.queue, Msg(op.generation, looked=True)))
            return "and defers the message", world._replace(queue=queue)
        if isinstance(op, Bury):
            letter = Letter(op.generation, node.msg.looked, op.error)
            return f"and sends a dead letter of generation {op.generation} ({op.error})", _with_letter(world, letter)
        assert isinstance(op, Send)
        return "and tells the next service", self._broken_by_send(world, op) or world._replace(sent=True)

    def _gone(self, world: World, worker: Worker) -> World:
        """Let the queue show the message again whose worker did not settle it."""
        return world._replace(queue=_sorted((*world.queue, self._nodes[worker.node].msg)))

    def _name(self, worker: Worker) -> str:
        return f"worker {worker.node}"

    # --- what must never happen -------------------------------------------------------------------------------------

    def _broken_by_write(self, world: World, node: Node, op: Write, entry: Entry) -> Broken | None:
        if entry.state is State.INTENT and not op.is_body_stored:
            there = self.entry(world)
            if there is None or there.request_key != entry.request_key:
                return Broken("a claim names a request body that is stored")
        if world.entry is None or self._is_mine(world, node):
            return None
        there = self._blobs.entries[world.entry.blob]
        if there.state in _ENDS:
            return Broken(f"what is {there.state.value} stays {there.state.value}")
        is_owned = any(self._is_mine(world, self._nodes[worker.node]) for worker in world.workers)
        if there.state is State.INTENT and there.lease_seconds and is_owned:
            return Broken("there are never two live leases")
        return None

    def _broken_by_call(self, world: World, node: Node, op: Call) -> Broken | None:
        entry, stored = self.entry(world), world.entry
        if (
            entry is None
            or stored is None
            or not self._is_mine(world, node)
            or entry.state is not State.INTENT
            or stored.age * TICK_SECONDS >= entry.lease_seconds
        ):
            return Broken("a call is made under a live lease, by who holds it")
        if entry.request_key is None or BODIES[entry.request_key] != op.body:
            return Broken("every attempt of a generation sends the bytes that its claim stored")
        return None

    def _broken_by_effect(self, world: World) -> Broken | None:
        if len(world.effects) > 1 and not self._repeats and not world.answered:
            return Broken("no effect comes twice")
        return None

    def _broken_by_send(self, world: World, op: Send) -> Broken | None:
        entry = self.entry(world)
        recorded = entry is not None and entry.state in _ENDS and [o.message for o in entry.outputs] == [op.body]
        return None if recorded else Broken("what is sent on is what was recorded")

    def broken(self, world: World) -> Broken | None:
        """Return whether the message is lost: neither anywhere on its way nor at an end."""
        if world.queue or world.workers or world.letters or self.is_done(world):
            return None
        return Broken("nothing is lost")

    def is_done(self, world: World) -> bool:
        """Whether the work is done or waived, recorded, and told to the next service."""
        entry = self.entry(world)
        return world.sent and entry is not None and entry.state in _ENDS

    def is_end(self, world: World) -> bool:
        """Whether nothing is left to do: it is done, or a person has been told."""
        return not world.queue and not world.workers and (bool(world.letters) or self.is_done(world))


def _said(msg: Msg) -> str:
    kind = "a dead letter" if msg.letter else "a deferred message" if msg.looked else "the message"
    return f"{kind} (generation {msg.generation}, received {msg.receives} times)"


def _faulty(world: World) -> World:
    return world._replace(faults=world.faults - 1)


def _sorted(messages: tuple[Msg, ...]) -> tuple[Msg, ...]:
    return tuple(sorted(messages))


def _with_letter(world: World, letter: Letter) -> World:
    return world._replace(letters=tuple(sorted((*world.letters, letter))))


def _with_effect(world: World, index: int, effect: Effect) -> World:
    return world._replace(effects=(*world.effects[:index], effect, *world.effects[index + 1 :]))
