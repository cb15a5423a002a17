"""What a command shows and asks where a person sits: a bar, a question."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from qualtrics_etl.errors import ConfigurationError


def counting_bar() -> Progress:
    """Return a bar that counts what is done, on standard error; it leaves no trace, and none is drawn into a file."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())


def confirm(question: str) -> bool:
    """Ask; Ctrl-C is a no.

    Raises:
        ConfigurationError: Nobody answers, since standard input is at its end: a pipeline, a schedule.
    """
    try:
        return typer.confirm(question)
    except typer.Abort as abort:
        typer.echo()
        if isinstance(abort.__context__, KeyboardInterrupt):
            return False
        raise ConfigurationError(
            "Nobody can be asked here; nothing was changed.", remedy="Give --yes, or YES=1 to make."
        ) from None
