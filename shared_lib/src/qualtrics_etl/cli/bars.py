"""The bar that shows how far a long command is, where a person looks on."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


def counting_bar() -> Progress:
    """Return a bar that counts what is done, on standard error; it leaves no trace, and none is drawn into a file."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())
