"""Who holds the place: one process at a time, and the system lets go for whoever dies, in whatever way.

A process id in a file can be somebody else's by now, after a kill or a restart of the machine. A lock can't: while it
is held, the id beside it belongs to its holder.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class PlaceLock:
    """A file that one process at a time has locked, with that process's id in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock until this process ends; False when another one has it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _lock(descriptor, fcntl.LOCK_EX):
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor
        return True

    def holder(self) -> int | None:
        """Return the id of the process that has the lock; None when nobody has it."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            # Asks for a shared lock, so that two who ask at once don't take each other for the holder.
            if _lock(file.fileno(), fcntl.LOCK_SH):
                return None
            return int(file.read() or b"0")
        return None


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
