"""Whole runs of a repository's workflow, under faults, and the end state in Qualtrics that they are compared by."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from qualtrics_etl.catalogue import PARSE_FILE
from qualtrics_etl.local.dead_letters import Waiting, dead_letters
from qualtrics_etl.local.repository import Repository, open_repository
from qualtrics_etl.local.run import LocalRun
from qualtrics_etl.ports import ObjectStore
from qualtrics_etl.simulator import Fault, Simulator
from qualtrics_etl.summary import Rows, done_by_service, summarize_runs
from qualtrics_etl.testing.faults import FailingObjects

LONG_SECONDS = 800 * 86_400.0
"""Until every invitation and reminder has gone out."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left behind.

    Attributes:
        lists: Of each mailing list, who is in it: every field that Qualtrics keeps, sorted.
        mails: How often each person would have been mailed, by kind of mail.
        rows: What became of the file's rows, by the service that imports them.
        done: Pieces of work that came to an end, by service.
        dead_letters: What waits in dead-letter queues.
        calls: Calls that Qualtrics answered well, by endpoint.
    """

    lists: tuple[tuple[str, ...], ...]
    mails: Mapping[tuple[str, str], int]
    rows: Mapping[str, Rows]
    done: Mapping[str, int]
    dead_letters: tuple[Waiting, ...]
    calls: Mapping[str, int]

    @property
    def end_state(self) -> object:
        """What must be the same, whatever happened on the way."""
        return self.lists, self.mails


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What goes wrong during a run; nothing, unless told.

    Attributes:
        duplicates: Every message is delivered twice.
        scenario: A fault of the simulator, once; `qetl simulate --scenarios` lists them.
        method: Which calls the fault hits: by method.
        path: And by path below the API's root, a shell pattern.
        service: Whose writes to the store are disturbed.
        failing_write: Which of them fails, from 1; 0 is none.
        after_effect: Whether that write has its effect before it fails.
        rows_per_batch: How many rows a batch has; 0 is what the settings say. Nothing goes wrong by it: it lets a small
            file be several batches, which a fan-in waits for.
    """

    duplicates: bool = False
    scenario: str = ""
    method: str = ""
    path: str = ""
    service: str = ""
    failing_write: int = 0
    after_effect: bool = False
    rows_per_batch: int = 0

    @override
    def __str__(self) -> str:
        when = "after" if self.after_effect else "before"
        write = f"write-{self.failing_write}-fails-{when}-effect" if self.failing_write else ""
        parts = (
            self.scenario,
            write,
            "duplicates" if self.duplicates else "",
            f"{self.rows_per_batch}-rows-a-batch" if self.rows_per_batch else "",
        )
        return "-".join(filter(None, parts)) or "none"


@functools.cache
def run_workflow(root: Path, file: str, disturbance: Disturbance) -> Outcome:
    """Run a repository's workflow on a file, in a folder of its own; the same question is answered once a session.

    Args:
        file: Path of the client's file, below `root`.
    """
    repository = with_batches_of(disturbance.rows_per_batch, open_repository(root))
    with tempfile.TemporaryDirectory() as folder:
        place = LocalRun(
            repository,
            Path(folder),
            duplicates=disturbance.duplicates,
            rate_limits=False,
            objects_for=functools.partial(_objects_for, disturbance),
        )
        if disturbance.scenario:
            place.simulator.arm(Fault(disturbance.scenario, method=disturbance.method, path=disturbance.path))
        with place:
            place.drop(root / file)
            place.engine.run()
            return _outcome(repository, place)


def with_batches_of(rows: int, repository: Repository) -> Repository:
    """Return the repository, its files cut into batches of so many rows."""
    services = dict(repository.workflow.services)
    for name, service in services.items():
        if rows and service.kind == PARSE_FILE.name:
            services[name] = service.model_copy(update={"settings": {**service.settings, "rows_per_batch": rows}})
    return replace(repository, workflow=replace(repository.workflow, services=services))


def _objects_for(disturbance: Disturbance, service: str, objects: ObjectStore) -> ObjectStore:
    if service != disturbance.service or not disturbance.failing_write:
        return objects
    return FailingObjects(objects, disturbance.failing_write, after_effect=disturbance.after_effect)


def _outcome(repository: Repository, place: LocalRun) -> Outcome:
    runs = summarize_runs(repository.workflow, place.objects)
    counts = place.simulator.state.calls.items()
    return Outcome(
        lists=lists_of(place.simulator),
        mails=mails_of(place.simulator),
        rows=runs[-1].rows if runs else {},
        done=done_by_service(repository.workflow, place.objects),
        dead_letters=tuple(dead_letters(repository.workflow, place.queues)),
        calls={name: sum(each for status, each in by.items() if status.startswith("2")) for name, by in counts},
    )


def lists_of(simulator: Simulator) -> tuple[tuple[str, ...], ...]:
    """Return of each mailing list who is in it: every field that Qualtrics keeps, sorted."""
    state = simulator.state
    return tuple(
        tuple(sorted(_person(state.directories[each.directory_id], contact) for contact in each.members))
        for each in state.mailing_lists.values()
    )


def _person(directory: Any, contact_id: str) -> str:
    contact = directory.contacts[contact_id]
    # When, and under which id, Qualtrics took a person in differs from run to run; who it is does not.
    fields = {
        name: getattr(contact, name)
        for name in contact.__dataclass_fields__
        if name not in ("contact_id", "created_at", "modified_at")
    }
    return repr(sorted(fields.items()))


def mails_of(simulator: Simulator) -> Mapping[tuple[str, str], int]:
    """Let everything go out, and return how often each person would have been mailed, by kind of mail."""
    simulator.advance(LONG_SECONDS)
    mails: Counter[tuple[str, str]] = Counter()
    sent: Any = simulator.mailings()["sent"]
    for person in sent:
        for mail in person["by"]:
            mails[person["email"], mail["kind"]] += 1
    return dict(mails)
