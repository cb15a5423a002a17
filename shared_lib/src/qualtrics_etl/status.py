"""How far a run is, and what it waits for by name: read from its ledger, and from what stands in dead-letter queues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any

import orjson

from qualtrics_etl.catalogue import Level
from qualtrics_etl.errors import PermanentError
from qualtrics_etl.ledger import Held, How, Ledger, Output, State
from qualtrics_etl.messages import WHOLE_RUN, ContactsImported, FileFetched, FileParsed, Message
from qualtrics_etl.outputs import mark_of, messages_of, missing_at
from qualtrics_etl.payloads import batch_name, erased_key
from qualtrics_etl.ports import ObjectStore
from qualtrics_etl.runs import RunInput, input_of
from qualtrics_etl.summary import LONG_AGO, RunSummary, summarize_run
from qualtrics_etl.workflow import Workflow

READERS = 16
"""Entries that are read at once."""


class RunState(Enum):
    """How far a run is."""

    FINISHED = "finished"
    WAITING = "waiting"
    DEAD_LETTERED = "dead-lettered"
    UNREADABLE = "unreadable"


class Progress(Enum):
    """How far a piece of work is."""

    DONE = "done"
    WAIVED = "waived"
    UNDER_WAY = "under way"
    QUEUED = "queued"
    DEAD_LETTERED = "dead-lettered"
    NOT_COME = "not come"
    WILL_NOT_COME = "will not come"


_SETTLED = (Progress.DONE, Progress.WAIVED, Progress.WILL_NOT_COME)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why a piece of work stands still, as its dead letter or its entry says it.

    Attributes:
        done: Whether the work itself is done, and only not all who follow may have been told.
        seen: Whether there is a letter, or may be one among those that could not be seen. Without one it was deleted,
            has expired, or was sent back just now; only the entry tells then.
    """

    service: str
    run: str
    batch: str
    error: str
    cause: str
    remedy: str
    done: bool = False
    seen: bool = True


@dataclass(frozen=True, slots=True)
class Letters:
    """What stands in the dead-letter queues of a stage.

    Attributes:
        seen: The letters.
        partly: Services of whose letters only some could be seen.
    """

    seen: tuple[DeadLetter, ...] = ()
    partly: frozenset[str] = frozenset()

    def of(self, run: str) -> dict[tuple[str, str], DeadLetter]:
        """Return those of a run, by service and batch."""
        return {(each.service, each.batch): each for each in self.seen if each.run == run}

    @property
    def runs(self) -> set[str]:
        """The runs that they tell of."""
        return {each.run for each in self.seen if each.run}


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service's share of a run.

    Attributes:
        service: Which.
        pieces: How far each piece of its work is, by batch; a batch that was halved is there as its halves. `all` is
            the work of a run, or stands for batches that have not come yet.
        dead: Why what is dead-lettered stands still, by batch; work that is done has letters too, if it told not all.
        level: Whether a piece stands for a run or a batch.
        takes_in: Whether it takes input in; what it can't do can't be waived.
    """

    service: str
    pieces: Mapping[str, Progress]
    dead: Mapping[str, DeadLetter]
    level: Level
    takes_in: bool

    def batches(self, *progress: Progress) -> tuple[str, ...]:
        """Return the batches that are so far."""
        return tuple(batch for batch, each in self.pieces.items() if each in progress)

    def count(self, *progress: Progress) -> int:
        """Return how many pieces are so far."""
        return len(self.batches(*progress))


@dataclass(frozen=True, slots=True)
class Wait:
    """A service that waits, and what for.

    Attributes:
        service: Who waits.
        for_service: Whose work is missing.
        batches: Which of it; `all` for that of a run.
        untold: Whether that work has ended, and only its mark is missing: whoever ended it broke off.
        waived: Whether it ended by a waiver.
        never: Whether it has ended and told others, as workflow.yml was then: what waits will never have all.
    """

    service: str
    for_service: str
    batches: tuple[str, ...]
    untold: bool = False
    waived: bool = False
    never: bool = False


@dataclass(frozen=True, slots=True)
class Gone:
    """A run's share of the work of a service that workflow.yml no longer has.

    Attributes:
        ended: How many pieces are done or waived.
        open: Batches that are neither; also those that were sent, and never begun.
    """

    service: str
    ended: int
    open: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Erasures:
    """What is recorded of erasures of a run's personal data.

    Attributes:
        at: When one last ended; empty where none did.
        begun: When one last began that did not end, so that nobody knows what it left; empty where there is none.
    """

    at: str = ""
    begun: str = ""


NONE_ERASED = Erasures()


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How far a run is.

    Attributes:
        state: In one word.
        summary: What became of its rows.
        services: Those that take part in it, in their order.
        waits: Which of them wait, and what for.
        gone: Services that it went through, or was to, and that workflow.yml no longer has.
        outgrown: Whether workflow.yml has changed so that the run did not go its ways: then only what was recorded is
            shown, and not what would follow.
        erasures: Of its personal data.
        last_written_at: When its ledger last changed; `LONG_AGO` where it has none yet.
        taken_at: When its input was stored; `LONG_AGO` where that is not known.
        unreadable: What can't be read of its ledger; then nothing else is said of it.
    """

    run: str
    state: RunState
    summary: RunSummary
    services: tuple[ServiceStatus, ...]
    waits: tuple[Wait, ...]
    gone: tuple[Gone, ...] = ()
    outgrown: bool = False
    erasures: Erasures = NONE_ERASED
    last_written_at: datetime = LONG_AGO
    taken_at: datetime = LONG_AGO
    unreadable: str = ""

    @property
    def dead(self) -> tuple[DeadLetter, ...]:
        """Everything of it that is dead-lettered."""
        return tuple(letter for each in self.services for letter in each.dead.values())


@dataclass(slots=True)
class RunLedger:
    """What lies in the ledger of one run.

    Attributes:
        entries: By service and batch.
        gone: The same of services that workflow.yml no longer has.
        marks: The batches whose marks a service that waits for all has, halved ones as `<batch>=2`.
        complete: The blocks of marks that such a service has whole.
        erasures: Of its personal data.
        last_written_at: When it last changed; `LONG_AGO` while there is nothing.
    """

    entries: dict[tuple[str, str], Held] = field(default_factory=dict)
    gone: dict[tuple[str, str], Held] = field(default_factory=dict)
    marks: dict[str, set[str]] = field(default_factory=dict)
    complete: dict[str, set[int]] = field(default_factory=dict)
    erasures: Erasures = NONE_ERASED
    last_written_at: datetime = LONG_AGO

    @property
    def all_entries(self) -> dict[tuple[str, str], Held]:
        """Those of all services."""
        return {**self.entries, **self.gone}

    def outputs(self) -> Iterator[tuple[str, State, Output]]:
        """Yield what follows from work that ended, by a waiver too: the service, how it ended, the output."""
        for (service, _), held in self.all_entries.items():
            if held.entry.state in (State.DONE, State.WAIVED):
                yield from ((service, held.entry.state, output) for output in held.entry.outputs)

    @property
    def file(self) -> FileFetched | None:
        """What was POSTed; a file that was fetched is in the ledger of the tick that fetched it."""
        facts = (held.entry.fact for held in self.all_entries.values())
        return next((fact for fact in facts if isinstance(fact, FileFetched)), None)


def status_of(workflow: Workflow, objects: ObjectStore, run: str, letters: Letters) -> RunStatus | None:
    """Return how far a run is; None where nothing tells of it: no ledger, no letter, no file, nothing POSTed.

    Costs one listing of its ledger and a read of each entry; the marks of a fan-in are told by the listing alone.

    Args:
        letters: What stands in the dead-letter queues.
    """
    ledger = RunLedger()
    try:
        read_ledger(ledger, workflow, objects, run)
        return status_in(ledger, workflow, objects, run, letters)
    except PermanentError as error:
        summary, at = RunSummary(run), ledger.last_written_at
        return RunStatus(
            run,
            RunState.UNREADABLE,
            summary,
            (),
            (),
            erasures=ledger.erasures,
            last_written_at=at,
            unreadable=str(error),
        )


def status_in(
    ledger: RunLedger, workflow: Workflow, objects: ObjectStore, run: str, letters: Letters
) -> RunStatus | None:
    """Return how far a run is whose ledger was read; otherwise as `status_of`.

    Raises:
        PermanentError: The file's own entry can't be read.
    """
    taken = input_of(workflow, objects, run)
    if not (ledger.entries or ledger.gone or ledger.erasures != NONE_ERASED or letters.of(run) or taken):
        return None
    reading = _Reading(workflow, run, ledger, letters, taken)
    summary = summarize_run(workflow, run, [(service, held) for (service, _), held in ledger.entries.items()])
    if any(isinstance(held.entry.fact, FileParsed | ContactsImported) for held in ledger.gone.values()):
        summary.rows.clear()  # what lay behind the one or before the other is not known any more: no sum would be right
    elif reading.is_outgrown:
        summary.rows = {name: rows for name, rows in summary.rows.items() if name in reading.part}
    fetched = ledger.file or (taken.file if taken else None)
    summary.file_name = fetched.name if fetched else ""
    services, waits, gone = reading.services(), tuple(reading.waits()), tuple(reading.gone())
    return RunStatus(
        run,
        _state(services, gone),
        summary,
        services,
        waits,
        gone,
        reading.is_outgrown,
        ledger.erasures,
        ledger.last_written_at,
        taken.at if taken else LONG_AGO,
    )


def read_ledger(found: RunLedger, workflow: Workflow, objects: ObjectStore, run: str) -> None:
    """Read the ledger of a run; what was found before something could not be read stays found.

    Raises:
        PermanentError: An entry can't be read.
    """
    keys = list[str]()
    for each in objects.list(f"ledger/{run}/"):
        _, _, *rest = each.key.split("/")
        found.last_written_at = max(found.last_written_at, each.last_modified)
        if len(rest) == 2:
            keys.append(each.key)
        elif len(rest) == 4 and rest[1] == "arrived":
            found.marks.setdefault(rest[0], set()).add(rest[3])
        elif len(rest) == 3 and rest[1] == "complete":
            found.complete.setdefault(rest[0], set()).add(int(rest[2]))
        elif each.key == erased_key(run) and (record := objects.get(each.key)) is not None:
            found.erasures = _erasures(orjson.loads(record.body)["erased"])
    ledger = Ledger(objects)
    with ThreadPoolExecutor(READERS) as readers:
        for key, held in zip(keys, readers.map(ledger.read, keys), strict=True):
            _, _, service, batch = key.split("/")
            if held is not None:
                (found.entries if service in workflow.services else found.gone)[service, batch] = held


def _erasures(record: Sequence[Mapping[str, Any]]) -> Erasures:
    begun = [line["begun"] for line in record if not line["at"]] + [line["at"] for line in record if line.get("left")]
    return Erasures(record[-1]["at"], max(begun, default=""))


class _Reading:
    """What the ledger of a run says of each service."""

    def __init__(
        self,
        workflow: Workflow,
        run: str,
        ledger: RunLedger,
        letters: Letters,
        taken: RunInput | None,
    ) -> None:
        self._workflow = workflow
        self._is_tick = not run.startswith(f"{workflow.name}-")
        self._run = run
        self._ledger = ledger
        self._entries = ledger.all_entries
        self._letters = letters.of(run)
        self._partly_seen = letters.partly
        self._taken = taken
        self._told: dict[str, dict[str, Message | None]] = {}
        self._marked: dict[str, set[str]] = {}
        self.is_outgrown = False
        self._read_outputs()
        self._here = {service for service, _ in (*ledger.entries, *self._letters)}
        if self.is_outgrown:
            self._here |= self._told.keys() & workflow.services.keys()
        elif taken is not None and not self._here:
            self._here = set(taken.services)
        self._known: dict[str, dict[str, Progress]] = {}
        self.part = tuple(self._taking_part())

    def services(self) -> tuple[ServiceStatus, ...]:
        """Return each service's share."""
        starts = self._workflow.starts()
        return tuple(
            ServiceStatus(name, pieces, dict(self._dead(name)), self._workflow.level_of(name), name in starts)
            for name, pieces in self._all()
        )

    def waits(self) -> Iterator[Wait]:
        """Yield who waits for what: of a chain of services that wait for each other, the first."""
        never = {each.service: each for each in self._never()}
        yield from never.values()
        for service, pieces in () if self.is_outgrown else self._all():
            for before in self._before(service):
                if not self._is_run(service) and not self._is_run(before):
                    continue  # the service that waits for all of them tells
                if Progress.NOT_COME in pieces.values():
                    yield from self._missing(service, before)
                elif Progress.QUEUED in pieces.values() and not self._is_run(before) and service not in never:
                    yield from self._untold(service, before)

    def gone(self) -> Iterator[Gone]:
        """Yield what the run did, or should do, at services that workflow.yml no longer has."""
        if self._is_tick:
            return  # the next tick looks again, under whatever name
        names = {service for service, _ in self._ledger.gone} | self._told.keys()
        for name in sorted(names - self._workflow.services.keys()):
            pieces = self._recorded(name)
            is_open = tuple(batch for batch, each in pieces.items() if each not in _SETTLED)
            yield Gone(name, len(pieces) - len(is_open), is_open)

    # --- what was recorded --------------------------------------------------------------------------------------------

    def _read_outputs(self) -> None:
        """Note what services of the run were told, and whether workflow.yml would still have it so."""
        first = {name for start in self._workflow.starts() for name in self._workflow.next_of(start)}
        for message in self._taken.sent if self._taken else ():
            self._told.setdefault(message.service, {})[message.batch] = None
            self.is_outgrown |= message.service not in first
        for service, state, output in self._ledger.outputs():
            message = Message.decode(output.message)
            if message.run != self._run:
                continue
            self.is_outgrown |= not self._leads(service, message.service, output, state)
            if (mark := mark_of(output.how, message.batch)) is not None:
                self._marked.setdefault(message.service, set()).add(mark)
            for each in messages_of(output):
                is_mark = output.how is How.ARRIVE
                self._told.setdefault(each.service, {})[each.batch] = each if is_mark else None

    def _leads(self, service: str, told: str, output: Output, state: State) -> bool:
        """Whether workflow.yml would let one service tell the other still, and in this way."""
        workflow = self._workflow
        if output.how is How.SPLIT:
            return True  # the batch's mark tells
        if not {service, told} <= workflow.services.keys():
            return False
        if state is State.WAIVED:
            return told in workflow.fan_ins_behind(service)
        if output.how is How.SEND and told == service:
            return True
        return told in workflow.next_of(service) and set(output.waiting) <= set(workflow.fan_ins_behind(told))

    def _never(self) -> Iterator[Wait]:
        """Yield services of which some marks went to another, since workflow.yml was changed: they never have all."""
        everywhere = (*self._all(), *((gone.service, self._recorded(gone.service)) for gone in self.gone()))
        batches = (each for _, pieces in everywhere for batch, each in pieces.items() if batch[0].isdigit())
        if not all(each in _SETTLED for each in batches):
            return
        for service in self.part:
            mark = self._told.get(service, {}).get(WHOLE_RUN)
            if mark is not None and (service, WHOLE_RUN) not in self._entries:
                there = self._ledger.marks.get(service, set()) | self._marked.get(service, set())
                if missing := tuple(missing_at(mark, there)):
                    yield Wait(service, "", missing, never=True)

    def _recorded(self, service: str) -> dict[str, Progress]:
        """Return a service's pieces by what was recorded alone, whatever workflow.yml says."""
        told = self._told.get(service, {})
        own = [batch for name, batch in (*self._entries, *self._letters) if name == service]
        pieces: dict[str, Progress] = {}
        for batch in sorted({*told, *own}):
            mark = told.get(batch)
            waits = mark is not None and any(missing_at(mark, self._ledger.marks.get(service, set())))
            if not self._parts(service, batch):
                pieces[batch] = self._progress(service, batch, Progress.NOT_COME if waits else Progress.QUEUED)
        return pieces

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _taking_part(self) -> Iterator[str]:
        """Yield the services that a run goes through, in their order."""
        workflow, found, here = self._workflow, set(self._here), self._here
        if self._is_tick or self.is_outgrown:
            yield from (name for name in workflow.services if name in here)
            return
        found |= set(self._first_behind_intake(found))
        ends = list(found)
        while ends:
            new = self._behind(ends.pop()) - found
            found |= new
            ends.extend(new)
        rest = [name for name in workflow.services if name in found and (name not in workflow.starts() or name in here)]
        while rest:
            # In the order of their chain, which is not that of the file where chains begin apart and end alike.
            name = next(name for name in rest if not set(workflow.before(name)) & set(rest))
            rest.remove(name)
            yield name

    def _first_behind_intake(self, found: set[str]) -> Iterator[str]:
        """Yield the services that the run's file was sent to, whichever of them was heard of yet."""
        if self._taken is not None and self._taken.file is not None and self._taken.sent:
            yield from self._taken.services
            return
        for start in self._workflow.starts():
            if found & set(self._workflow.next_of(start)):
                yield from self._workflow.next_of(start)

    def _behind(self, service: str) -> set[str]:
        """Return the services that a service told, or will tell: what it told counts, however the workflow changed."""
        entries = {batch: held.entry for (name, batch), held in self._ledger.entries.items() if name == service}
        told = {each.service for entry in entries.values() for _, each in entry.sent()} - {service}
        ended = all(
            entry.state is State.DONE and entries.keys() >= set(entry.parts_of(service)) for entry in entries.values()
        )
        if not (entries and ended):
            told |= set(self._workflow.next_of(service))
        return told & self._workflow.services.keys()

    def _before(self, service: str) -> list[str]:
        return [name for name in self._workflow.before(service) if name in self.part]

    def _all(self) -> Iterator[tuple[str, dict[str, Progress]]]:
        return ((service, self._pieces(service)) for service in self.part)

    def _pieces(self, service: str) -> dict[str, Progress]:
        if service not in self._known and self.is_outgrown:
            self._known[service] = self._recorded(service)
        elif service not in self._known:
            self._known[service] = self._of_run(service) if self._is_run(service) else self._of_batches(service)
        return self._known[service]

    def _of_run(self, service: str) -> dict[str, Progress]:
        batch = WHOLE_RUN
        while parts := self._parts(service, batch):
            batch = parts[0]
        return {batch: self._progress(service, batch, self._reached(service))}

    def _reached(self, service: str) -> Progress:
        """Return how far the work of a run is that has no entry yet."""
        for name in self._before(service):
            here = set(self._pieces(name).values())
            if here == {Progress.WILL_NOT_COME} or (self._is_run(name) and here == {Progress.WAIVED}):
                return Progress.WILL_NOT_COME
            if not here <= set(_SETTLED):
                return Progress.NOT_COME
        return Progress.QUEUED

    def _of_batches(self, service: str) -> dict[str, Progress]:
        pieces: dict[str, Progress] = {}
        for before in self._before(service):
            if not self._is_run(before):
                passed_on = {Progress.DONE: Progress.QUEUED, Progress.WAIVED: Progress.WAIVED}
                arrives = {
                    batch: each if each is Progress.WILL_NOT_COME else passed_on.get(each, Progress.NOT_COME)
                    for batch, each in self._pieces(before).items()
                }
                told = self._told.get(service, {})
                for batch in [
                    batch for batch, each in arrives.items() if each is Progress.QUEUED and batch not in told
                ]:
                    arrives[batch] = Progress.WILL_NOT_COME  # it ended before workflow.yml had this service
            elif (parsed := self._parsed(service)) is not None:
                arrives = {batch_name(number): Progress.QUEUED for number in range(parsed.batches)}
            else:
                arrives = {WHOLE_RUN: self._reached(service)}
            for batch, otherwise in arrives.items():
                pieces |= self._with_halves(service, batch, otherwise)
        return pieces

    def _with_halves(self, service: str, batch: str, otherwise: Progress) -> dict[str, Progress]:
        halves = self._parts(service, batch)
        if not halves:
            return {batch: self._progress(service, batch, otherwise)}
        return {
            name: each for half in halves for name, each in self._with_halves(service, half, Progress.QUEUED).items()
        }

    def _progress(self, service: str, batch: str, otherwise: Progress) -> Progress:
        held = self._entries.get((service, batch))
        state = held.entry.state if held else None
        if state is State.DONE:
            return Progress.DONE
        if state is State.WAIVED:
            return Progress.WAIVED
        if state is State.FAILED or (service, batch) in self._letters:
            return Progress.DEAD_LETTERED
        return otherwise if state is None else Progress.UNDER_WAY

    def _parts(self, service: str, batch: str) -> tuple[str, ...]:
        held = self._entries.get((service, batch))
        return held.entry.parts_of(service) if held else ()

    def _parsed(self, service: str) -> FileParsed | None:
        """Return what the run's file was cut into, as the service before the first batch-level one said it."""
        for before in self._before(service):
            if not self._is_run(before):
                if (parsed := self._parsed(before)) is not None:
                    return parsed
                continue
            for batch in self._pieces(before):
                held = self._ledger.entries.get((before, batch))
                for _, message in held.entry.sent() if held else ():
                    if message.service == service:
                        return message.fact(FileParsed)
        return None

    # --- what is wrong ------------------------------------------------------------------------------------------------

    def _dead(self, service: str) -> Iterator[tuple[str, DeadLetter]]:
        told = [batch for name, batch in self._letters if name == service]
        for batch in dict.fromkeys([*self._pieces(service), *told]):
            held = self._ledger.entries.get((service, batch))
            state = held.entry.state if held else None
            if state is State.WAIVED:
                continue  # its letter is drained without effect
            if (letter := self._letters.get((service, batch))) is not None:
                yield batch, replace(letter, done=state is State.DONE)
            elif held is not None and state is State.FAILED and (cause := held.entry.cause) is not None:
                run, seen = held.key.split("/")[1], service in self._partly_seen
                yield batch, DeadLetter(service, run, batch, cause.error, cause.what, cause.remedy, seen=seen)

    def _missing(self, service: str, before: str) -> Iterator[Wait]:
        """Yield what a service waits for: nothing where the service before it waits itself."""
        if not self._is_run(before):
            for earlier in self._before(before):
                if not self._is_run(earlier):
                    yield from self._missing(service, earlier)
        here = self._pieces(before).items()
        missing = tuple(batch for batch, each in here if each not in (*_SETTLED, Progress.NOT_COME))
        if missing:
            yield Wait(service, before, missing)

    def _untold(self, service: str, before: str) -> Iterator[Wait]:
        """Yield batches that have ended, and whose mark is missing, by the service where they did."""
        found: dict[tuple[str, bool], list[str]] = {}
        pieces = self._pieces(before)
        for batch in pieces.keys() - self._ledger.marks.get(service, set()):
            waived = pieces[batch] is Progress.WAIVED
            found.setdefault((self._ended_at(before, batch), waived), []).append(batch)
        for (name, waived), batches in sorted(found.items()):
            yield Wait(service, name, tuple(sorted(batches)), untold=True, waived=waived)

    def _ended_at(self, service: str, batch: str) -> str:
        """Return where a batch came to its end: at a service, or at one before it, if it was waived there."""
        earlier = [name for name in self._before(service) if not self._is_run(name)]
        if (service, batch) in self._ledger.entries or not earlier:
            return service
        return self._ended_at(earlier[0], batch)

    def _is_run(self, service: str) -> bool:
        return self._workflow.level_of(service) is Level.RUN


def _state(services: Sequence[ServiceStatus], gone: Sequence[Gone]) -> RunState:
    if any(each.dead for each in services):
        return RunState.DEAD_LETTERED
    settled = all(each.count(*_SETTLED) == len(each.pieces) for each in services) and not any(g.open for g in gone)
    return RunState.FINISHED if settled else RunState.WAITING
