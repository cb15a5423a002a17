"""The place on this machine that `make deploy STAGE=local` deploys to: AWS emulator, simulated Qualtrics, SFTP server.

One process in the background holds all three, from `start_place` to `stop_place`. It keeps everything in memory, but
for the files on the SFTP server; its log and its addresses lie in `.qetl/local`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError
from qualtrics_etl.local.emulator import ACCESS_KEY, LOOPBACK, open_directly
from qualtrics_etl.local.place_lock import PlaceLock
from qualtrics_etl.local.place_settings import STAGE, PlaceSettings, read_place_settings
from qualtrics_etl.local.run import STATE_FOLDER
from qualtrics_etl.simulator import Seed
from qualtrics_etl.simulator.snapshot import to_json

PLACE_FOLDER = f"{STATE_FOLDER}/{STAGE}"
ADDRESSES_FILE = "place.json"
LOG_FILE = "place.log"
LOCK_FILE = "place.lock"
SFTP_FOLDER = "sftp"

START_SECONDS = 60.0
"""How long a start may take: two seconds on an idle machine."""
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
TOLD_BYTES = 1_500
"""How much of its log an error repeats."""

RESTART = "Stop it, which forgets what is deployed there, then start it again: make local-stop, then make local."


@dataclass(frozen=True, slots=True)
class Place:
    """A place that runs.

    Attributes:
        pid: The process that holds it.
        region: The AWS region that the emulator plays.
        emulator_url: AWS's one address, for all services.
        base_url: Where the simulated Qualtrics listens; a page to look into it is at `/_sim/`.
        directory_id: The directory that it has.
        sftp_port: Where the SFTP server listens, on 127.0.0.1; 0 when the workflow needs none.
        sftp_user: Its only user; empty when there is no server.
    """

    pid: int
    region: str
    emulator_url: str
    base_url: str
    directory_id: str
    sftp_port: int
    sftp_user: str

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that lead the AWS tools to the emulator, as its root user, and past any proxy."""
        no_proxy = ",".join(filter(None, (os.environ.get("NO_PROXY", ""), LOOPBACK)))
        return {
            "AWS_ENDPOINT_URL": self.emulator_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }


def sftp_folder(root: Path) -> Path:
    """Return the folder that the client's SFTP server shows as `/`."""
    return root / PLACE_FOLDER / SFTP_FOLDER


def start_place(root: Path) -> Place:
    """Return the place of a generated repository, started if it does not run.

    A running one is told of surveys and messages that config/local.yml has come to name.

    Raises:
        ConfigurationError: A setting is wrong, a port is in use, the emulator is not installed, or the place runs with
            an address, directory or region that config/local.yml no longer names.
        QualtricsEtlError: It did not start; with the end of its log.
    """
    settings = read_place_settings(root)
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at:
        place = running_place(root)
        if place is not None:
            _check_same(place, settings)
            _add_ids(place, settings)
            return place
        if _lock(root).holder() is None:
            _start_process(root)
        else:
            time.sleep(POLL_SECONDS)  # another one starts it, or it is about to end
    raise _failed(root, f"did not start within {START_SECONDS:.0f} seconds")


def running_place(root: Path) -> Place | None:
    """Return the place of a generated repository; None when it does not run."""
    holder = _lock(root).holder()
    with suppress(FileNotFoundError, ValueError, TypeError):
        place = Place(**json.loads(_addresses(root).read_bytes()))
        # A file that a killed one left behind names another process than the one that starts now.
        return place if place.pid == holder else None
    return None


def stop_place(root: Path) -> bool:
    """Stop the place, also one that is still starting; False when it did not run.

    What was deployed there, and what the simulated Qualtrics held, is gone; the SFTP server's files stay.

    Raises:
        QualtricsEtlError: It does not even end when it is killed.
    """
    lock = _lock(root)
    while (holder := lock.holder()) == 0:
        time.sleep(POLL_SECONDS)  # about to write down its id
    if holder is None:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(holder, number)
        give_up_at = time.monotonic() + STOP_SECONDS
        while time.monotonic() < give_up_at:
            if lock.holder() != holder:
                return True
            time.sleep(POLL_SECONDS)
    raise _failed(root, f"did not end: process {holder}")


def save_place(root: Path, place: Place) -> None:
    """Write the addresses down; from then on, the place counts as running."""
    path = _addresses(root)
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(asdict(place), indent=1), encoding="utf-8")
    new.replace(path)


def forget_place(root: Path) -> None:
    """Remove the addresses."""
    _addresses(root).unlink(missing_ok=True)


def _start_process(root: Path) -> None:
    """Start the process, and wait until it has said what became of it."""
    folder = root / PLACE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    # -P: nothing in the repository's folder is taken for a module of that name.
    command = [sys.executable, "-P", "-m", "qualtrics_etl.local.place_process", str(root.absolute())]
    try:
        with (folder / LOG_FILE).open("ab") as log:
            answer = subprocess.run(  # noqa: S603 - our own module
                command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, check=False
            ).stdout
    except KeyboardInterrupt:
        stop_place(root)
        raise
    if not answer:
        raise _failed(root, "did not start")
    said: dict[str, Any] = json.loads(answer)
    if "error" in said:
        kind = ConfigurationError if said["configuration"] else QualtricsEtlError
        raise kind(said["error"], remedy=said["remedy"])


def _check_same(place: Place, settings: PlaceSettings) -> None:
    sftp = settings.sftp
    pairs = {
        ("aws_region",): (place.region, settings.region),
        ("qualtrics", "base_url"): (place.base_url, settings.base_url),
        ("qualtrics", "directory_id"): (place.directory_id, settings.directory_id),
        ("sftp", "port"): (place.sftp_port, sftp.port if sftp else 0),
        ("sftp", "user"): (place.sftp_user, sftp.user if sftp else ""),
    }
    for path, (is_now, wanted) in pairs.items():
        if is_now != wanted:
            raise ConfigurationError(
                f"{settings.where(*path)}: {'.'.join(path)} has changed since the place on this machine was started:"
                f" there it is {is_now or 'not set'}.",
                remedy=RESTART,
            )


def _add_ids(place: Place, settings: PlaceSettings) -> None:
    """Tell the simulated Qualtrics of surveys and messages; its directory, with who is in there, stays as it is."""
    seed = Seed(surveys=settings.seed.surveys, libraries=settings.seed.libraries)
    open_directly(f"{place.base_url}/_sim/seed", to_json(seed))


def _failed(root: Path, what: str) -> QualtricsEtlError:
    path = root / PLACE_FOLDER / LOG_FILE
    said = path.read_bytes()[-TOLD_BYTES:].decode(errors="replace").strip() if path.exists() else ""
    return QualtricsEtlError(
        f"The place on this machine {what}. {PLACE_FOLDER}/{LOG_FILE} ends with:\n{said}\n",
        remedy="Stop what is left of it, and try again: make local-stop, then make local.",
    )


def _lock(root: Path) -> PlaceLock:
    return PlaceLock(root / PLACE_FOLDER / LOCK_FILE)


def _addresses(root: Path) -> Path:
    return root / PLACE_FOLDER / ADDRESSES_FILE
