"""A repository with a place of its own: addresses that no other test uses, and functions to look into it."""

from __future__ import annotations

import io
import json
import os
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.local.place import Place, stop_place
from qualtrics_etl.local.place_settings import HOST_KEY_SENTENCE
from qualtrics_etl.local.sftp_server import known_host_key

EMULATOR = Path(__file__).parents[3] / ".venv-emulator"
LONG_SECONDS = 60
"""How long something may take that is a matter of a second."""

HANDLER = """\
import os
import boto3

def handler(event, context):
    if event.get("queue"):
        entries = [{"Id": "0", "MessageBody": "a"}, {"Id": "1", "MessageBody": "b"}]
        boto3.client("sqs").send_message_batch(QueueUrl=event["queue"], Entries=entries)
    return {"pid": os.getpid(), "variables": dict(os.environ)}
"""
ANYBODY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}


@dataclass(frozen=True)
class PlaceRepository:
    """A repository whose place a test starts and stops.

    Attributes:
        root: Its folder.
    """

    root: Path

    @property
    def folder(self) -> Path:
        """Where the place keeps what it has on disk."""
        return self.root / ".qetl" / "local"

    def change(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change config/local.yml."""
        path = self.root / "config" / "local.yml"
        config = yaml.safe_load(path.read_text())
        change(config)
        path.write_text(yaml.safe_dump(config, sort_keys=False))

    def log(self) -> str:
        """Return what the place noted."""
        return (self.folder / "place.log").read_text()

    def temporary_folders(self) -> list[Path]:
        """Return the folders of emulators, the running one's among them."""
        return list(self.folder.glob("emulator-*"))

    def access(self, place: Place) -> AwsAccess:
        """Return the way to the emulator, as its root user."""
        return AwsAccess(place.region, place.emulator_url, ("test", "test"))

    def call_function(
        self, place: Place, event: dict[str, object], *, may: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        """Make a function whose role may do what is said, call it and return what it says."""
        functions, roles = self.access(place).clients("lambda", "iam")
        role = roles.create_role(RoleName="role", AssumeRolePolicyDocument=json.dumps(ANYBODY))["Role"]["Arn"]
        if may:
            policy = json.dumps({"Version": "2012-10-17", "Statement": may})
            roles.put_role_policy(RoleName="role", PolicyName="step", PolicyDocument=policy)
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("step.py", HANDLER)
        functions.create_function(
            FunctionName="step",
            Runtime="python3.13",
            Role=role,
            Handler="step.handler",
            Timeout=30,
            Code={"ZipFile": code.getvalue()},
        )
        answer: dict[str, Any] = json.load(
            functions.invoke(FunctionName="step", Payload=json.dumps(event).encode())["Payload"]
        )
        return answer


@pytest.fixture
def own(make_repository: Callable[..., Path]) -> Iterator[PlaceRepository]:
    """A repository whose place can be started; it is stopped behind the test."""
    if not EMULATOR.exists():
        pytest.fail("The AWS emulator is not installed. Remedy: make emulator")
    repository = PlaceRepository(make_repository())
    (repository.root / ".venv-emulator").symlink_to(EMULATOR)
    key = asyncssh.import_private_key(known_host_key(HOST_KEY_SENTENCE)).export_public_key().decode().strip()
    login = {"host": "127.0.0.1", "port": free_port(), "user": "client", "auth": "password", "host_key": key}

    def set_addresses(config: dict[str, Any]) -> None:
        config["qualtrics"]["base_url"] = f"http://127.0.0.1:{free_port()}"
        config["sftp"] = login

    repository.change(set_addresses)
    yield repository
    stop_place(repository.root)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Wait until something is so."""

    def wait(condition: Callable[[], object]) -> None:
        give_up_at = time.monotonic() + LONG_SECONDS
        while not condition():
            assert time.monotonic() < give_up_at, "it never came to be"
            time.sleep(0.02)

    return wait


@pytest.fixture
def lives() -> Callable[[int], bool]:
    """Tell whether a process runs; one that is dead and has not been waited for does not."""

    def look(pid: int) -> bool:
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            with suppress(OSError):
                return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
            return True
        return False

    return look


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
