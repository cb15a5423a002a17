"""Ctrl-C and SIGTERM while something is being deployed: passed on to the program at work, which ends in its own way.

Terraform stops at the first signal after what it has begun, and writes it down; at the second it stops at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

GENTLE_SIGNALS = 2
"""How many signals are passed on as they are; the next ones kill."""


class Interrupted(BaseException):
    """Somebody asked us to stop, and nothing of ours runs any more.

    Attributes:
        number: The first signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The exit code of a program that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


class Interruption:
    """Takes SIGINT and SIGTERM from `with` to the end of the block.

    While a program of ours runs it gets the signal, and `Interrupted` comes when it has ended; otherwise at once.

    Args:
        say: Called with a sentence at each signal that is passed on.
    """

    def __init__(self, say: Callable[[str], None] = lambda text: None) -> None:
        self._say = say
        self._first: int | None = None
        self._count = 0
        self._passed_on = 0
        self._held = False
        self._child: subprocess.Popen[bytes] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {each: signal.signal(each, self._take) for each in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def is_forced(self) -> bool:
        """Whether a program was told to stop at once, so that it could not tidy up."""
        return self._passed_on > 1

    @contextmanager
    def held(self) -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
        """Hold signals back for a program; yields a function that says which one, as soon as it runs.

        Raises:
            Interrupted: At the end, when a signal came meanwhile.
        """
        self._held = True
        try:
            yield self._follow
        finally:
            self._child, self._held = None, False
        if self._first is not None:
            raise Interrupted(self._first)

    def _follow(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._pass_on()

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._first = self._first or number
        self._count += 1
        if not self._held:
            raise Interrupted(self._first)
        self._pass_on()

    def _pass_on(self) -> None:
        """Send what came since; to the program alone, since what it started hears of it from there."""
        if self._passed_on == self._count or self._child is None or self._child.poll() is not None:
            return
        while self._passed_on < self._count:
            self._passed_on += 1
            with suppress(ProcessLookupError):
                if self._passed_on > GENTLE_SIGNALS:
                    os.killpg(self._child.pid, signal.SIGKILL)
                else:
                    self._child.send_signal(signal.SIGINT)
        self._say(_words(self._count))


def _words(count: int) -> str:
    if count == 1:
        return "Stopping after what has been begun. Again to stop at once, which may leave things half made."
    return "Stopping at once." if count <= GENTLE_SIGNALS else "Killed."
