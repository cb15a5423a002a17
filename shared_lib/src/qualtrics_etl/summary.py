"""What became of a run, read from the ledger: every row accounted for, and every id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from qualtrics_etl.ledger import WAIVED_ROWS, Held, Ledger, State
from qualtrics_etl.messages import (
    ContactsImported,
    DistributionScheduled,
    Fact,
    FileFetched,
    FileParsed,
    MailingListCreated,
    Message,
    ReminderScheduled,
)
from qualtrics_etl.payloads import rejects_beside
from qualtrics_etl.ports import ObjectStore
from qualtrics_etl.workflow import Workflow

LONG_AGO = datetime.min.replace(tzinfo=UTC)

_ENDED = (State.DONE, State.FAILED, State.WAIVED)


@dataclass(slots=True)
class Rows:
    """What became of the rows of a file; the six outcomes sum up to `read` when all is settled.

    Attributes:
        read: Rows in the file, header not counted.
        loaded: New in the directory.
        updated: Known to the directory, and merged.
        skipped: Left out by a hook.
        rejected: Put aside by the parser or a hook, or refused by Qualtrics, with the reason.
        pending: Qualtrics says nothing definite of them.
        waived: Good rows that somebody gave up.
    """

    read: int = 0
    loaded: int = 0
    updated: int = 0
    skipped: int = 0
    rejected: int = 0
    pending: int = 0
    waived: int = 0

    @property
    def unaccounted(self) -> int:
        """Rows of which nothing is known yet: on their way, or in a dead-letter queue."""
        settled = self.loaded + self.updated + self.skipped + self.rejected + self.pending + self.waived
        return self.read - settled


@dataclass(slots=True)
class RunSummary:
    """One run.

    Attributes:
        run: Its id.
        file_name: The client's file.
        ids: What it made in Qualtrics: (service, what, id or date).
        rows: What became of its rows, by the service that imports them; a branch imports each row more than once.
        refused_by: The service that refused the file as a whole; empty when none did.
        rejects: Where its rejected rows lie: keys begin so, up to the last slash.
        done: Pieces of its work that came to an end, by service.
        last_written_at: When the ledger last changed.
    """

    run: str
    file_name: str = ""
    rows: dict[str, Rows] = field(default_factory=dict)
    refused_by: str = ""
    ids: list[tuple[str, str, str]] = field(default_factory=list)
    rejects: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    last_written_at: datetime = LONG_AGO


def summarize_runs(workflow: Workflow, objects: ObjectStore, since: datetime = LONG_AGO) -> list[RunSummary]:
    """Read the ledger of the runs of files that went on after `since`, the latest last."""
    runs: dict[str, RunSummary] = {}
    names: dict[str, str] = {}
    for name, service, held in _ended_entries(workflow, objects):
        if isinstance(held.entry.fact, FileFetched):
            names |= {Message.decode(each.message).run: held.entry.fact.name for each in held.entry.outputs}
            continue
        _take_entry(runs.setdefault(name, RunSummary(name)), workflow, service, held)
    for name, run in runs.items():
        run.file_name = names.get(name, "")
    found = [run for run in runs.values() if run.file_name and run.last_written_at >= since]
    return sorted(found, key=lambda run: run.last_written_at)


def summarize_run(workflow: Workflow, name: str, entries: Iterable[tuple[str, Held]]) -> RunSummary:
    """Return what became of one run, from its entries, each with the service that it is of."""
    run = RunSummary(name)
    for service, held in entries:
        if held.entry.state in _ENDED:
            _take_entry(run, workflow, service, held)
    return run


def done_by_service(workflow: Workflow, objects: ObjectStore, since: datetime = LONG_AGO) -> dict[str, int]:
    """Count the pieces of work that came to an end after `since`, of all runs; looking for input is one too."""
    done = dict.fromkeys(workflow.services, 0)
    for _, service, held in _ended_entries(workflow, objects):
        done[service] += held.entry.state is State.DONE and held.written_at >= since
    return done


def skipped_files(workflow: Workflow, objects: ObjectStore, since: datetime = LONG_AGO) -> list[str]:
    """Return what the ledger says of files that were looked at after `since` and began no run."""
    held = [held for _, service, held in _ended_entries(workflow, objects) if service in workflow.starts()]
    return [each.entry.skipped for each in held if each.entry.skipped and each.written_at >= since]


def _ended_entries(workflow: Workflow, objects: ObjectStore) -> Iterator[tuple[str, str, Held]]:
    """Yield run, service and entry of what came to an end; arrivals at a fan-in lie deeper, and are passed over."""
    ledger = Ledger(objects)
    for summary in objects.list("ledger/"):
        _, run, *rest = summary.key.split("/")
        if len(rest) == 2 and rest[0] in workflow.services:
            held = ledger.read(summary.key)
            if held is not None and held.entry.state in _ENDED:
                yield run, rest[0], held


def write_rejects(run: RunSummary, objects: ObjectStore, path: Path) -> bool:
    """Write the rejected rows of a run into one CSV file; return whether there are any."""
    # What lies deeper is of another generation: an earlier attempt that failed as a whole.
    keys = [
        summary.key
        for folder in dict.fromkeys(run.rejects)
        for summary in objects.list(f"{folder}/")
        if summary.key.rpartition("/")[0] == folder
    ]
    pieces = [found.body for key in keys if (found := objects.get(key)) is not None]
    if pieces:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Every piece has the same header line; the file needs it once.
        path.write_bytes(pieces[0] + b"".join(piece.partition(b"\r\n")[2] for piece in pieces[1:]))
    return bool(pieces)


def _take_entry(run: RunSummary, workflow: Workflow, service: str, held: Held) -> None:
    run.last_written_at = max(run.last_written_at, held.written_at)
    if held.entry.state is State.DONE:
        run.done[service] = run.done.get(service, 0) + 1
        _take_in(run, workflow, service, held.entry.fact)
    elif held.entry.state is State.WAIVED:
        for importer in filter(lambda name: _imports(workflow, name), (service, *workflow.behind(service))):
            run.rows.setdefault(importer, Rows()).waived += held.entry.notes.get(WAIVED_ROWS, 0)
    elif _parses(workflow, service):
        run.refused_by = service
        run.rejects.append(f"rejects/{run.run}/{service}" + f"/{held.entry.generation}" * (held.entry.generation > 0))


def _take_in(run: RunSummary, workflow: Workflow, service: str, fact: Fact | None) -> None:
    match fact:
        case FileParsed():
            for importer in importers_behind(workflow, service) or (service,):
                rows = run.rows.setdefault(importer, Rows())
                rows.read += fact.rows
                rows.rejected += fact.rejected_rows
            run.rejects.append(rejects_beside(fact.batches_at))
        case ContactsImported():
            _count(run.rows.setdefault(service, Rows()), fact)
            run.rejects.append(f"rejects/{run.run}/{service}")
        case MailingListCreated():
            run.ids.append((service, fact.name, fact.mailing_list_id))
        case DistributionScheduled():
            run.ids.append((service, f"goes out {fact.send_date}", fact.distribution_id))
        case ReminderScheduled():
            run.ids.append((service, f"goes out {fact.send_date}", fact.reminder_id))


def _count(rows: Rows, fact: ContactsImported) -> None:
    rows.loaded += fact.loaded
    rows.updated += fact.updated
    rows.pending += fact.pending
    rows.rejected += fact.rejected
    rows.skipped += fact.skipped


def _parses(workflow: Workflow, service: str) -> bool:
    return workflow.services[service].step.gives is FileParsed


def _imports(workflow: Workflow, service: str) -> bool:
    return workflow.services[service].step.gives is ContactsImported


def importers_behind(workflow: Workflow, service: str) -> tuple[str, ...]:
    """Return the services that import what this one parsed, in the order of the chains."""
    behind = (name for chain in workflow.chains.values() if service in chain for name in chain[chain.index(service) :])
    return tuple(dict.fromkeys(name for name in behind if _imports(workflow, name)))
