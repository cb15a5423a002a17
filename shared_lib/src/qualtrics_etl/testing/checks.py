"""The checks that every step, and every workflow, must pass: a test class inherits them and names its service."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar

import pytest

from qualtrics_etl.local.repository import load_handler
from qualtrics_etl.testing.runs import Disturbance, Outcome, run_workflow
from qualtrics_etl.workflow import read_workflow

CALL_OF_KIND = {
    "create_mailing_list": "*/mailinglists",
    "import_contacts": "*/transactioncontacts",
    "schedule_distribution": "*/distributions",
    "schedule_reminder": "*/reminders",
}
"""The one call of each kind that makes one: its path, as a shell pattern."""

CALL_FAULTS = ("server_error", "throttle", "error_after_effect", "cut_after_effect", "late_effect")
"""What may happen to that call: it is refused, it has its effect and the answer is lost, or its effect comes late."""

WRITES = 4
"""How many of a service's first writes to the store are disturbed, one at a time."""

ROWS_A_BATCH = 20
"""Small batches, so that a small sample file is several of them, and what waits for all batches has to wait."""


class WorkflowChecks:
    """What every workflow must do with its sample file."""

    file: ClassVar[str] = "tests/data/contacts.csv"
    """The sample file, below the repository's root."""

    def run(self, disturbance: Disturbance | None = None) -> Outcome:
        """Run the workflow on the sample file."""
        return run_workflow(Path.cwd(), self.file, disturbance or Disturbance())

    def test_every_row_is_accounted_for(self) -> None:
        """Rows in = loaded + updated + skipped + rejected + failed, and at least one got through, at each import."""
        rows = self.run().rows
        assert {service: each.unaccounted for service, each in rows.items()} == dict.fromkeys(rows, 0)
        assert rows
        assert all(each.loaded + each.updated > 0 for each in rows.values())

    def test_nothing_waits_in_a_dead_letter_queue(self) -> None:
        """The sample file goes through without an on-call engineer."""
        assert self.run().dead_letters == ()

    def test_every_message_twice_changes_nothing(self) -> None:
        """A queue may deliver twice: the same contacts, each mailed as often."""
        twice = self.run(Disturbance(duplicates=True))
        assert twice.end_state == self.run().end_state
        assert twice.dead_letters == ()

    def test_several_batches_end_as_one_does(self) -> None:
        """Cut into small batches, each delivered twice: the same contacts, each mailed as often."""
        cut = self.run(Disturbance(duplicates=True, rows_per_batch=ROWS_A_BATCH))
        assert cut.end_state == self.run().end_state
        assert cut.dead_letters == ()
        assert {service: each.unaccounted for service, each in cut.rows.items()} == dict.fromkeys(cut.rows, 0)


class StepChecks:
    """What every step must do: its service runs as part of the workflow, undisturbed and disturbed."""

    service: ClassVar[str]
    """Name of the service whose handler is checked."""

    file: ClassVar[str] = "tests/data/contacts.csv"
    """The sample file, below the repository's root."""

    def test_handler_runs_the_kind_that_the_workflow_says(self) -> None:
        """Function, folder and workflow.yml agree."""
        assert load_handler(Path.cwd(), self.service).step.kind.name == _kind_of(self.service)

    def test_its_work_comes_to_an_end(self) -> None:
        """The service is reached, and finishes."""
        assert self._run().done[self.service] > 0

    def test_disturbed_step_is_repeated_alone(self, disturbance: Disturbance) -> None:
        """Whatever goes wrong on its way, the end is the same, and no other service's call is made again."""
        disturbed, undisturbed = self._run(disturbance), self._run()
        assert disturbed.end_state == undisturbed.end_state
        assert disturbed.dead_letters == ()
        own_call = CALL_OF_KIND.get(_kind_of(self.service), "")
        assert _calls_but(own_call, disturbed) == _calls_but(own_call, undisturbed)

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """Give each service the disturbances that can befall it."""
        if "disturbance" in metafunc.fixturenames:
            metafunc.parametrize("disturbance", _disturbances(cls.service), ids=str)

    def test_disturbed_step_is_repeated_alone_among_several_batches(self) -> None:
        """A write that is lost on the way of one batch of several changes nothing either."""
        cut = Disturbance(rows_per_batch=ROWS_A_BATCH)
        disturbed = self._run(replace(cut, service=self.service, failing_write=2, after_effect=True))
        own_call = CALL_OF_KIND.get(_kind_of(self.service), "")
        assert (disturbed.end_state, disturbed.dead_letters) == (self._run().end_state, ())
        assert _calls_but(own_call, disturbed) == _calls_but(own_call, self._run(cut))

    def _run(self, disturbance: Disturbance | None = None) -> Outcome:
        return run_workflow(Path.cwd(), self.file, disturbance or Disturbance())


def _kind_of(service: str) -> str:
    return read_workflow(Path.cwd()).services[service].kind


def _disturbances(service: str) -> list[Disturbance]:
    call = CALL_OF_KIND.get(_kind_of(service))
    calls = [Disturbance(scenario=fault, method="POST", path=call) for fault in CALL_FAULTS] if call else []
    writes = [
        Disturbance(service=service, failing_write=number, after_effect=after_effect)
        for number in range(1, WRITES + 1)
        for after_effect in (False, True)
    ]
    return calls + writes


def _calls_but(own_call: str, outcome: Outcome) -> dict[str, int]:
    """Return how often each call that changes something was answered well, but for a service's own."""
    return {
        name: count
        for name, count in outcome.calls.items()
        if name.startswith("POST ") and not fnmatchcase(name.removeprefix("POST "), own_call)
    }
