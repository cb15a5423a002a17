"""One command at a time in a checkout of a repository, and what is known of those before.

Commands on two stages write to the same places: `build/`, `.serverless/`, import blocks in `terraform/`. So there is
one lock for all of them. It is the operating system's, on a file below `.qetl`. Every program that is started inherits
it, so it is free only when nothing of an earlier deploy lives: also when its parent was killed and Terraform went on.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qualtrics_etl.errors import QualtricsEtlError

WAIT_SECONDS = 900.0
"""How long another command is waited for."""
POLL_SECONDS = 0.2
NOTE_BYTES = 2048
"""Length of the note in the lock's file; one of all stages needs 900."""
ORPHAN_SECONDS = 3.0
"""How long what a killed program had started may still work on. Terraform's plugins outlive it, and wait for ever."""


@dataclass(frozen=True, slots=True)
class Began:
    """A program that holds, or held, Terraform's lock of a state.

    Attributes:
        what: For example `terraform apply`.
        at: When it was started, UTC.
    """

    what: str
    at: datetime


class StageLock:
    """The lock for a command on a stage, held from `with` to the end of the block.

    Attributes:
        left_behind: The stage's last program that was killed while it may have held Terraform's lock; None when there
            is none.

    Args:
        path: The lock's file.
        command: What we are, for whoever waits, for example `deploy`.
        stage: Which stage we work on; the file keeps apart what was left behind in each.
        say: Called with a sentence while another command is waited for.
        sleep: How to wait.
    """

    def __init__(
        self,
        path: Path,
        command: str,
        *,
        stage: str = "",
        say: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._command = command
        self._stage = stage
        self._say = say
        self._sleep = sleep
        self._file = -1
        self._left_elsewhere: dict[str, Any] = {}
        self.left_behind: Began | None = None

    def __enter__(self) -> Self:
        """Take the lock, waiting for another command.

        Raises:
            QualtricsEtlError: That one still runs after a quarter of an hour.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._wait()
        except BaseException:
            os.close(self._file)
            raise
        left = dict(self._read().get("left", {}))
        self.left_behind = _began(left.pop(self._stage, None))
        self._left_elsewhere = left
        self._write(self._command)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.left_behind is None and not self._left_elsewhere:
            os.ftruncate(self._file, 0)
        # Not unlocked: a program of ours that lives on keeps it.
        os.close(self._file)

    @property
    def file(self) -> int:
        """The file descriptor that programs inherit."""
        return self._file

    def runs(self, what: str, pid: int, *, locks_state: bool) -> None:
        """Note which program runs now."""
        if locks_state:
            self.left_behind = Began(what, datetime.now(UTC))
        self._write(what, pid)

    def ended(self, what: str, *, killed: bool, locks_state: bool) -> None:
        """Note that a program ended; one that was killed could not give Terraform's lock back."""
        if locks_state and not killed:
            self.left_behind = None
        self._write(self._command)

    def forget(self) -> None:
        """Note that nothing is left behind any more."""
        self.left_behind = None
        self._write(self._command)

    def _wait(self) -> None:
        give_up_at, said = time.monotonic() + WAIT_SECONDS, ""
        dead_since: float | None = None
        while not self._try():
            note = self._read()
            holder = _holder(note)
            if not note.get("program") or _lives(note["pid"]):
                dead_since = None
            elif dead_since is None:
                dead_since = time.monotonic()
            elif time.monotonic() - dead_since > ORPHAN_SECONDS:
                end_group(note["pid"])
            if holder != said:
                self._say(f"Another command still works in this checkout ({holder}): waiting for it.")
                said = holder
            if time.monotonic() > give_up_at:
                raise QualtricsEtlError(
                    f"Another command still works in this checkout after {WAIT_SECONDS / 60:.0f} minutes ({holder}).",
                    remedy="Wait for its end, or end it; then run this again.",
                )
            self._sleep(POLL_SECONDS)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _read(self) -> dict[str, Any]:
        text = os.pread(self._file, 4096, 0)
        try:
            note = json.loads(text)
        except ValueError:  # empty, or just being written
            return {}
        return note if isinstance(note, dict) else {}

    def _write(self, what: str, pid: int | None = None) -> None:
        note: dict[str, Any] = {
            "pid": pid or os.getpid(),
            "what": what,
            "stage": self._stage,
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if pid:
            note["program"] = True
        left = dict(self._left_elsewhere)
        if self.left_behind:
            left[self._stage] = {"what": self.left_behind.what, "at": self.left_behind.at.isoformat()}
        if left:
            note["left"] = left
        # Padded to one length, so that a reader never sees the end of an older note.
        os.pwrite(self._file, json.dumps(note).ljust(NOTE_BYTES).encode(), 0)


def end_group(leader: int) -> None:
    """Kill what is left of a program's process group when the program itself is dead.

    While anything of the group lives, the system gives its number to nobody else.
    """
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # In a container nobody may ever collect what is dead. Source: proc(5), /proc/pid/stat; Linux alone has it.
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return True


def _holder(note: dict[str, Any]) -> str:
    if not note:
        return "it has not said what it is"
    stage = f" for stage {note['stage']}" if note.get("stage") else ""
    return f"{note['what']}{stage}, process {note['pid']}, since {note['since']}"


def _began(left: dict[str, str] | None) -> Began | None:
    return Began(left["what"], datetime.fromisoformat(left["at"])) if left else None
