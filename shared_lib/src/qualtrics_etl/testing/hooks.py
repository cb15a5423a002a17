"""Values to test a client's hooks with: a step that is wired to nothing real, and the contexts that hooks are given."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.formats.batches import Reject, rows_as_mappings
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.objects import MemoryObjects
from qualtrics_etl.local.queues import LocalQueues
from qualtrics_etl.local.repository import load_handler
from qualtrics_etl.local.run import queue_settings
from qualtrics_etl.local.secrets import FixedSecrets
from qualtrics_etl.settings import read_config
from qualtrics_etl.steps.base import Step, Wiring
from qualtrics_etl.steps.contexts import RowContext, RowValues, RunContext
from qualtrics_etl.steps.parse_file import ParseFile
from qualtrics_etl.workflow import read_workflow

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


def wired_step(service: str) -> Any:
    """Return the step of a service's handler, with the settings of config/local.yml, for calling its hooks.

    It reaches nothing: no network, no account; what it stores is in memory. The type is the handler's own class.

    Raises:
        ConfigurationError: Workflow, handler or settings are wrong.
    """
    root, clock = Path.cwd(), VirtualClock(NOW)
    workflow = read_workflow(root)
    if service not in workflow.services:
        raise ConfigurationError(
            f"workflow.yml has no service `{service}`.", remedy=f"It has: {', '.join(workflow.services)}."
        )
    wiring = Wiring(
        workflow=workflow,
        service=service,
        config=read_config(root, "local"),
        objects=MemoryObjects(clock),
        queues=LocalQueues(queue_settings(workflow), clock),
        secrets=FixedSecrets({}),
        clock=clock,
    )
    step: Step = load_handler(root, service).step(wiring)
    return step


def parse_text(service: str, text: str) -> tuple[list[RowValues], list[Reject]]:
    """Parse a file's text as a `parse_file` service does; return its good rows and its rejects, in file order.

    Raises:
        InputError: The file can't be used as a whole.
    """
    step: ParseFile = wired_step(service)
    stream = io.BytesIO(text.encode(step.settings.encoding))
    batches = list(step.read(stream, file="test.csv", run=run_context(service=service)))
    rows: list[RowValues] = [row for batch in batches for _, row in rows_as_mappings(batch)]
    return rows, [reject for batch in batches for reject in batch.rejects]


def run_context(**changes: Any) -> RunContext:
    """Return what a hook is told about a run: a file of 100 rows, at noon of 15 January 2026; change what matters."""
    usual = RunContext(
        workflow="example",
        stage="local",
        service="example",
        run="example-0123456789ab",
        batch="all",
        file_name="contacts.csv",
        rows=100,
        now=NOW,
    )
    return replace(usual, **changes)


def row_context(*, line: int = 2, **changes: Any) -> RowContext:
    """Return what a hook is told about a row, in the run that `run_context` describes."""
    return RowContext(run_context(**changes), line)
