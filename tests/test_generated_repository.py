"""The generated repository's own commands, run in it as its owner would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.answers import PAIRWISE, nightly_besides
from tests.conftest import Bake

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One environment for all generated repositories: their locks are the same."""
    return tmp_path_factory.mktemp("environment") / "venv"


def make(repository: Path, venv: Path, environment: dict[str, str], *targets: str) -> None:
    """Run make in a repository; what it printed is shown when it fails."""
    command = ["make", f"VENV={venv}", f"PYTHON={sys.executable}", *targets]
    result = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@nightly_besides(PAIRWISE)
def test_fresh_repository_passes_its_own_checks(
    baked: Bake, venv: Path, environment: dict[str, str], tmp_path: Path, answers: dict[str, Any]
) -> None:
    """Fresh from the template, tests, lint and check pass, whatever two answers stand together."""
    repository = Path(shutil.copytree(baked(**answers), tmp_path / "repository"))
    make(repository, venv, environment, "test", "lint", "check")


def test_example_runs_on_this_machine(baked: Bake, venv: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """The example's workflow runs on its sample file."""
    repository = Path(shutil.copytree(baked(), tmp_path / "repository"))
    make(repository, venv, environment, "run", "FILE=tests/data/contacts.csv")
