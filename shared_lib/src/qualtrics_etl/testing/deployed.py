"""The same file through the deployed functions: on this machine, with the real tools, and compared with a local run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, NoReturn

import pytest
import typer

from qualtrics_etl.aws.access import StageAccess
from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.inventory import leftovers
from qualtrics_etl.aws.objects import S3Objects
from qualtrics_etl.aws.redrive import DeadLetters
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.emulator import ACCESS_KEY, open_directly
from qualtrics_etl.local.place import Place, running_place, sftp_folder, start_place, stop_place
from qualtrics_etl.local.posts import receiver_of
from qualtrics_etl.local.repository import open_repository
from qualtrics_etl.local.run import place_file
from qualtrics_etl.settings import read_config
from qualtrics_etl.simulator import Simulator
from qualtrics_etl.summary import done_by_service
from qualtrics_etl.testing.runs import Disturbance, lists_of, mails_of, run_workflow
from qualtrics_etl.workflow import Workflow, read_workflow

STAGE = "local"
POLL_SECONDS = 0.5
TICK_SECONDS = 20.0
"""How long after a look for files the next one comes, while none has been taken."""

Tell = Callable[[str], None]


class DeployedChecks:
    """What a deployed workflow must do with its sample file, and what must be left of it afterwards: nothing."""

    file: ClassVar[str] = "tests/data/contacts.csv"
    """The sample file, below the repository's root."""

    deadline_seconds: ClassVar[float] = 300
    """How long the file may take from the client to the last service."""

    def test_deployed_functions_end_as_a_local_run_does_and_leave_nothing(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Qualtrics holds the same lists, people and mails as after a local run; destroyed, nothing is left."""
        root = Path.cwd()
        expected = run_workflow(root, self.file, Disturbance())
        with capfd.disabled(), own_place(root, root / self.file) as place:
            run_qetl(root, "deploy", "--stage", STAGE)
            deliver_file(root, root / self.file)
            await_services(root, place, expected.done, deadline_seconds=self.deadline_seconds, tell=typer.echo)
            assert end_state(place) == expected.end_state
            run_qetl(root, "destroy", "--stage", STAGE, "--yes")
            assert left_of(root, place) == []


@contextmanager
def own_place(root: Path, file: Path) -> Iterator[Place]:
    """Start the place of a repository for a test that takes it down at its end, and its file from the SFTP server.

    Raises:
        ConfigurationError: It runs already, or other files lie on its SFTP server: somebody works with it.
    """
    if running_place(root) is not None:
        raise ConfigurationError(
            "The place on this machine runs already, and this test would take it down.",
            remedy="Stop it first, which forgets what is deployed there: make local-stop.",
        )
    # What begins with its name is its marker.
    if others := [each for each in _files_on(sftp_folder(root)) if not each.name.startswith(file.name)]:
        raise ConfigurationError(
            f"{others[0].relative_to(root)} would be taken too.", remedy="Move away what lies on the SFTP server."
        )
    try:
        yield start_place(root)
    finally:
        stop_place(root)
        for each in _files_on(sftp_folder(root)):
            each.unlink()


def run_qetl(root: Path, *arguments: str) -> None:
    """Run a command as a person would; fail with it."""
    if exit_code := _qetl(root, *arguments):
        pytest.fail(f"`qetl {' '.join(arguments)}` failed with exit code {exit_code}; it said why.")


def deliver_file(root: Path, file: Path) -> None:
    """Bring a file to the deployed workflow as the client would: onto its SFTP server, or as a signed POST."""
    if receiver_of(read_workflow(root)) is not None:
        run_qetl(root, "post", str(file.relative_to(root)), "--stage", STAGE)
    else:
        place_file(open_repository(root), read_config(root, STAGE), file, sftp_folder(root))


def await_services(
    root: Path,
    place: Place,
    expected: Mapping[str, int],
    *,
    deadline_seconds: float,
    tell: Tell = lambda line: None,
) -> None:
    """Let the deployed services look for files until one is taken, and wait until each has done its work.

    Fails when a service has not done it in time, and at once when a message waits in a dead-letter queue.

    Args:
        root: The repository.
        place: Where it is deployed.
        expected: How many pieces of work each service does.
        deadline_seconds: How long all may take.
        tell: Is told how far each service is, whenever that changes.
    """
    workflow, access = read_workflow(root), _access(root, place)
    objects = S3Objects(access.read_parameter("bucket"), access.aws.client("s3"))
    queues = {service: DeadLetters(access, service) for service in workflow.services}
    looks = any(service.schedule for service in workflow.services.values())
    give_up_at, next_tick_at, told = time.monotonic() + deadline_seconds, 0.0, ""
    while True:
        done = done_by_service(workflow, objects)
        if (line := _progress(done, expected)) != told:
            told = line
            tell(line)
        missing = [service for service, count in expected.items() if done[service] < count]
        if not missing:
            return
        if letters := list(_dead_letters(queues)):
            _fail(root, "Messages wait in dead-letter queues:\n" + "\n".join(letters))
        if time.monotonic() >= give_up_at:
            _fail(root, f"Not done after {deadline_seconds:.0f} s: {', '.join(missing)}. {line}")
        if (
            looks
            and time.monotonic() >= next_tick_at
            and not any(done[name] for name in expected if name in _behind(workflow))
        ):
            next_tick_at = time.monotonic() + TICK_SECONDS
            run_qetl(root, "tick", "--stage", STAGE)
        time.sleep(POLL_SECONDS)


def end_state(place: Place) -> object:
    """Return what the simulated Qualtrics holds, in the form of `Outcome.end_state`."""
    simulator = Simulator.load(open_directly(f"{place.base_url}/_sim/dump"))
    return lists_of(simulator), mails_of(simulator)


def left_of(root: Path, place: Place) -> list[str]:
    """Return what there still is of the stage: kind and name of each."""
    access, prefix = _access(root, place), f"{read_workflow(root).name}-{STAGE}"
    return leftovers(access.aws, prefix, access.parameters)


def _dead_letters(queues: Mapping[str, DeadLetters]) -> Iterator[str]:
    """Yield a line a dead letter: whose, of which run, and why."""
    for service, queue in queues.items():
        if queue.count():
            for letter in queue.look():
                cause = letter.cause or "It was received too often; the function's log says why."
                yield f"{service}, run {letter.run or 'unknown'}: {cause}"


def _fail(root: Path, text: str) -> NoReturn:
    """Show the functions' logs, which are gone when the place is, and fail."""
    _qetl(root, "logs", "--stage", STAGE)
    pytest.fail(text)


def _qetl(root: Path, *arguments: str) -> int:
    # The output is the terminal's: a deploy tells how far it is.
    return subprocess.run([sys.executable, "-m", "qualtrics_etl", *arguments], cwd=root, check=False).returncode  # noqa: S603


def _access(root: Path, place: Place) -> StageAccess:
    aws = AwsAccess(place.region, place.emulator_url, (ACCESS_KEY, ACCESS_KEY))
    return StageAccess(read_workflow(root).name, STAGE, read_config(root, STAGE).aws_account_id, aws)


def _behind(workflow: Workflow) -> list[str]:
    """Return the services that only work when a file was taken."""
    return [service for service in workflow.services if service not in workflow.starts()]


def _progress(done: Mapping[str, int], expected: Mapping[str, int]) -> str:
    return "Done: " + ", ".join(f"{service} {min(done[service], count)}/{count}" for service, count in expected.items())


def _files_on(server: Path) -> list[Path]:
    return [each for each in server.rglob("*") if each.is_file()]
