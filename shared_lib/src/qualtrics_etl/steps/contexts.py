"""What hooks are told: one frozen value each, so that one fact more breaks nobody's override."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

RowValues = Mapping[str, Any]
"""One row as a hook sees it: field to text, number, boolean or None, as `parse_file` validated it. A date or a decimal
number is text here: its JSON form."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a hook is told about the run.

    Attributes:
        workflow: The client repository's slug.
        stage: local, dev, staging or prod.
        service: The service that runs the step.
        run: Id of the run.
        batch: `all`, or the batch's id.
        file_name: Name of the client's file; None where the run began otherwise.
        rows: Good rows of the whole file; None before it was parsed.
        now: The time of this attempt, UTC. What it is used for is fixed with the request, and the same in every
            later attempt.
    """

    workflow: str
    stage: str
    service: str
    run: str
    batch: str
    file_name: str | None
    rows: int | None
    now: datetime


@dataclass(frozen=True, slots=True)
class RowContext:
    """What a hook is told about one row.

    Attributes:
        run: The run.
        line: Line of the client's file where the row begins, from 1.
    """

    run: RunContext
    line: int
