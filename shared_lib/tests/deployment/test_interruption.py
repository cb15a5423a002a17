"""Signals and kills while a real Terraform works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from qualtrics_etl.deployment.lock import StageLock

SECONDS = 60

ROOT_MODULE = """\
resource "terraform_data" "first" {
  provisioner "local-exec" {
    command = "touch ../started; while [ ! -e ../release ]; do sleep 0.05; done"
  }
}

resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
}
"""

DEPLOY = """\
import os, sys
from pathlib import Path
from rich.console import Console
from qualtrics_etl.deployment.interruption import Interrupted, Interruption
from qualtrics_etl.deployment.lock import StageLock
from qualtrics_etl.deployment.programs import Programs
from qualtrics_etl.deployment.report import Report

root = Path.cwd()
say = lambda text: print(text, flush=True)
try:
    with Interruption(say) as interruption, StageLock(root / "lock", "deploy", say=say) as lock:
        say(f"holds the lock; left behind: {lock.left_behind.what if lock.left_behind else 'nothing'}")
        programs = Programs(root, os.environ, root / "out", Report(Console(), root / "log"), interruption, lock)
        command = ["terraform", "-chdir=terraform", "apply", "-auto-approve", "-input=false", "-json"]
        output = programs.run(command, "terraform apply", locks_state=True)
        say(f"ended with {output.exit_code}")
except Interrupted as stop:
    sys.exit(stop.exit_code)
"""


@dataclass(frozen=True)
class Place:
    """A folder with a Terraform root whose apply waits until it is released."""

    root: Path

    def start(self) -> subprocess.Popen[str]:
        """Start a deploy."""
        return subprocess.Popen(
            [sys.executable, "-c", DEPLOY], cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def release(self) -> None:
        """Let Terraform go on."""
        (self.root / "release").touch()

    def await_started(self) -> None:
        """Return when Terraform is in the middle of its work."""
        wait_until(lambda: (self.root / "started").exists())

    @property
    def state(self) -> list[str]:
        """What Terraform remembers."""
        state = json.loads((self.root / "terraform" / "terraform.tfstate").read_text())
        return sorted(each["name"] for each in state["resources"])


def wait_until(true: object) -> None:
    """Poll until a condition holds."""
    give_up_at = time.monotonic() + SECONDS
    while not true():  # type: ignore[operator]
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place, in which nothing lives on after the test."""
    (tmp_path / "terraform").mkdir()
    (tmp_path / "terraform" / "main.tf").write_text(ROOT_MODULE)
    subprocess.run(
        ["terraform", "-chdir=terraform", "init", "-input=false"], cwd=tmp_path, check=True, capture_output=True
    )
    yield Place(tmp_path)
    (tmp_path / "release").touch()
    note = json.loads((tmp_path / "lock").read_text().strip("\0 \n") or "{}")
    with suppress(ProcessLookupError):
        if "pid" in note:
            os.killpg(note["pid"], signal.SIGKILL)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_is_passed_on_and_waited_for(place: Place, number: signal.Signals, code: int) -> None:
    """Terraform writes down what it began, begins nothing else, and only then do we end, with the signal's code."""
    deploy = place.start()
    place.await_started()
    deploy.send_signal(number)
    output, _ = deploy.communicate(timeout=SECONDS)
    assert deploy.returncode == code
    assert "Stopping after what has been begun" in output
    assert place.state == ["first"]
    with StageLock(place.root / "lock", "test") as lock:
        assert lock.left_behind is None


def test_ctrl_c_of_a_terminal_reaches_terraform_once(place: Place) -> None:
    """A terminal signals every program in the foreground; Terraform hears of it from us alone, and ends gently."""
    deploy = subprocess.Popen(
        [sys.executable, "-c", DEPLOY],
        cwd=place.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    place.await_started()
    os.killpg(deploy.pid, signal.SIGINT)
    deploy.communicate(timeout=SECONDS)
    printed = (place.root / "log").read_text()
    assert "Interrupt received" in printed
    assert "Two interrupts received" not in printed
    assert place.state == ["first"]


def test_killed_terraform_is_remembered(place: Place) -> None:
    """Who was killed could not give its lock back: the next deploy knows, and clears it."""
    deploy = place.start()
    place.await_started()
    note = json.loads((place.root / "lock").read_text())
    os.killpg(note["pid"], signal.SIGKILL)
    output, _ = deploy.communicate(timeout=SECONDS)
    assert "ended with -9" in output
    with StageLock(place.root / "lock", "test") as lock:
        assert lock.left_behind
        assert lock.left_behind.what == "terraform apply"


def test_next_deploy_waits_for_the_terraform_of_a_killed_one(place: Place) -> None:
    """The parent is gone, Terraform works on: the next deploy says so, waits, and finds the work done."""
    deploy = place.start()
    place.await_started()
    deploy.kill()
    deploy.communicate()
    second = place.start()
    assert second.stdout
    first_line = second.stdout.readline()
    assert "Another command still works in this checkout (terraform apply, process " in first_line
    place.release()
    output, _ = second.communicate(timeout=SECONDS)
    assert "holds the lock; left behind: terraform apply" in output
    assert "ended with 0" in output
    assert place.state == ["first", "second"]


def test_orphans_of_a_killed_terraform_do_not_hold_the_lock(place: Place) -> None:
    """Plugins outlive a Terraform that is killed, and would keep the inherited lock for ever: they are ended."""
    deploy = place.start()
    place.await_started()
    terraform = json.loads((place.root / "lock").read_text())["pid"]
    deploy.kill()
    os.kill(terraform, signal.SIGKILL)  # alone: what it had started lives on
    deploy.communicate()
    with StageLock(place.root / "lock", "test") as lock:
        assert lock.left_behind
    assert not (place.root / "release").exists()
