"""Terraform and sls as children: quiet, followed line by line, safe from a parent's death.

What they print goes into files that we read, not through a pipe: a program whose pipe broke would die in the middle of
its work, and Terraform would forget what it made.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from qualtrics_etl.deployment.interruption import Interruption
from qualtrics_etl.deployment.lock import StageLock, end_group
from qualtrics_etl.deployment.report import Report
from qualtrics_etl.errors import ConfigurationError

POLL_SECONDS = 0.05
KILLED_FROM = 128
"""Exit codes from here on stand for a signal; so do negative ones."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a program did.

    Attributes:
        exit_code: 0 for success.
        stdout: What it printed.
        stderr: What it printed there.
    """

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Programs:
    """Runs programs, one at a time.

    Attributes:
        root: The repository, which is where they run.
        environment: All of their environment.
        folder: Where their output lies.
        report: Whose log gets it too.
        interruption: Whose signals they get.
        lock: What they inherit; None where nothing is changed.
    """

    root: Path
    environment: Mapping[str, str]
    folder: Path
    report: Report
    interruption: Interruption
    lock: StageLock | None = None

    def run(
        self,
        command: Sequence[str],
        what: str,
        *,
        on_line: Callable[[str], str] = lambda line: line,
        environment: Mapping[str, str] | None = None,
        locks_state: bool = False,
    ) -> Output:
        """Run a program to its end.

        Args:
            command: Program and arguments.
            what: What it is, in two words, for example `terraform apply`.
            on_line: Gets each line of its standard output as it comes; returns what the log keeps of it.
            environment: What is added to the environment.
            locks_state: Whether it takes Terraform's lock of the state.

        Raises:
            Interrupted: We were asked to stop meanwhile; the program has ended.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        base = self.folder / what.replace(" ", "-")
        with base.with_suffix(".out").open("w+b") as out, base.with_suffix(".err").open("w+b") as err:
            with self.interruption.held() as follow:
                exit_code = self._run(
                    command, what, (out, err), {**self.environment, **(environment or {})}, follow, on_line, locks_state
                )
            return Output(exit_code, _text(out), _text(err))

    def _run(
        self,
        command: Sequence[str],
        what: str,
        files: tuple[IO[bytes], IO[bytes]],
        environment: Mapping[str, str],
        follow: Callable[[subprocess.Popen[bytes]], None],
        on_line: Callable[[str], str],
        locks_state: bool,
    ) -> int:
        out, err = files
        process = subprocess.Popen(  # noqa: S603 - programs that the repository's own Makefile names
            command,
            cwd=self.root,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            # Of its own: Ctrl-C on a terminal reaches every program of a session, and must reach it once, through us.
            start_new_session=True,
            pass_fds=(self.lock.file,) if self.lock else (),
        )
        if self.lock:
            self.lock.runs(what, process.pid, locks_state=locks_state)
        follow(process)
        lines = _Lines(Path(out.name), lambda line: self.report.keep(on_line(line)))
        while process.poll() is None:
            lines.read()
            try:
                process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        lines.read()
        lines.close()
        self.report.keep(_text(err))
        killed = self.interruption.is_forced or not 0 <= process.returncode < KILLED_FROM
        if killed:
            end_group(process.pid)
        if self.lock:
            self.lock.ended(what, killed=killed, locks_state=locks_state)
        return process.returncode


class _Lines:
    """Reads a file that grows."""

    def __init__(self, path: Path, take: Callable[[str], None]) -> None:
        self._file = path.open("rb")
        self._take = take
        self._rest = b""

    def read(self) -> None:
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in whole:
            self._take(line.decode(errors="replace"))

    def close(self) -> None:
        if self._rest:
            self._take(self._rest.decode(errors="replace"))
        self._file.close()


def find_program(root: Path, given: str, what: str, remedy: str) -> str:
    """Return the path of a program; a relative path counts from the repository.

    Raises:
        ConfigurationError: It is not there, or can't be run.
    """
    path = str(root / given) if "/" in given else given
    found = shutil.which(path, path=os.environ.get("PATH", os.defpath))
    if found is None:
        raise ConfigurationError(f"{what} is not there: {given}.", remedy=remedy)
    return found


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
