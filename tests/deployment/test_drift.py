"""A deployed stage by the real tools: what differs from it, and what is lost by thinking too long about a question."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console
from tests.conftest import Bake
from tests.deployment.aws_state import aws_state, differences
from tests.deployment.deployable import TERRAFORM, Deployable, deployable
from tests.deployment.test_deployed import client, remove_reminder
from tests.terraform.conftest import REGION
from typer.testing import CliRunner

from qualtrics_etl.cli.main import app
from qualtrics_etl.cli.plan import EXIT_DRIFT
from qualtrics_etl.deployment.converge import Convergence
from qualtrics_etl.deployment.terraform import Terraform
from qualtrics_etl.deployment.workbench import workbench
from qualtrics_etl.errors import ConfigurationError

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deployment")]


@pytest.fixture(scope="module")
def repository(
    baked: Bake, tools: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployable]:
    """A repository whose stage on this machine is deployed."""
    folder = tmp_path_factory.mktemp("drift") / "acme-etl"
    with deployable(baked(), folder, tools, environment) as made:
        made.make("deploy", "STAGE=local")
        yield made


@pytest.fixture
def here(repository: Deployable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in the repository, with its Terraform."""
    monkeypatch.chdir(repository.folder)
    monkeypatch.setenv("QETL_TERRAFORM", str(TERRAFORM))


def drift() -> Result:
    """Ask whether the stage is as it was deployed."""
    return CliRunner().invoke(app, ["plan", "--stage", "local", "--drift"])


@pytest.mark.usefixtures("here")
def test_drift_is_what_a_deploy_would_change(repository: Deployable) -> None:
    """Deployed, a stage has none; a queue that was changed by hand is named, with what was changed, and fails."""
    as_deployed = drift()
    assert (as_deployed.exit_code, "Stage local is as it was deployed." in as_deployed.stdout) == (0, True)
    url = f"{repository.endpoint}/000000000000/acme-etl-local-import-contacts"
    sqs = client(repository, "sqs")
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})
    changed = drift()
    assert changed.exit_code == EXIT_DRIFT
    assert [line for line in changed.stdout.splitlines() if "(" in line and ": " in line and "aws_" in line] == [
        'changed on AWS: module.service["import_contacts"].aws_sqs_queue.this (visibility_timeout_seconds)'
    ]
    sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


@pytest.mark.usefixtures("here")
def test_message_that_comes_during_the_question_stops_the_deploy(repository: Deployable) -> None:
    """A queue that was empty when the plan was made is counted again before it is deleted."""
    remove_reminder(repository)
    before = aws_state(repository.endpoint, REGION)
    queue = f"{repository.endpoint}/000000000000/acme-etl-local-schedule-reminder-dlq"
    with workbench(repository.folder, "local", "deploy", Console(quiet=True)) as bench:
        converge = Convergence(
            bench.stage,
            Terraform(bench.stage, bench.programs),
            bench.lock,
            bench.report,
            confirm=lambda: client(repository, "sqs").send_message(QueueUrl=queue, MessageBody="{}"),
        )
        with pytest.raises(ConfigurationError, match="acme-etl-local-schedule-reminder-dlq: 1 waiting"):
            converge.run()
    assert differences(before, aws_state(repository.endpoint, REGION)) == []
