"""A deploy that is stopped at any moment is finished by the next one, and comes to the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.conftest import Bake
from tests.deployment.aws_state import Described, aws_state, differences
from tests.deployment.deployable import Deployable, deployable, kill_all
from tests.terraform.conftest import REGION

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deployment")]

POINTS = 10
"""For each signal: four of them in every run, the others at night."""

SEED = 20
OFTEN, NIGHTLY = range(0, POINTS, 3), [point for point in range(POINTS) if point % 3]
KILLS = 4
DEPLOY = ("deploy", "STAGE=local")


@pytest.fixture(scope="module")
def repository(
    baked: Bake, tools: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployable]:
    """A repository that is deployed to its own place again and again."""
    folder = tmp_path_factory.mktemp("interrupted") / "acme-etl"
    with deployable(baked(), folder, tools, environment) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(repository: Deployable) -> tuple[Described, float]:
    """What a deploy comes to that nobody stops, and how many seconds it takes when the package is built."""
    repository.make(*DEPLOY)
    take_down(repository)
    started = time.monotonic()
    repository.make(*DEPLOY)
    return aws_state(repository.endpoint, REGION), time.monotonic() - started


def take_down(repository: Deployable) -> None:
    """Forget everything that is deployed, at once."""
    repository.make("local-stop")
    repository.make("local")


def interrupt(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Stop make: by Ctrl-C, which a terminal sends to all of its processes; or by a signal to make alone."""
    if number is signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)


def points(seconds: float, count: int, seed: str) -> list[float]:
    """Return moments of a deploy, in their order: always the same for a seed and a duration."""
    chances = random.Random(seed)
    return sorted(chances.uniform(0, seconds) for _ in range(count))


some_and_others = pytest.mark.parametrize(
    "chosen", [pytest.param(OFTEN, id="some"), pytest.param(NIGHTLY, id="others", marks=pytest.mark.nightly)]
)


@some_and_others
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_stopped_gently_and_run_again(
    repository: Deployable, undisturbed: tuple[Described, float], number: signal.Signals, chosen: Iterable[int]
) -> None:
    """Stopped at seeded points, from the beginning to the end, it ends, says what to do, and the next run repairs."""
    expected, seconds = undisturbed
    moments = points(seconds, POINTS, f"{SEED}-{number.name}")
    for point in [moments[index] for index in chosen]:
        take_down(repository)
        process = repository.start(*DEPLOY)
        time.sleep(point)
        interrupt(process, number)
        output, _ = process.communicate(timeout=120)
        assert process.returncode != 0 or "is deployed" in output, output
        second = repository.make(*DEPLOY)
        assert differences(expected, aws_state(repository.endpoint, REGION)) == [], (
            f"{point:.1f} s:\n{output}\n{second}"
        )


@pytest.mark.parametrize(
    "chosen", [pytest.param((0, 2), id="some"), pytest.param((1, 3), id="others", marks=pytest.mark.nightly)]
)
def test_killed_and_run_again(
    repository: Deployable, undisturbed: tuple[Described, float], chosen: Iterable[int]
) -> None:
    """Killed with all that it had started, it leaves a lock and things outside the state; the next run clears both."""
    expected, seconds = undisturbed
    moments = points(seconds, KILLS, f"{SEED}")
    for point in [moments[index] for index in chosen]:
        take_down(repository)
        process = repository.start(*DEPLOY)
        time.sleep(point)
        kill_all(process, repository.folder)
        second = repository.make(*DEPLOY)
        assert differences(expected, aws_state(repository.endpoint, REGION)) == [], f"{point:.1f} s:\n{second}"


def test_killed_alone_and_run_again(repository: Deployable, undisturbed: tuple[Described, float]) -> None:
    """When only make and qetl are killed, Terraform works on; the next run waits for it, and comes to the same."""
    expected, _ = undisturbed
    take_down(repository)
    process = repository.start(*DEPLOY)
    wait_for(repository, "apply")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    second = repository.make(*DEPLOY)
    assert differences(expected, aws_state(repository.endpoint, REGION)) == [], second


def wait_for(repository: Deployable, word: str, *, seconds: float = 60) -> None:
    """Return when a deploy's log has come to Terraform's work."""
    log = repository.folder / ".qetl" / "deploy-local.log"
    deadline = time.monotonic() + seconds
    while not (log.exists() and word in log.read_text(encoding="utf-8")):
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8") if log.exists() else "no log"
        time.sleep(0.05)
