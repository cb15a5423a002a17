"""Which of the emulator's processes is at the other end of a connection, so that just this one can be killed."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def kill_worker(port: int, place_pid: int) -> int | None:
    """Kill the process whose connection to us comes from a port of this machine; return its id.

    Only a process that the place has started, at whatever remove, is ever killed. None when it is gone already.

    Args:
        port: The connection's other end.
        place_pid: The process that holds the place.
    """
    inode = _socket_of(port)
    pid = _owner_of(inode, place_pid) if inode else None
    if pid is None:
        return None
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return pid


def _socket_of(port: int) -> str | None:
    """Return the socket that is bound to a local port and connected.

    Source: Linux, Documentation/networking/proc_net_tcp.rst (local address and port in hexadecimal, state 01 is
    established, then the inode).
    """
    for line in (PROC / "net" / "tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == "01" and fields[9] != "0":
            return fields[9]
    return None


def _owner_of(inode: str, place_pid: int) -> int | None:
    parents = _parents()
    for pid in parents:
        if _is_below(pid, place_pid, parents) and _holds(pid, inode):
            return pid
    return None


def _parents() -> dict[int, int]:
    """Return every process with its parent."""
    found: dict[int, int] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # The name stands in brackets and may hold anything; the parent is the second field behind it.
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def _is_below(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    above = parents.get(pid, 0)
    while above not in (0, 1):
        if above == ancestor:
            # The place's own child is the emulator itself, which is not to be killed.
            return parents.get(pid) != ancestor
        above = parents.get(above, 0)
    return False


def _holds(pid: int, inode: str) -> bool:
    with suppress(OSError):
        return any(str(each.readlink()) == f"socket:[{inode}]" for each in (PROC / str(pid) / "fd").iterdir())
    return False
