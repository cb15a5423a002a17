"""What a run leaves behind, wherever it can be seen, in a form that does not depend on how it came there.

Left out is what may differ between two runs that both went well: ids, times, how often something was tried, and
whether Qualtrics calls a person new or known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qualtrics_etl.errors import OutcomeUnknownError
from qualtrics_etl.formats.outcomes import Fate, decode_outcomes
from qualtrics_etl.ledger import Entry
from qualtrics_etl.local.queues import LocalQueues
from qualtrics_etl.ports import ObjectStore
from qualtrics_etl.simulator import Simulator
from qualtrics_etl.summary import summarize_runs
from qualtrics_etl.testing.runs import LONG_SECONDS
from qualtrics_etl.workflow import Workflow

MOST_SHOWN = 6

Part = Mapping[str, int]
"""What there is, and how often."""


@dataclass(frozen=True, slots=True)
class EndState:
    """What is there when nothing is left to do.

    Attributes:
        effects: What reached people or Qualtrics, by kind: members of lists, contacts, distributions, mails.
        records: What we and the client hold: files, rejects, the ledger's entries, what became of each row.
        waiting: What is still in a queue or dead-letter queue.
        unknown: How many dead letters say that the outcome of a call is unknown.
    """

    effects: Mapping[str, Part]
    records: Mapping[str, Part]
    waiting: Part
    unknown: int

    def differences(self, clean: EndState) -> list[str]:
        """Say what is otherwise than in the clean run."""
        parts = {**self.effects, **self.records, "still waiting": self.waiting}
        others = {**clean.effects, **clean.records, "still waiting": clean.waiting}
        return [line for name, part in parts.items() for line in _compare(name, part, others[name])]

    def excess(self, clean: EndState) -> list[str]:
        """Say which effects there are that the clean run has not, or has less often."""
        return [
            f"{name}: {times - clean.effects[name].get(each, 0)} x too many: {each}"
            for name, part in self.effects.items()
            for each, times in part.items()
            if times > clean.effects[name].get(each, 0)
        ]

    def is_stopped_as_unknown(self) -> bool:
        """Whether all that is still waiting waits because the outcome of a call is unknown."""
        return bool(self.waiting) and self.unknown == sum(self.waiting.values())


def read_end_state(
    workflow: Workflow, simulator: Simulator, objects: ObjectStore, queues: LocalQueues, client: Path
) -> EndState:
    """Read everything; moves the simulator's clock on to where every mail has gone out."""
    simulator.advance(LONG_SECONDS)
    letters = [letter for service in workflow.services for letter in queues.dead_letters_of(service).messages()]
    return EndState(
        effects={
            "members of lists": Counter(_members(simulator)),
            "contacts": Counter(_contacts(simulator)),
            "distributions": Counter(_distributions(simulator)),
            "mails": Counter(_mails(simulator)),
        },
        records={
            "files at the client": Counter(_files(client)),
            "rejects": Counter(_rejects(objects)),
            "outcomes": Counter(_outcomes(objects)),
            "ledger": Counter(_entries(objects)),
            "taken files": Counter(summary.key for summary in objects.list("files/")),
            "rows": Counter(_rows(workflow, objects)),
        },
        waiting=Counter(_waiting(workflow, queues)),
        unknown=sum(letter.attributes.get("error") == OutcomeUnknownError.__name__ for letter in letters),
    )


def _members(simulator: Simulator) -> Iterator[str]:
    state = simulator.state
    for each in state.mailing_lists.values():
        yield f"{each.name}: the list itself"
        for contact_id in each.members:
            yield f"{each.name}: {_person(state.directories[each.directory_id].contacts[contact_id])}"


def _contacts(simulator: Simulator) -> Iterator[str]:
    for directory in simulator.state.directories.values():
        yield from (_person(contact) for contact in directory.contacts.values())


def _person(contact: Any) -> str:
    left_out = ("contact_id", "created_at", "modified_at")
    fields = {name: getattr(contact, name) for name in contact.__dataclass_fields__ if name not in left_out}
    return ", ".join(f"{name}={value!r}" for name, value in sorted(fields.items()) if value)


def _distributions(simulator: Simulator) -> Iterator[str]:
    state = simulator.state
    for each in state.post.distributions.values():
        parent = state.post.distributions[each.parent_id].kind if each.parent_id else "nothing"
        name = state.mailing_lists[each.mailing_list_id].name
        yield f"{each.kind} after {parent} to {name}: {each.message}, {each.sent} sent"


def _mails(simulator: Simulator) -> Iterator[str]:
    sent: Any = simulator.mailings()["sent"]
    yield from (f"{mail['kind']} to {person['email']}" for person in sent for mail in person["by"])


def _files(client: Path) -> Iterator[str]:
    for path in client.rglob("*"):
        if path.is_file():
            yield f"{path.relative_to(client)}: {path.stat().st_size} bytes"


def _rejects(objects: ObjectStore) -> Iterator[str]:
    for summary in objects.list("rejects/"):
        yield f"{summary.key} {summary.etag}"


def _outcomes(objects: ObjectStore) -> Iterator[str]:
    for summary in objects.list("outcomes/"):
        if found := objects.get(summary.key):
            for row in decode_outcomes(found.body):
                # A row that is imported twice is new the first time and known the second.
                imported = row.fate in (Fate.LOADED, Fate.UPDATED)
                became = "imported" if imported else f"{row.fate.value}: {row.field} {row.reason}"
                yield f"{summary.key}: line {row.line} {became}"


def _entries(objects: ObjectStore) -> Iterator[str]:
    for summary in objects.list("ledger/"):
        found = objects.get(summary.key)
        # A mark at a fan-in is an empty object.
        is_entry = found is not None and found.body
        yield f"{summary.key}: {Entry.decode(found.body).state.value if found and is_entry else 'mark'}"


def _rows(workflow: Workflow, objects: ObjectStore) -> Iterator[str]:
    for run in summarize_runs(workflow, objects):
        for service, rows in run.rows.items():
            # A batch that is imported twice is new the first time and known the second.
            imported = rows.loaded + rows.updated
            yield (
                f"{service}: {rows.read} read, {imported} imported, {rows.skipped} skipped, {rows.rejected} rejected,"
                f" {rows.pending} pending, {rows.unaccounted} unaccounted for"
            )


def _waiting(workflow: Workflow, queues: LocalQueues) -> Iterator[str]:
    for service in workflow.services:
        for message in queues.of(service).messages():
            yield f"{service}: {message.state}"
        for letter in queues.dead_letters_of(service).messages():
            told = letter.attributes
            yield f"dead letter of {service}: {told.get('error', 'received too often')}: {told.get('cause', '')}"


def _compare(name: str, part: Part, clean: Part) -> list[str]:
    differing = [each for each in {**clean, **part} if part.get(each, 0) != clean.get(each, 0)]
    lines = [f"{name}: {part.get(each, 0)} x instead of {clean.get(each, 0)} x: {each}" for each in differing]
    more = [f"{name}: and {len(lines) - MOST_SHOWN} more"] if len(lines) > MOST_SHOWN else []
    return lines[:MOST_SHOWN] + more
