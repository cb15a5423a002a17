"""What a person sees of a deploy: a line a phase, with its time; and all of it in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

QUIET_SECONDS = 10.0
"""Where there is no terminal, a phase says how far it is after so many seconds each."""


class Phase:
    """One phase while it goes on.

    Attributes:
        result: What its line says at the end.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self.result = "done"

    def progress(self, text: str) -> None:
        """Say how far it is."""
        self._show(text)


class Report:
    """Lines for a person, and a log for when something failed.

    Args:
        console: Where lines go.
        log: The file of this command; None to keep none.
        elapsed: Seconds since some moment, never going back.
    """

    def __init__(
        self, console: Console, log: Path | None = None, *, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._elapsed = elapsed
        self._log = log

    def start_log(self) -> None:
        """Begin the log anew."""
        if self._log:
            self._log.unlink(missing_ok=True)

    def say(self, text: str) -> None:
        """Print a line, and keep it."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self.keep(text)

    def keep(self, text: str) -> None:
        """Write into the log only."""
        if self._log and text:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a", encoding="utf-8") as log:
                log.write(text.rstrip("\n") + "\n")

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Time a phase; its line comes when it is done, and none when it failed."""
        started = self._elapsed()
        self.keep(f"--- {name}")
        if self._console.is_terminal:
            with self._console.status(name) as status:
                phase = Phase(lambda text: status.update(f"{name}: {text}"))
                yield phase
        else:
            phase = Phase(self._sparing(name))
            yield phase
        self.say(f"  {name:<24} {phase.result}  ({self._elapsed() - started:.1f} s)")

    def _sparing(self, name: str) -> Callable[[str], None]:
        said_at = self._elapsed()

        def show(text: str) -> None:
            nonlocal said_at
            if self._elapsed() - said_at >= QUIET_SECONDS:
                said_at = self._elapsed()
                self.say(f"  {name:<24} {text} ...")

        return show
