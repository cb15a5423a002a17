"""An emulator of AWS on this machine's loopback, which runs the functions and enforces their roles' permissions."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError

LOOPBACK = "127.0.0.1"
LAUNCHER = Path(__file__).with_name("emulator_launcher.py")
PYTHON_VARIABLE = "QETL_EMULATOR_PYTHON"
DEFAULT_PYTHON = ".venv-emulator/bin/python"
ACCESS_KEY = "test"
"""Key and secret of the emulator's root user."""

FOLDER_PREFIX = "emulator-"
START_SECONDS = 30.0
"""How long it may take to answer: about a second on an idle machine."""
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05
ANSWER_SECONDS = 10.0
"""The longest silence of a server on this machine."""
TOLD_BYTES = 1_500
"""How much of its log an error repeats."""


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator.

    Attributes:
        url: Its one address, for all services.
        process: The process; the functions run in processes of its group.
        folder: Where it and the functions keep their temporary files.
    """

    url: str
    process: subprocess.Popen[bytes]
    folder: Path


def emulator_python(root: Path, environment: Mapping[str, str]) -> Path:
    """Return the Python that the emulator is installed for.

    Args:
        root: The generated repository; a relative path is meant from there.
        environment: May name another one than the Makefile makes, in `QETL_EMULATOR_PYTHON`.

    Raises:
        ConfigurationError: There is no such program.
    """
    # Not resolved: the link is what makes it the environment's Python and not the one below.
    path = root.absolute() / (environment.get(PYTHON_VARIABLE) or DEFAULT_PYTHON)
    if not os.access(path, os.X_OK):
        raise ConfigurationError(f"The AWS emulator is not installed: there is no {path}.", remedy="Run: make emulator")
    return path


@contextmanager
def running_emulator(python: Path, folder: Path, region: str) -> Iterator[Emulator]:
    """Run an emulator on a free port while the block runs; everything in it is forgotten afterwards.

    It is given a clean environment: what it runs inherits that, and a stray AWS_ENDPOINT_URL would lead the functions
    somewhere else.

    Args:
        python: The Python that it is installed for; the functions run on it too.
        folder: Its log and its temporary files lie below; what a killed one has left there is removed.

    Raises:
        QualtricsEtlError: It ended by itself, or did not answer in time; with the end of its log.
    """
    remove_leftovers(folder)
    folder.mkdir(parents=True, exist_ok=True)
    own, log, port = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=folder)), folder / "emulator.log", _free_port()
    # -I: neither our module path nor a variable of the developer's reaches it.
    command = [str(python), "-I", str(LAUNCHER)]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the Makefile names it
            command,
            env=_environment(own, port, region),
            cwd=own,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        url = f"http://{LOOPBACK}:{port}"
        _await_health(process, url, log)
        yield Emulator(url, process, own)
    finally:
        _stop(process)
        shutil.rmtree(own, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of emulators that were killed; they themselves ended with their starter."""
    for left in folder.glob(f"{FOLDER_PREFIX}*/"):
        shutil.rmtree(left, ignore_errors=True)


def open_directly(url: str, body: bytes | None = None) -> bytes:
    """Ask a server on this machine, past any proxy that the environment names; return what it answers.

    Args:
        url: Beginning with `http://127.0.0.1:`.
        body: JSON to post; without one, the request is a GET.

    Raises:
        OSError: Nobody answers, or with an error.
    """
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=ANSWER_SECONDS) as answer:
        content: bytes = answer.read()
    return content


def _environment(folder: Path, port: int, region: str) -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "AUTH": "true",
        "BIND_HOST": LOOPBACK,
        "MINISTACK_HOST": LOOPBACK,  # stands in the addresses of queues
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": region,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _await_health(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up_at:
        with suppress(OSError):
            open_directly(f"{url}/_ministack/health")
            return
        time.sleep(POLL_SECONDS)
    ended = f"It ended with exit code {process.returncode}" if process.poll() is not None else "It does not answer"
    said = log.read_bytes()[-TOLD_BYTES:].decode(errors="replace").strip()
    raise QualtricsEtlError(
        f"The AWS emulator did not start. {ended}. Its log ends with:\n{said}\n",
        remedy="If something is missing in its environment: delete .venv-emulator, then make emulator.",
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it and the functions that it runs."""
    # The group is there for as long as its leader has not been waited for, so it can't be somebody else's by now.
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGKILL)
        process.wait()
    assert process.stdin is not None
    process.stdin.close()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
