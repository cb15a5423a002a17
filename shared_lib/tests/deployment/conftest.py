"""A stage whose AWS is an emulator, and a Terraform root that needs no provider."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from rich.console import Console

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.deployment.interruption import Interruption
from qualtrics_etl.deployment.lock import StageLock
from qualtrics_etl.deployment.programs import Programs
from qualtrics_etl.deployment.report import Report
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.local.emulator import emulator_python, running_emulator
from qualtrics_etl.settings import read_config
from qualtrics_etl.workflow import read_workflow

REPOSITORY = Path(__file__).parents[3]
REGION = "eu-west-1"
KEY = "test"

ROOT_MODULE = """\
terraform {
  required_version = ">= 1.11"
  backend "s3" {
    use_lockfile = true
  }
}

variable "stage" {
  type = string
}

variable "content" {
  type    = string
  default = "first"
}

resource "terraform_data" "this" {
  input = "${var.stage} ${var.content}"
}
"""


@pytest.fixture(scope="session")
def access() -> Iterator[AwsAccess]:
    """An emulator of AWS, which enforces permissions; we are its root user."""
    with (
        TemporaryDirectory(prefix="emulator-") as folder,
        running_emulator(emulator_python(REPOSITORY, {}), Path(folder), REGION) as emulator,
    ):
        yield AwsAccess(REGION, emulator.url, (KEY, KEY))


@pytest.fixture
def stage(make_repository: Callable[..., Path], access: AwsAccess) -> Stage:
    """A stage with names of its own, and a bucket for its state."""
    root = make_repository()
    workflow_file = root / "workflow.yml"
    unique = f"t{uuid.uuid4().hex[:12]}"
    workflow_file.write_text(workflow_file.read_text().replace("acme-etl", unique))
    (root / "terraform").mkdir()
    (root / "terraform" / "main.tf").write_text(ROOT_MODULE)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "AWS_ENDPOINT_URL": str(access.endpoint_url),
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_REGION": REGION,
    }
    made = Stage(root, "local", read_workflow(root), read_config(root, "local"), access, environment)
    access.client("s3").create_bucket(
        Bucket=made.bucket("state"), CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    return made


@pytest.fixture
def said() -> io.StringIO:
    """What a person saw."""
    return io.StringIO()


@pytest.fixture
def report(stage: Stage, said: io.StringIO) -> Report:
    """A report into `said`, with a log."""
    return Report(Console(file=said, width=200), stage.root / ".qetl" / "test.log")


@pytest.fixture
def lock(stage: Stage) -> Iterator[StageLock]:
    """The stage's lock, held."""
    with StageLock(stage.root / ".qetl" / "checkout.lock", "deploy", stage="local") as held:
        yield held


@pytest.fixture
def programs(stage: Stage, report: Report, lock: StageLock) -> Iterator[Programs]:
    """Runs programs for the stage."""
    (stage.root / ".qetl").mkdir(exist_ok=True)
    with Interruption() as interruption:
        yield Programs(stage.root, stage.environment, stage.folder / "test", report, interruption, lock)
