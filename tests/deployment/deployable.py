"""Generated repositories that can be deployed to this machine by their own Makefile, many of them side by side."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT
from tests.terraform.environments import node_modules, provider_settings

TERRAFORM = ROOT / "tests" / "deployment" / "terraform_3_39.py"


@dataclass(frozen=True, slots=True)
class Deployable:
    """A generated repository, with a place on this machine of its own.

    Attributes:
        folder: The repository.
        variables: What its Makefile is given: tools that several repositories share.
        environment: The environment of its programs.
    """

    folder: Path
    variables: Mapping[str, str]
    environment: Mapping[str, str]

    def command(self, *targets: str) -> list[str]:
        """Return the command that a person types, with the tools' places."""
        return ["make", *targets, *(f"{name}={value}" for name, value in self.variables.items())]

    def make(self, *targets: str, expect: int = 0) -> str:
        """Run make to its end and return what it printed; anything but the expected exit code fails."""
        result = subprocess.run(
            self.command(*targets),
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == expect, result.stdout
        return result.stdout

    def start(self, *targets: str) -> subprocess.Popen[str]:
        """Start make as a terminal does: in a process group of its own."""
        return subprocess.Popen(
            self.command(*targets),
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def change(self, file: str, old: str, new: str) -> None:
        """Edit a file as its owner would; what is replaced must be there."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    @property
    def endpoint(self) -> str:
        """Where the place's AWS emulator listens."""
        place = json.loads((self.folder / ".qetl" / "local" / "place.json").read_text(encoding="utf-8"))
        return str(place["emulator_url"])


@contextmanager
def deployable(baked: Path, folder: Path, tools: Path, environment: Mapping[str, str]) -> Iterator[Deployable]:
    """Copy a generated repository into a folder, with free ports for its place; stop the place at the end.

    Args:
        baked: The repository as it was generated.
        folder: Where the copy goes.
        tools: Folder of environments that all repositories share, made by the first one.
        environment: The environment of its programs.
    """
    shutil.copytree(baked, folder)
    (folder / "node_modules").symlink_to(node_modules())
    provider_settings()
    config = folder / "config" / "local.yml"
    qualtrics, sftp = _free_ports(2)
    text = re.sub(r"(base_url: http://127\.0\.0\.1):\d+", rf"\1:{qualtrics}", config.read_text(encoding="utf-8"))
    config.write_text(re.sub(r"(\n  port:) \d+", rf"\1 {sftp}", text), encoding="utf-8")
    variables = {
        "PYTHON": sys.executable,
        "VENV": str(tools / "venv"),
        "EMULATOR_VENV": str(tools / "emulator"),
        "TERRAFORM": str(TERRAFORM),
    }
    made = Deployable(folder, variables, {**environment, "HOME": str(folder.parent)})
    # Test processes side by side share the environments: one makes them, the others wait.
    with (tools / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.make("setup", "emulator")
    try:
        yield made
    finally:
        if (folder / ".qetl" / "local").exists():
            made.make("local-stop")


def kill_all(process: subprocess.Popen[str], folder: Path) -> None:
    """Kill make and everything that it started for this repository, at once, but for the place."""
    entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and _works_on(entry, folder)]
    for pid in [process.pid, *(int(entry.name) for entry in entries)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate()


def _works_on(entry: Path, folder: Path) -> bool:
    try:
        where = (entry / "cwd").readlink()
        command = (entry / "cmdline").read_bytes()
    except OSError:
        return False
    return where.is_relative_to(folder) and b"qualtrics_etl.local" not in command and b"ministack" not in command


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
