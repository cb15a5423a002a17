"""The checks that every step, and every workflow, must pass: a test class inherits them and names its service."""

from __future__ import annotations

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


class WorkflowChecks:
    """What every workflow must do with its sample file."""

    file: ClassVar[str] = "tests/data/contacts.csv"
    """The sample file, below the repository's root."""

    def run(self, disturbance: Disturbance | None = None) -> Outcome:
        """Run the workflow on the sample file."""
        return run_workflow(Path.cwd(), self.file, disturbance or Disturbance())

    def test_every_row_is_accounted_for(self) -> None:
        """Rows in = loaded + updated + skipped + rejected + failed, and at least one got through."""
        rows = self.run().rows
        assert rows.unaccounted == 0
        assert rows.loaded + rows.updated > 0

    def test_nothing_waits_in_a_dead_letter_queue(self) -> None:
        """The sample file goes through without an on-call engineer."""
        assert self.run().dead_letters == ()

    def test_every_message_twice_changes_nothing(self) -> None:
        """A queue may deliver twice: the same contacts, each mailed as often."""
        twice = self.run(Disturbance(duplicates=True))
        assert twice.end_state == self.run().end_state
        assert twice.dead_letters == ()


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
