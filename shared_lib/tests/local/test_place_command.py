"""`qetl local`: what a person is told about the place on this machine, and what a script can rely on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qualtrics_etl.local.place import running_place

if TYPE_CHECKING:
    from shared_lib.tests.local.conftest import PlaceRepository


def qetl_local(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a repository, as a person would."""
    arguments = [sys.executable, "-m", "qualtrics_etl", "local", command]
    return subprocess.run(arguments, cwd=root, capture_output=True, text=True, check=False)


def test_start_and_status_tell_every_address_and_what_is_next(own: PlaceRepository) -> None:
    """AWS, Qualtrics with the page to look into it, SFTP with its folder, and the commands that follow."""
    started = qetl_local(own.root, "start")
    place = running_place(own.root)
    assert (started.returncode, started.stderr) == (0, "")
    assert place is not None
    assert started.stdout == (
        f"The place on this machine runs (process {place.pid}):\n"
        f"  AWS        {place.emulator_url}   region eu-west-1, log in .qetl/local/emulator.log\n"
        f"  Qualtrics  {place.base_url}   look into it: {place.base_url}/_sim/\n"
        f"  SFTP       client@127.0.0.1:{place.sftp_port}   its files are in .qetl/local/sftp\n"
        "Next: make deploy STAGE=local; then a file into that folder, and make tick STAGE=local.\n"
        "Stop it: make local-stop\n"
    )
    assert qetl_local(own.root, "start").stdout == started.stdout == qetl_local(own.root, "status").stdout


def test_stop_says_what_is_forgotten(own: PlaceRepository) -> None:
    """Who stops it learns that what was deployed is gone, and that files are not; a second stop is no mistake."""
    qetl_local(own.root, "start")
    stopped = qetl_local(own.root, "stop")
    assert (stopped.returncode, stopped.stdout) == (
        0,
        (
            "Stopped. What was deployed there, and what the simulated Qualtrics held, is forgotten.\n"
            "Files on the SFTP server stay in .qetl/local/sftp.\n"
        ),
    )
    again = qetl_local(own.root, "stop")
    assert (again.returncode, again.stdout) == (0, "It does not run.\n")


def test_status_without_a_place_says_how_to_start_one(own: PlaceRepository) -> None:
    """Exit code 1, the command, and after a first time the log of the last one."""
    status = qetl_local(own.root, "status")
    assert (status.returncode, status.stdout) == (1, "It does not run. Start it: make local\n")
    qetl_local(own.root, "start")
    qetl_local(own.root, "stop")
    status = qetl_local(own.root, "status")
    assert status.stdout == ("It does not run. Start it: make local\nHow the last one ended: .qetl/local/place.log\n")
    assert re.search(r"^\S+ Told to end \(SIGTERM\)\.$", own.log(), re.MULTILINE)


def test_mistake_is_told_in_a_line(own: PlaceRepository) -> None:
    """Exit code 2, as for every setting that is wrong: no traceback of the process behind it."""
    own.change(lambda config: config["sftp"].update(host="elsewhere.example"))
    started = qetl_local(own.root, "start")
    assert (started.returncode, started.stdout) == (2, "")
    assert started.stderr.startswith("error: config/local.yml:10: the SFTP server of this machine has no address here.")
