"""Parameters of secrets that a killed bootstrap left: made anew while nobody set them, and left alone afterwards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console
from tests.conftest import Bake
from tests.deployment.deployable import TERRAFORM
from tests.deployment.emulated_roots import BOOTSTRAP, Roots, emulated_roots
from tests.terraform.conftest import REGION

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.parameters import read_parameters, secret_versions
from qualtrics_etl.deployment.converge import Convergence
from qualtrics_etl.deployment.interruption import Interruption
from qualtrics_etl.deployment.lock import StageLock
from qualtrics_etl.deployment.programs import Programs
from qualtrics_etl.deployment.report import Report
from qualtrics_etl.deployment.secret_names import secret_names
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.deployment.terraform import Terraform
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.settings import read_config
from qualtrics_etl.workflow import read_workflow

pytestmark = pytest.mark.slow

Bootstrap = Callable[[], object]


@pytest.fixture
def roots(baked: Bake, tmp_path: Path) -> Iterator[Roots]:
    """A repository on an emulator."""
    repository = Path(shutil.copytree(baked(), tmp_path / "acme-etl"))
    with emulated_roots(repository, tmp_path / "emulator") as running:
        yield running


@pytest.fixture
def stage(roots: Roots) -> Stage:
    """Its stage on this machine."""
    keys = (roots.login["AWS_ACCESS_KEY_ID"], roots.login["AWS_SECRET_ACCESS_KEY"])
    environment = {"PATH": os.environ["PATH"], "HOME": str(roots.repository), "AWS_ENDPOINT_URL": roots.endpoint}
    return Stage(
        roots.repository,
        "local",
        read_workflow(roots.repository),
        read_config(roots.repository, "local"),
        AwsAccess(REGION, roots.endpoint, keys),
        environment | dict(roots.login),
    )


@pytest.fixture
def bootstrap(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bootstrap]:
    """Brings the bootstrap root to AWS, as the command does."""
    monkeypatch.setenv("QETL_TERRAFORM", str(TERRAFORM))
    report = Report(Console(quiet=True))
    with Interruption() as interruption, StageLock(tmp_path / "lock", "bootstrap", say=report.say) as lock:
        programs = Programs(stage.root, stage.environment, tmp_path / "programs", report, interruption, lock)
        terraform = Terraform(stage, programs, BOOTSTRAP)
        yield Convergence(stage, terraform, lock, report, what="bootstrap").run


def leave_behind(stage: Stage, value: str | None) -> str:
    """Leave the parameters of secrets without a state; with a value, the first of them was set. Return its name."""
    client = stage.access.client("ssm")
    tags = [{"Key": key, "Value": text} for key, text in stage.tags.items()]
    names = [f"{stage.parameters}/{name}" for name in secret_names(stage.config)]
    for name in names:
        client.put_parameter(Name=name, Value="unset", Type="SecureString", Tags=tags)
    if value:
        client.put_parameter(Name=names[0], Value=value, Type="SecureString", Overwrite=True)
    return names[0]


def test_placeholders_are_made_anew(stage: Stage, bootstrap: Bootstrap) -> None:
    """What nobody has set is no loss: it is deleted and made again, with Terraform knowing of it."""
    leave_behind(stage, None)
    bootstrap()
    assert set(secret_versions(stage.access, stage.parameters, secret_names(stage.config)).values()) == {1}
    bootstrap()


def test_secret_that_was_set_is_left_alone(stage: Stage, bootstrap: Bootstrap) -> None:
    """It stays as it is, its value is shown nowhere, and the error names the commands that mend it."""
    name = leave_behind(stage, "canary")
    with pytest.raises(ConfigurationError) as caught:
        bootstrap()
    assert f"aws ssm delete-parameters --region {REGION} --names {name}`" in caught.value.remedy
    assert "`make secret NAME=qualtrics_api_token STAGE=local`" in caught.value.remedy
    assert "canary" not in str(caught.value)
    assert read_parameters(stage.access, [name], secrets=True) == {name: "canary"}
    stage.access.client("ssm").delete_parameter(Name=name)
    bootstrap()


def test_secret_that_was_set_survives_a_second_bootstrap(stage: Stage, bootstrap: Bootstrap) -> None:
    """Bootstrapping again, which brings roles up to date, leaves what somebody has set."""
    bootstrap()
    name = f"{stage.parameters}/qualtrics_api_token"
    stage.access.client("ssm").put_parameter(Name=name, Value="canary", Type="SecureString", Overwrite=True)
    bootstrap()
    assert read_parameters(stage.access, [name], secrets=True) == {name: "canary"}
