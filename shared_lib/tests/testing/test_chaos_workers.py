"""Just the process at the other end of a connection is killed, and only one that the place has started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from qualtrics_etl.testing.chaos_workers import kill_worker

WORKER = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); s.send(b'x'); s.recv(1)"


@contextmanager
def connected_worker(*, remove: int) -> Iterator[tuple[int, socket.socket]]:
    """Start a process that connects to us, a child of ours or a grandchild; give its port and the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        worker = [sys.executable, "-c", WORKER, str(listening.getsockname()[1])]
        between = [sys.executable, "-c", "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"]
        started = subprocess.Popen(worker if remove == 1 else [*between, *worker])
        connection, (_, port) = listening.accept()
        with connection:
            assert connection.recv(1) == b"x"
            yield port, connection
        started.wait()


def test_worker_at_the_other_end_is_killed() -> None:
    """Its connection ends, and it was the one that the id names."""
    with connected_worker(remove=2) as (port, connection):
        pid = kill_worker(port, os.getpid())
        assert pid is not None
        assert pid != os.getpid()
        assert connection.recv(1) == b""


def test_what_the_place_has_not_started_lives_on() -> None:
    """Neither the emulator itself, which is the place's child, nor a stranger is killed."""
    with connected_worker(remove=1) as (port, connection):
        assert kill_worker(port, os.getpid()) is None
        connection.send(b"y")
    with connected_worker(remove=2) as (port, connection):
        assert kill_worker(port, 2**22 + 1) is None
        connection.send(b"y")


def test_connection_that_is_gone_kills_nobody() -> None:
    """A port that nobody uses names no process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert kill_worker(port, os.getpid()) is None
