"""The receipt of a run: what became of each row of the client's file, exactly one line a row, in the file's order.

Read from what the steps wrote, a batch at a time, so that a million rows need no more memory than one batch.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from qualtrics_etl.catalogue import Level
from qualtrics_etl.errors import InputError
from qualtrics_etl.formats.batches import Batch, decode_batch, neutralise
from qualtrics_etl.formats.outcomes import HEADER, RowOutcome, decode_outcomes, decode_rejects
from qualtrics_etl.ledger import Entry, Ledger, State, entry_key
from qualtrics_etl.messages import WHOLE_RUN, FileParsed
from qualtrics_etl.payloads import batch_name, halves_of, is_derived, outcomes_prefix, rejects_beside, rows_of_batch_key
from qualtrics_etl.ports import ObjectStore
from qualtrics_etl.summary import importers_behind
from qualtrics_etl.workflow import Workflow

UNACCOUNTED = "unaccounted"
"""The outcome of a row of which nothing is recorded yet: its batch is on its way, or waits for somebody."""
WAIVED = "waived"
"""The outcome of a row that somebody gave up, with its batch or with the whole run."""
MOST_RANGES = 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a receipt.

    Attributes:
        line: Line of the client's file where the row begins, from 1.
        outcome: `loaded`, `updated`, `skipped`, `rejected`, `pending`, `waived` or `unaccounted`.
        field: What is at fault; empty where no single field is.
        reason: Why.
    """

    line: int
    outcome: str
    field: str = ""
    reason: str = ""


@dataclass(slots=True)
class Sums:
    """What a receipt comes to.

    Attributes:
        read: Rows of the file; None where it was not cut to its end.
        outcomes: How many rows ended how.
        unaccounted: The first stretches of lines that are unaccounted for: first and last line of each.
    """

    read: int | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    unaccounted: list[tuple[int, int]] = field(default_factory=list)
    _goes_on: bool = False
    _stretches: int = 0

    @property
    def is_balanced(self) -> bool:
        """Whether every row of the file has an outcome."""
        return self.missing == 0 and not self.outcomes[UNACCOUNTED]

    @property
    def missing(self) -> int:
        """Rows that not even have a line: what they were cut into is gone from the store."""
        return 0 if self.read is None else self.read - self.outcomes.total()

    @property
    def unaccounted_lines(self) -> str:
        """The lines that are unaccounted for, as text: `2-5, 9`."""
        shown = [f"{first}-{last}" if last > first else str(first) for first, last in self.unaccounted]
        more = self._stretches - len(shown)
        return ", ".join([*shown, f"and {more} more places"] if more else shown)

    def add(self, line: Line) -> None:
        """Count a line; lines come in the order of the file."""
        self.outcomes[line.outcome] += 1
        is_open = line.outcome == UNACCOUNTED
        if is_open and not self._goes_on:
            self._stretches += 1
            if self._stretches <= MOST_RANGES:
                self.unaccounted.append((line.line, line.line))
        elif is_open and self._stretches <= MOST_RANGES:
            self.unaccounted[-1] = (self.unaccounted[-1][0], line.line)
        self._goes_on = is_open


def importers_of(workflow: Workflow) -> tuple[str, ...]:
    """Return the services that import rows: each has a receipt of its own, since a branch imports a row once each."""
    parsers = [name for name, service in workflow.services.items() if service.step.gives is FileParsed]
    return tuple(dict.fromkeys(each for parser in parsers for each in importers_behind(workflow, parser)))


def receipt_path(folder: Path, workflow: Workflow, run: str, importer: str) -> Path:
    """Return the file of a receipt: named by its run, and by the service where several import."""
    return folder / (f"{run}.csv" if len(importers_of(workflow)) < 2 else f"{run}.{importer}.csv")


def write_receipt(workflow: Workflow, objects: ObjectStore, run: str, importer: str, out: TextIO) -> Sums:
    """Write a run's receipt as CSV, a line a row; return what it comes to.

    Raises:
        InputError: Nothing is known of this run, or it was not parsed yet.
    """
    reading = _Reading(workflow, objects, run, importer)
    sums, writer = Sums(reading.rows), csv.writer(out)
    writer.writerow(HEADER)
    for line in reading.lines():
        sums.add(line)
        writer.writerow((line.line, line.outcome, neutralise(line.field), neutralise(line.reason)))
    return sums


class _Reading:
    """What is written of a run."""

    def __init__(self, workflow: Workflow, objects: ObjectStore, run: str, importer: str) -> None:
        self._objects = objects
        self._ledger = Ledger(objects)
        self._run = run
        self._importer = importer
        self._workflow = workflow
        self._way = [name for name in workflow.services if name == importer or importer in workflow.behind(name)]
        parser, entry = self._parsed(workflow)
        fact = entry.fact if isinstance(entry.fact, FileParsed) else None
        deeper = f"/{entry.generation}" * (entry.generation > 0)
        self.rows = fact.rows if fact else None
        self._batches_at = fact.batches_at if fact else f"payloads/{run}/{parser}{deeper}/batches"
        self._given_up = (entry.skipped or "") if entry.state is State.WAIVED else None
        self._refusal = f"{parser} refused the file as a whole: {entry.cause.what}" if entry.cause else ""
        self._batches = fact.batches if fact else 0

    def _parsed(self, workflow: Workflow) -> tuple[str, Entry]:
        """Return the entry of the service that cut the file, and its name."""
        for parser in workflow.services:
            if self._importer not in importers_behind(workflow, parser):
                continue
            held = [self._ledger.read(each.key) for each in self._objects.list(f"ledger/{self._run}/{parser}/")]
            ended = [each.entry for each in held if each is not None and self._is_end(each.entry)]
            if ended:
                return parser, ended[-1]
        raise InputError(
            f"The ledger holds no run {self._run} whose file was parsed.",
            remedy="Look at its id, in the log or in a dead letter; a run is kept for 90 days.",
        )

    @staticmethod
    def _is_end(entry: Entry) -> bool:
        return isinstance(entry.fact, FileParsed) or entry.state in (State.FAILED, State.WAIVED)

    def lines(self) -> Iterator[Line]:
        """Yield the lines, in the order of the file."""
        rejects = self._names(f"{rejects_beside(self._batches_at)}/", ".csv")
        names = {batch_name(number) for number in range(self._batches)} | rejects
        names |= self._names(f"{self._batches_at}/")
        outcomes = self._names(outcomes_prefix(f"{self._run}/{self._importer}"), ".csv")
        halved = {part for name in outcomes | self._begun() for part in _wholes(name)}
        for name in sorted(names):
            lines = [*self._settled(name, outcomes, halved)]
            if name in rejects:
                found = self._objects.get(f"{rejects_beside(self._batches_at)}/{name}.csv")
                lines += map(_line, decode_rejects(found.body)) if found else []
            yield from sorted(lines, key=lambda line: line.line)

    def _names(self, prefix: str, suffix: str = "") -> set[str]:
        """Return the names directly below a prefix; what lies deeper is of another generation."""
        names = (each.key.removeprefix(prefix).removesuffix(suffix) for each in self._objects.list(prefix))
        return {name for name in names if "/" not in name}

    def _begun(self) -> set[str]:
        """Return the halves that anybody up to the importer took up, or gave up: a batch is halved where it may be."""
        names = (self._names(f"ledger/{self._run}/{service}/") for service in self._way)
        return {name for found in names for name in found if is_derived(name)}

    def _settled(self, name: str, outcomes: set[str], halved: set[str]) -> Iterator[Line]:
        """Yield what became of the good rows of a batch, or of its halves where these took its place."""
        if name in outcomes:
            found = self._objects.get(f"{outcomes_prefix(f'{self._run}/{self._importer}')}{name}.csv")
            yield from map(_line, decode_outcomes(found.body)) if found else ()
        elif name in halved:
            for half in halves_of(name):
                yield from self._settled(half, outcomes, halved)
        else:
            batch = self._batch(name)
            outcome, reason = self._why_open(name) if batch and batch.lines else (UNACCOUNTED, "")
            yield from (Line(line, outcome, "", reason) for line in (batch.lines if batch else ()))

    def _batch(self, name: str) -> Batch | None:
        found = self._objects.get(rows_of_batch_key(self._batches_at, self._run, name))
        return decode_batch(found.body) if found else None

    def _why_open(self, name: str) -> tuple[str, str]:
        """Return the outcome of a batch that was not imported, and the reason."""
        if self._given_up is not None:
            return WAIVED, self._given_up
        for service in self._way:
            held = self._ledger.read(entry_key(self._run, service, self._piece_of(service, name)))
            if held is not None and held.entry.state is State.WAIVED:
                return WAIVED, held.entry.skipped or ""
        return UNACCOUNTED, self._refusal or self._where(name)

    def _piece_of(self, service: str, name: str) -> str:
        return WHOLE_RUN if self._workflow.level_of(service) is Level.RUN else name

    def _where(self, name: str) -> str:
        held = self._ledger.read(entry_key(self._run, self._importer, name))
        if held is None:
            return f"Batch {name} has not come to {self._importer} yet, or waits in a dead-letter queue before it."
        if held.entry.state is State.DONE:
            return f"Batch {name} is done, and what became of its rows was not written down yet: make resend."
        if held.entry.cause is not None:
            return f"Batch {name} waits in the dead-letter queue of {self._importer}: {held.entry.cause.what}"
        return (
            f"Batch {name} is at {self._importer}, or waits in its dead-letter queue (state {held.entry.state.value})."
        )


def _line(row: RowOutcome) -> Line:
    return Line(row.line, row.fate.value, row.field, row.reason)


def _wholes(name: str) -> Iterator[str]:
    """Yield what a derived batch is a part of: `7.0.1` is one of `7.0` and `7`."""
    parts = name.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length])


def sum_of(outcomes: Mapping[str, int], order: Sequence[str]) -> str:
    """Return counts as a text, in an order, without those that are nothing."""
    return " + ".join(f"{outcomes[name]:,} {name}" for name in order if outcomes.get(name)) or "0"
