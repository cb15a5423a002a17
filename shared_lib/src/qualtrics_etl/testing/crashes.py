"""The crash matrix: a workflow is run with a worker dying at each of its calls, and must end as if none had died.

A clean run finds the boundaries: every call of every service to the store, the queues, Qualtrics and the client's
server. Then each is a case for each kind of fault: the run begins where the fault is, and goes on until nothing is
left. Its end must be that of the clean run; or, where Qualtrics gives no way to know what a call did, the message must
wait in the dead-letter queue saying so, and nothing may have happened twice.

    python -m qualtrics_etl.testing tests/data/contacts.csv
    python -m qualtrics_etl.testing tests/data/contacts.csv import_contacts/3/killed_after
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from typing_extensions import override

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.repository import open_repository
from qualtrics_etl.ports import ObjectStore, Queues
from qualtrics_etl.testing.boundaries import ACKNOWLEDGE, Boundary, CrashKind, Watch
from qualtrics_etl.testing.crash_place import CaseMissedError, CrashPlace, EndlessRunError, Moment
from qualtrics_etl.testing.crash_state import EndState
from qualtrics_etl.testing.runs import with_batches_of

ROWS = 5
ROWS_PER_BATCH = 2
KINDS = tuple(CrashKind)
DELIVERIES = 5
"""How many random orders of delivery are tried."""

WHOLE_RUN = "whole run"
"""Stands for the service in cases that are not about one call."""
CLEAN, TWICE, SHUFFLED = "clean", "twice", "shuffled"


@dataclass(frozen=True, slots=True)
class Case:
    """One way for a run to go wrong.

    Attributes:
        service: Whose call; `whole run` for what befalls all messages.
        number: Which of its calls, from 1; for a random order its seed.
        kind: A `CrashKind`'s value; for the whole run `twice` (each message delivered twice) or `shuffled` (twice,
            and in random order).
        what: The call, for people.
    """

    service: str
    number: int
    kind: str
    what: str = ""

    @property
    def name(self) -> str:
        """What the command line takes."""
        return f"{self.service}/{self.number}/{self.kind}".replace(" ", "-")

    @override
    def __str__(self) -> str:
        return f"{self.name} ({self.what})" if self.what else self.name


@dataclass(frozen=True, slots=True)
class Result:
    """What a case came to.

    Attributes:
        stopped_as_unknown: The run waits for a person, who is asked what a call did; nothing happened twice.
        problems: What is otherwise than in the clean run; empty when all is well.
    """

    case: Case
    stopped_as_unknown: bool = False
    problems: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether the promise was kept."""
        return not self.problems


@dataclass(frozen=True)
class CrashReport:
    """What all cases came to; `str` is a table, and what to do about each failure.

    Attributes:
        boundaries: The calls of the clean run.
        results: One a case.
        again: The command line that runs one case, without its name.
    """

    boundaries: tuple[Boundary, ...]
    results: tuple[Result, ...]
    again: str = ""

    @property
    def failures(self) -> tuple[Result, ...]:
        """The cases that did not keep the promise."""
        return tuple(result for result in self.results if not result.is_good)

    @property
    def is_good(self) -> bool:
        """Whether every case kept it, and there was at least one."""
        return bool(self.results) and not self.failures

    @override
    def __str__(self) -> str:
        return "\n".join([*self._table(), *self._explained()])

    def _table(self) -> Iterator[str]:
        services = list(dict.fromkeys([*(each.service for each in self.boundaries), WHOLE_RUN]))
        width = max(len(each) for each in services)
        yield f"{'':{width}}  boundaries  cases  equal  unknown  failed"
        for service in [*services, "all"]:
            met = [each for each in self.boundaries if service in (each.service, "all")]
            results = [each for each in self.results if service in (each.case.service, "all")]
            failed = sum(not each.is_good for each in results)
            unknown = sum(each.stopped_as_unknown for each in results)
            counts = f"{len(results):7}{len(results) - failed - unknown:7}{unknown:9}{failed:8}"
            yield f"{service:{width}}{len(met):12}{counts}"

    def _explained(self) -> Iterator[str]:
        for result in self.failures:
            yield f"\n{result.case}"
            yield from (f"  {problem}" for problem in result.problems)
            yield f"  again: {self.again} {result.case.name}"


class CrashMatrix:
    """Runs a repository's workflow with every fault at every boundary, inside a `with` block.

    Args:
        root: The repository.
        file: The client's file, below `root`; its first lines are used.
        rows: How many rows of it: few, since each case is a run.
        rows_per_batch: How many rows make a batch: fewer, so that there are several, and something to wait for.
        deduplicates: Whether the simulated directory takes a person who comes again for the same one. Where it does
            not, an import whose outcome is unknown must stop.
        objects_for: Puts something between the workers and the store, for a test of the matrix.
        queues_for: The same for the queues.
    """

    def __init__(
        self,
        root: Path,
        file: str = "tests/data/contacts.csv",
        *,
        rows: int = ROWS,
        rows_per_batch: int = ROWS_PER_BATCH,
        deduplicates: bool = True,
        objects_for: Callable[[ObjectStore], ObjectStore] = lambda objects: objects,
        queues_for: Callable[[Queues], Queues] = lambda queues: queues,
    ) -> None:
        self._repository = with_batches_of(rows_per_batch, open_repository(root))
        lines = (root / file).read_bytes().splitlines(keepends=True)
        self._place = CrashPlace(
            self._repository,
            root / file,
            b"".join(lines[: rows + 1]),
            deduplicates=deduplicates,
            objects_for=objects_for,
            queues_for=queues_for,
        )
        options = f" --rows {rows} --rows-per-batch {rows_per_batch}" + " --no-deduplication" * (not deduplicates)
        self._again = f"python -m qualtrics_etl.testing {file}{options}"
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        """Start the servers and make the clean run."""
        self._exit.enter_context(self._place)
        watch = Watch()
        self._place.begin(watch)
        self._moments: list[Moment] = []
        self._shortcomings: tuple[str, ...] = ()
        try:
            self._run_clean()
        except EndlessRunError as error:
            self._shortcomings = (str(error),)
        self._boundaries = tuple(watch.seen)
        self._clean = self._place.end_state()
        self._shortcomings = self._shortcomings or tuple(_shortcomings(self._clean))
        return self

    def _run_clean(self) -> None:
        is_on = True
        while is_on:
            self._moments.append(self._place.moment())
            is_on = self._place.step()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.close()

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        """The calls of the clean run, in their order."""
        return self._boundaries

    def trace(self) -> list[str]:
        """Say which calls were made in the last case, from the moment on at which it began; its own is marked."""
        watch = self._place.watch
        return [
            f"{each.service} {each.number} {each.what}"
            + f"  <- {watch.kind and watch.kind.value}" * (each is watch.met)
            for each in watch.seen
        ]

    def cases(self, *, services: Sequence[str] = (), kinds: Iterable[CrashKind] = KINDS) -> Iterator[Case]:
        """Yield the cases of the services (all when none is named).

        Raises:
            ConfigurationError: The workflow has no such service.
        """
        if unknown := [each for each in services if each not in (*self._repository.workflow.services, WHOLE_RUN)]:
            raise ConfigurationError(
                f"The workflow has no service {unknown[0]}.",
                remedy=f"It has: {', '.join(self._repository.workflow.services)}.",
            )
        wanted = services or (*self._repository.workflow.services, WHOLE_RUN)
        if WHOLE_RUN in wanted:
            yield Case(WHOLE_RUN, 0, TWICE)
            yield from (Case(WHOLE_RUN, seed, SHUFFLED) for seed in range(1, DELIVERIES + 1))
        for boundary in self._boundaries:
            if boundary.service in wanted:
                yield from (_case(boundary, kind) for kind in kinds if _can_befall(boundary, kind))

    def run(self, *, services: Sequence[str] = (), kinds: Iterable[CrashKind] = KINDS) -> CrashReport:
        """Run all cases of the services (all when none is named)."""
        return self.run_cases(list(self.cases(services=services, kinds=kinds)))

    def run_cases(self, cases: Iterable[Case]) -> CrashReport:
        """Run these cases; none, where the clean run has not come to a good end that they could be compared with."""
        results = [Result(Case(WHOLE_RUN, 0, CLEAN), problems=self._shortcomings)] if self._shortcomings else []
        results = results or [self.run_case(case) for case in cases]
        return CrashReport(self._boundaries, tuple(results), self._again)

    def case(self, name: str) -> Case:
        """Return the case of a name, as a report gives it.

        Raises:
            ConfigurationError: There is no such case.
        """
        for case in self.cases():
            if case.name == name:
                return case
        raise ConfigurationError(
            f"There is no case {name}.", remedy="Run all cases; the names of those that fail are in the report."
        )

    def run_case(self, case: Case) -> Result:
        """Run one case."""
        try:
            self._go_through(case)
        except (EndlessRunError, CaseMissedError) as error:
            return Result(case, problems=(str(error),))
        end = self._place.end_state()
        if end.is_stopped_as_unknown():
            return Result(case, stopped_as_unknown=not end.excess(self._clean), problems=tuple(end.excess(self._clean)))
        return Result(case, problems=tuple(end.differences(self._clean)))

    def _go_through(self, case: Case) -> None:
        if case.service == WHOLE_RUN:
            self._place.begin(Watch(), duplicates=True, seed=case.number if case.kind == SHUFFLED else None)
            self._place.run()
            return
        kind = CrashKind(case.kind)
        # Who stands still is overtaken by another worker only where the message comes to one: it is delivered twice.
        watch = Watch(kind=kind, service=case.service, number=case.number)
        self._place.begin(watch, self._moment_before(case), duplicates=kind.others_come_first)
        self._place.run()
        met = watch.met.what if watch.met else "nothing"
        if _place_of(met) != _place_of(case.what):
            raise CaseMissedError(
                f"The fault was to hit `{case.what}`, and it hit `{met}`: the calls come in another order."
            )

    def _moment_before(self, case: Case) -> Moment:
        """Return the last moment before the call that the case is about."""
        return [each for each in self._moments if each.counts[case.service] < case.number][-1]


def _case(boundary: Boundary, kind: CrashKind) -> Case:
    return Case(boundary.service, boundary.number, kind.value, boundary.what)


def _can_befall(boundary: Boundary, kind: CrashKind) -> bool:
    """Whether a kind of fault means anything there: what is acknowledged is over, and has no answer."""
    return boundary.what != ACKNOWLEDGE or kind in (CrashKind.KILLED_BEFORE, CrashKind.SLOW)


def _place_of(what: str) -> str:
    """Return a call without its content: a hook may build another request each time, since the first one counts."""
    return re.sub("-[0-9a-f]{16}$", "", what)


def _shortcomings(end: EndState) -> Iterator[str]:
    """Say what a clean run has not brought to its end; nothing else could be compared with it."""
    yield from (f"still waiting: {each}" for each in end.waiting)
    yield from (f"ledger: {each}" for each in end.records["ledger"] if not each.endswith((": done", ": mark")))
    yield from (f"rows: {each}" for each in end.records["rows"] if not each.endswith(" 0 unaccounted for"))
    if not end.records["rows"]:
        yield "rows: none was read"


class CrashChecks:
    """What every workflow must stand: a worker may die at any of its calls, a message may come twice, out of order."""

    file: ClassVar[str] = "tests/data/contacts.csv"
    """The sample file, below the repository's root; its first lines are used."""

    rows: ClassVar[int] = 2 * ROWS_PER_BATCH
    """How many of its rows: two batches."""

    kinds: ClassVar[tuple[CrashKind, ...]] = (CrashKind.KILLED_AFTER, CrashKind.LATE)
    """What goes wrong at each call. Who dies before a call has died after the last one; `KINDS` is everything."""

    def test_nothing_is_lost_and_nothing_happens_twice(self) -> None:
        """Wherever a worker dies, the end is that of a run in which nothing went wrong."""
        with CrashMatrix(Path.cwd(), self.file, rows=self.rows) as matrix:
            report = matrix.run(kinds=self.kinds)
        assert report.is_good, f"\n{report}"
