"""How a command on a stage ends when somebody stops it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from qualtrics_etl.deployment.interruption import Interrupted


@contextmanager
def ends_when_interrupted(console: Console, remedy: str) -> Iterator[None]:
    """Say what to do, and exit as programs do that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    try:
        yield
    except Interrupted as stop:
        console.print(
            f"Interrupted; nothing of it runs any more. {remedy}", markup=False, highlight=False, soft_wrap=True
        )
        raise typer.Exit(stop.exit_code) from None
