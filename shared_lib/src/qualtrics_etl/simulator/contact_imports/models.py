"""Import jobs: what is accepted, in which order jobs run, and what one does to directory and list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from qualtrics_etl.simulator.contact_imports.errors import too_many_jobs
from qualtrics_etl.simulator.contacts.models import GivenContact
from qualtrics_etl.simulator.directories.models import Directory
from qualtrics_etl.simulator.ids import Ids
from qualtrics_etl.simulator.mailing_lists.models import MailingList
from qualtrics_etl.simulator.progress import JobProgress

MOST_CONTACTS = 10_000
"""Contacts in a call. Source: Qualtrics API reference, the page on importing contacts."""

MOST_RUNNING = 25
"""Jobs of a brand that run at once. Source: Qualtrics API reference, the page on importing contacts."""

MOST_WAITING = 100
"""Jobs of a brand that may wait beside them. Source: Qualtrics API reference, the page on importing contacts."""

ADDED = "added"
UPDATED = "updated"
FAILED = "failed"
UNTOLD = "untold"
"""Counted nowhere. Source: Not documented; chosen, for counts that don't add up."""


@dataclass(slots=True)
class ReportRow:
    """What became of one contact.

    Attributes:
        position: Its place in the request, from 0.
        outcome: `added`, `updated`, `failed` or `untold`.
    """

    position: int
    email: str
    contact_id: str
    lookup_id: str
    outcome: str


@dataclass(slots=True)
class ImportJob:
    """One import.

    Attributes:
        contacts: What is still to be done, by position in the request; empty when it is finished.
        outcome: `work`; or by a fault `failed`, `empty` or `untold` (its last contact).
        looks_needed: How often it must be looked at, while it runs, before it is finished.
        seconds_needed: How long it runs.
        accepted_at: Seconds since 1970.
        started_at: None while it waits.
        finished_at: None until it is finished.
        rows: The report, in the order of the request.
        first_number: What its report calls the first contact: 0, or 1 by a fault.
        names_failures: Whether its status names invalid addresses; not by a fault.
        has_unknown_words: Whether, by a fault, its report speaks in words that nobody has seen.
    """

    import_id: str
    directory_id: str
    mailing_list_id: str
    contacts: dict[str, dict[str, Any]]
    outcome: str
    looks_needed: int
    seconds_needed: float
    accepted_at: float
    looks: int = 0
    looked_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    rows: list[ReportRow] = field(default_factory=list)
    first_number: int = 0
    has_unknown_words: bool = False
    names_failures: bool = True

    @property
    def status(self) -> str:
        """Return `inProgress`, `complete` or `failed`.

        Source: Published clients for `complete`. Not documented; chosen: the other two, by analogy with exports.
        """
        if self.finished_at is None:
            return "inProgress"
        return "failed" if self.outcome == FAILED else "complete"

    def percent_complete(self, now: float) -> float:
        """Return 0.0 while it waits, 100.0 when it is finished or has failed."""
        if self.finished_at is not None:
            return 100.0
        if self.started_at is None:
            return 0.0
        progress = JobProgress(self.looks_needed, self.seconds_needed)
        return progress.percent(looks=self.looks, seconds=now - self.started_at)

    def count(self, outcome: str) -> int:
        """Return how many contacts had this outcome."""
        return sum(row.outcome == outcome for row in self.rows)

    def due_at(self) -> float | None:
        """Return when it is finished; None while that is open."""
        if self.started_at is None or self.looks < self.looks_needed:
            return None
        return max(self.started_at + self.seconds_needed, self.looked_at)

    def run(self, directory: Directory | None, mailing_list: MailingList | None, ids: Ids, now: float) -> None:
        """Do the work, all at once.

        Source: Qualtrics API reference, the page on importing contacts: a job for a directory or list that does not
        exist is complete with no counts. Transactions: the simulator has no batches yet, and a batch that does not
        exist makes none, without an error.
        """
        if self.outcome in ("work", UNTOLD) and directory is not None and mailing_list is not None:
            untold = [*self.contacts][-1:] if self.outcome == UNTOLD else []
            for position, contact in self.contacts.items():
                if position in untold:
                    self.rows.append(ReportRow(int(position), contact.get("email", ""), "", "", UNTOLD))
                else:
                    self.rows.append(_import(int(position), contact, directory, mailing_list, ids, now))
        self.contacts = {}
        self.finished_at = now


def _import(
    position: int, raw: dict[str, Any], directory: Directory, mailing_list: MailingList, ids: Ids, now: float
) -> ReportRow:
    given = GivenContact.from_json(raw)
    email = given.fields.get("email", "")
    if given.complaint():
        return ReportRow(position, email, "", "", FAILED)
    contact, added = directory.take_in(given, ids, now)
    membership = mailing_list.join(contact.contact_id, given.unsubscribed, ids)
    return ReportRow(position, email, contact.contact_id, membership.lookup_id, ADDED if added else UPDATED)


@dataclass(slots=True)
class ImportQueue:
    """All import jobs of the brand.

    Attributes:
        jobs: By id, in the order of acceptance.
        unfinished: Ids of those that run or wait, in the order of acceptance.
    """

    jobs: dict[str, ImportJob] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)

    def accept(self, job: ImportJob) -> None:
        """Take a job in.

        Source: Qualtrics API reference, the page on importing contacts: 25 run, 100 wait, more are refused. Not
        documented; chosen: the refusal is 429.

        Raises:
            ApiError: 429, too many wait.
        """
        self.start_waiting(job.accepted_at)
        if self._must_wait(job) and sum(1 for _ in self._waiting()) >= MOST_WAITING:
            raise too_many_jobs()
        self.jobs[job.import_id] = job
        self.unfinished.append(job.import_id)
        self.start_waiting(job.accepted_at)

    def look(self, import_id: str, now: float) -> ImportJob | None:
        """Count a look at a running job; None when there is no such job."""
        job = self.jobs.get(import_id)
        if job is not None and job.started_at is not None and job.finished_at is None:
            job.looks += 1
            job.looked_at = now
        return job

    def next_due(self) -> tuple[float, ImportJob] | None:
        """Return the running job that is finished first, and when; None when none is going to be."""
        due = [(at, job) for job in self._running() if (at := job.due_at()) is not None]
        return min(due, key=lambda item: item[0], default=None)

    def finish(self, job: ImportJob, now: float) -> None:
        """Take a job off the queue when it has run, and start what waited for it."""
        self.unfinished.remove(job.import_id)
        self.start_waiting(now)

    def start_waiting(self, now: float) -> None:
        """Start every waiting job that may run: jobs of one list run one after the other.

        Source: Qualtrics API reference, the page on importing contacts (jobs for one list run in order).
        """
        for job in list(self._waiting()):
            if not self._must_wait(job):
                job.started_at = now

    def _must_wait(self, job: ImportJob) -> bool:
        running = list(self._running())
        return len(running) >= MOST_RUNNING or any(other.mailing_list_id == job.mailing_list_id for other in running)

    def _running(self) -> Iterator[ImportJob]:
        return (job for job in self._unfinished() if job.started_at is not None)

    def _waiting(self) -> Iterator[ImportJob]:
        return (job for job in self._unfinished() if job.started_at is None)

    def _unfinished(self) -> Iterator[ImportJob]:
        return (self.jobs[import_id] for import_id in self.unfinished)
