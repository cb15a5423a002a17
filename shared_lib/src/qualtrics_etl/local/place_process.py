"""The process that holds the place on this machine. `start_place` runs it; it stays when its starter is gone.

On standard output it says, in a line of JSON, what became of the start; that stream ends there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError
from qualtrics_etl.local.emulator import Emulator, emulator_python, running_emulator
from qualtrics_etl.local.place import (
    LOCK_FILE,
    PLACE_FOLDER,
    Place,
    forget_place,
    save_place,
    sftp_folder,
)
from qualtrics_etl.local.place_lock import PlaceLock
from qualtrics_etl.local.place_settings import HOST_KEY_SENTENCE, PlaceSettings, read_place_settings
from qualtrics_etl.local.run import LOCAL_PASSWORD, SECONDS_OF_A_JOB
from qualtrics_etl.local.sftp_server import LocalSftpServer, known_host_key
from qualtrics_etl.simulator import JobProgress, Simulator

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2


def main() -> None:
    """Become a process of its own, hold the place of the repository that is named, and end when told to."""
    if os.fork():
        # The starter waits for this one, and so never has a dead child.
        os._exit(0)
    os.setsid()
    root = Path(sys.argv[1])
    lock = PlaceLock(root / PLACE_FOLDER / LOCK_FILE)
    if not lock.acquire():
        _say(busy=True)
        return
    os.ftruncate(STANDARD_ERROR, 0)  # the log of the one before
    forget_place(root)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        _hold(root)
    except QualtricsEtlError as error:
        _note(str(error))
        _say(error=error.what, remedy=error.remedy, configuration=isinstance(error, ConfigurationError))
        sys.exit(1)


def _hold(root: Path) -> None:
    settings = read_place_settings(root)
    with ExitStack() as stack:
        base_url = stack.enter_context(_simulator(settings))
        stack.enter_context(_sftp_server(root, settings))
        python = emulator_python(root, os.environ)
        emulator = stack.enter_context(running_emulator(python, root / PLACE_FOLDER, settings.region))
        stack.callback(forget_place, root)
        save_place(root, _place(settings, base_url, emulator))
        _note(f"The place runs: AWS at {emulator.url}, Qualtrics at {base_url}.")
        _say(ready=True)
        exit_code = emulator.process.wait()
        _note(f"The AWS emulator ended by itself (exit code {exit_code}), and so does the place: see emulator.log.")


def _place(settings: PlaceSettings, base_url: str, emulator: Emulator) -> Place:
    return Place(
        pid=os.getpid(),
        region=settings.region,
        emulator_url=emulator.url,
        base_url=base_url,
        directory_id=settings.directory_id,
        sftp_port=settings.sftp.port if settings.sftp else 0,
        sftp_user=settings.sftp.user if settings.sftp else "",
    )


@contextmanager
def _simulator(settings: PlaceSettings) -> Iterator[str]:
    simulator = Simulator(settings.seed, job_progress=JobProgress(seconds=SECONDS_OF_A_JOB))
    with ExitStack() as stack:
        try:
            base_url = stack.enter_context(simulator.serve(settings.port))
        except OSError as exc:
            raise _port_in_use(settings, exc, settings.port, "qualtrics", "base_url") from exc
        yield base_url


@contextmanager
def _sftp_server(root: Path, settings: PlaceSettings) -> Iterator[None]:
    if settings.sftp is None:
        yield
        return
    folder = sftp_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    server = LocalSftpServer(
        folder,
        port=settings.sftp.port,
        user=settings.sftp.user,
        password=LOCAL_PASSWORD,
        private_host_key=known_host_key(HOST_KEY_SENTENCE),
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(server)
        except OSError as exc:
            raise _port_in_use(settings, exc, settings.sftp.port, "sftp", "port") from exc
        if settings.sftp.host_key.split()[:2] != server.host_key.split()[:2]:
            raise ConfigurationError(
                f"{settings.where('sftp', 'host_key')}: the SFTP server of this machine has another key.",
                remedy=f"Write below `sftp:` host_key: {server.host_key}",
            )
        yield


def _port_in_use(settings: PlaceSettings, exc: OSError, port: int, *path: str) -> ConfigurationError:
    reason = os.strerror(exc.errno) if exc.errno else str(exc)
    return ConfigurationError(
        f"{settings.where(*path)}: port {port} can't be used ({reason}).",
        remedy=f"End the program that has it, or change {'.'.join(path)} there: any free port above 1023 will do.",
    )


def _end(number: int, frame: FrameType | None) -> None:
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # it ends already
    _note(f"Told to end ({signal.Signals(number).name}).")
    sys.exit(0)


def _say(**answer: object) -> None:
    """Answer the starter, which waits for the end of the stream."""
    with suppress(BrokenPipeError):  # the starter was killed
        os.write(STANDARD_OUTPUT, json.dumps(answer).encode())
    os.dup2(STANDARD_ERROR, STANDARD_OUTPUT)


def _note(text: str) -> None:
    os.write(STANDARD_ERROR, f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n".encode())


if __name__ == "__main__":
    main()
