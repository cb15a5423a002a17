"""The crash matrix itself: take away what keeps a message safe, one thing at a time, and it says so."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from typing_extensions import override

from qualtrics_etl.messages import Message
from qualtrics_etl.ports import ObjectStore, Outgoing, PutResult, Queue, QueueCounts, Queues, Received
from qualtrics_etl.testing import CrashKind, CrashMatrix, CrashReport
from qualtrics_etl.testing.faults import ObjectsAround

Make = Callable[..., Path]
FILE = "contacts.csv"
INVITATION, REMINDER = "distributions: 2 x instead of 1 x: Invite", "distributions: 2 x instead of 1 x: Reminder"
SECOND_LIST = "members of lists: 2 x instead of 1 x"


def with_file(root: Path) -> Path:
    """Put a file of five rows into a repository."""
    rows = "".join(f"p{number}@client.example,P{number},North\n" for number in range(5))
    (root / FILE).write_text(f"email,first_name,branch\n{rows}", encoding="utf-8")
    return root


def with_handler(root: Path, service: str, step: str, body: str) -> Path:
    """Write a handler whose step is ours, with something changed."""
    handler = f"""\
import uuid

from qualtrics_etl import {step}, lambda_handler


class Own({step}):
{body}


handler = lambda_handler(Own)
"""
    (root / "services" / service / "handler.py").write_text(handler, encoding="utf-8")
    return with_file(root)


def run(root: Path, *services: str, kinds: Sequence[CrashKind] = tuple(CrashKind), **around: object) -> CrashReport:
    """Run the matrix, with something put around the ports."""
    with CrashMatrix(root, FILE, **around) as matrix:  # type: ignore[arg-type]  # the two ports' types differ
        report = matrix.run(services=services, kinds=kinds)
    sys.stdout.write(f"\n{report}\n")
    return report


def failed(report: CrashReport, problem: str) -> set[str]:
    """Return the names of the cases that failed with such a problem."""
    return {result.case.name for result in report.failures if any(each.startswith(problem) for each in result.problems)}


class Unconditional(ObjectsAround):
    """A store whose puts always get through, whoever was first."""

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        return super().put(key, body)


def test_missing_claim_is_found(make_repository: Make) -> None:
    """Without the claim's condition, whoever comes second calls too."""
    report = run(with_file(make_repository()), "schedule_distribution", "whole run", objects_for=Unconditional)
    assert failed(report, INVITATION)
    assert "whole-run/0/twice" in {result.case.name for result in report.failures}


def forgetting(state: str) -> Callable[[ObjectStore], ObjectStore]:
    """Make a store that confirms ledger entries of a state, and keeps what was there before."""

    class Forgetting(ObjectsAround):
        @override
        def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
            if key.startswith("ledger/") and body and orjson.loads(body)["state"] == state:
                return PutResult('"lost"', datetime(2026, 1, 15, 9, tzinfo=UTC))
            return super().put(key, body, if_none_match=if_none_match, if_match=if_match)

    return Forgetting


def test_missing_record_of_the_end_is_found(make_repository: Make) -> None:
    """Without the record that work is done, nobody can say what became of a row."""
    report = run(with_file(make_repository()), "schedule_distribution", objects_for=forgetting("done"))
    (result,) = report.failures
    assert result.case.name == "whole-run/0/clean"
    assert "rows: none was read" in result.problems
    assert any(each.endswith("/schedule_distribution/all: intent") for each in result.problems)


def test_missing_record_of_a_job_is_found(make_repository: Make) -> None:
    """Without the record that a job was started, it is started again and again."""
    report = run(with_file(make_repository()), "import_contacts", objects_for=forgetting("started"))
    (result,) = report.failures
    assert result.problems == ("After 400 calls of functions the run has not come to an end.",)


NO_LOOK = """\
    def _reconcile(self, body, key, message):
        return None
"""


@pytest.mark.parametrize(
    ("service", "step", "call", "problem"),
    [
        ("create_mailing_list", "CreateMailingList", 8, SECOND_LIST),
        ("schedule_distribution", "ScheduleDistribution", 6, INVITATION),
        ("schedule_reminder", "ScheduleReminder", 6, REMINDER),
    ],
)
def test_missing_look_before_a_repeat_is_found(
    make_repository: Make, service: str, step: str, call: int, problem: str
) -> None:
    """Without the look for an earlier call's effect, who died after the call has it made a second time."""
    report = run(with_handler(make_repository(), service, step, NO_LOOK), service)
    unheard = ("killed_after", "lost_answer", "late")
    assert {f"{service}/{call}/{kind}" for kind in unheard} <= failed(report, problem)


NO_KEY = """\
    def _prepare(self, message, key):
        return super()._prepare(message, str(uuid.uuid4()))
"""


def test_missing_identity_of_a_request_is_found(make_repository: Make) -> None:
    """With another key in each request, an earlier call's effect can't be told from anybody's."""
    root = with_handler(make_repository(), "schedule_distribution", "ScheduleDistribution", NO_KEY)
    report = run(root, "schedule_distribution")
    assert "schedule_distribution/6/killed_after" in failed(report, INVITATION)
    assert failed(report, "The fault was to hit") == set()


class RandomRuns(Queues):
    """Queues in which every message to `schedule_reminder` is work of its own."""

    def __init__(self, inner: Queues) -> None:
        self._inner = inner

    @override
    def of(self, service: str) -> Queue:
        queue = self._inner.of(service)
        return _RandomRunQueue(queue) if service == "schedule_reminder" else queue

    @override
    def dead_letters_of(self, service: str) -> Queue:
        return self._inner.dead_letters_of(service)


class _RandomRunQueue(Queue):
    def __init__(self, inner: Queue) -> None:
        self._inner = inner

    @property
    @override
    def name(self) -> str:
        return self._inner.name

    @property
    @override
    def fifo(self) -> bool:
        return self._inner.fifo

    @override
    def send(self, messages: Sequence[Outgoing]) -> None:
        for each in messages:
            message = Message.decode(each.body)
            own = replace(message, run=f"{message.run}-{uuid.uuid4().hex[:6]}")
            self._inner.send([replace(each, body=own.encode())])

    @override
    def receive(self, *, max_messages: int = 10, wait_seconds: int = 0) -> list[Received]:
        return self._inner.receive(max_messages=max_messages, wait_seconds=wait_seconds)

    @override
    def delete(self, receipt: str) -> None:
        self._inner.delete(receipt)

    @override
    def change_visibility(self, receipt: str, seconds: int) -> None:
        self._inner.change_visibility(receipt, seconds)

    @override
    def counts(self) -> QueueCounts:
        return self._inner.counts()


def test_missing_identity_of_a_message_is_found(make_repository: Make) -> None:
    """Where what is sent twice is not the same work, everybody is reminded twice."""
    report = run(
        with_file(make_repository()),
        "schedule_distribution",
        kinds=[CrashKind.KILLED_BEFORE, CrashKind.KILLED_AFTER],
        queues_for=RandomRuns,
    )
    sent_twice = {"schedule_distribution/8/killed_after", "schedule_distribution/9/killed_before"}
    assert failed(report, "mails: 2 x instead of 1 x: Reminder") == sent_twice


NO_LEASE = """\
    @property
    def _lease_seconds(self):
        return 0
"""


def test_missing_lease_is_found(make_repository: Make) -> None:
    """Without a lease, others look while the call is still on its way, and call again before it lands."""
    root = with_handler(make_repository(), "schedule_distribution", "ScheduleDistribution", NO_LEASE)
    report = run(root, "schedule_distribution", kinds=[CrashKind.SLOW, CrashKind.LATE])
    assert failed(report, INVITATION) == {"schedule_distribution/6/slow", "schedule_distribution/6/late"}


NO_ROWS_OF_ITS_OWN = """\
    calls = 0

    def build_contact(self, row, *, context):
        Own.calls += 1
        if Own.calls > 5:
            raise RowRejectedError("It was seen before.")
        return super().build_contact(row, context=context)
"""


def test_hook_that_remembers_is_found(make_repository: Make) -> None:
    """A client's hook that is no plain function of its arguments loses rows when its work is repeated."""
    body = f"    from qualtrics_etl.errors import RowRejectedError\n{NO_ROWS_OF_ITS_OWN}"
    body = body.replace("raise RowRejectedError", "raise Own.RowRejectedError")
    root = with_handler(make_repository(), "import_contacts", "ImportContacts", body)
    report = run(root, "import_contacts", kinds=[CrashKind.KILLED_BEFORE])
    assert failed(report, "members of lists: 0 x instead of 1 x")


def test_failure_tells_how_to_repeat_it(make_repository: Make) -> None:
    """Each failing case names its call, what is otherwise, and the command that runs it alone."""
    root = with_handler(make_repository(), "schedule_distribution", "ScheduleDistribution", NO_LOOK)
    report = run(root, "schedule_distribution", kinds=[CrashKind.KILLED_AFTER])
    _, _, explained = str(report).partition("\n\n")
    lines = explained.splitlines()
    assert lines[0] == "schedule_distribution/6/killed_after (POST /API/v3/distributions)"
    assert lines[1].startswith(f"  {INVITATION} after nothing to contacts.csv [")
    assert lines[-1] == (
        f"  again: python -m qualtrics_etl.testing {FILE} --rows 5 --rows-per-batch 2"
        " schedule_distribution/6/killed_after"
    )
