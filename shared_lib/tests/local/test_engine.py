"""The engine: it stops when nothing is left, and not before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from qualtrics_etl.lambda_entry import LambdaHandler
from qualtrics_etl.local.clock import SkippingClock
from qualtrics_etl.local.engine import Engine
from qualtrics_etl.local.queues import LocalQueues
from qualtrics_etl.local.run import queue_settings
from qualtrics_etl.ports import Outgoing
from qualtrics_etl.workflow import read_workflow


class TickingClock(SkippingClock):
    """A clock on which every look takes a second, so that messages become due between any two looks."""

    def __init__(self) -> None:
        super().__init__()
        self._looks = datetime(2026, 1, 15, tzinfo=UTC)

    @override
    def now(self) -> datetime:
        self.skip(1)
        return self._looks + self._offset


class Taking(LambdaHandler):
    """A function that takes every message."""

    def __init__(self) -> None:
        pass

    @override
    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any] | None:
        return None


@pytest.mark.parametrize("delay_seconds", range(1, 40))
def test_message_that_becomes_due_between_two_looks_is_worked_on(
    make_repository: Callable[[], Path], delay_seconds: int
) -> None:
    """Whenever a message's time comes, the engine goes on until it is settled."""
    workflow, clock = read_workflow(make_repository()), TickingClock()
    queues = LocalQueues(queue_settings(workflow), clock)
    queues.of("parse_file").send([Outgoing("text", delay_seconds=delay_seconds)])
    assert Engine(workflow, dict.fromkeys(workflow.services, Taking()), queues, clock).run()
    assert queues.of("parse_file").messages() == []
