"""Terraform, really run, on a root that needs no provider, with its state in the emulator's bucket."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from qualtrics_etl.deployment.converge import Convergence
from qualtrics_etl.deployment.lock import Began, StageLock
from qualtrics_etl.deployment.programs import Programs
from qualtrics_etl.deployment.report import Phase, Report
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.deployment.state_lock import clear_stale_lock, read_state_lock, who_we_are
from qualtrics_etl.deployment.terraform import Terraform
from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError

LOCK_ID = "2f1f2a4e-9c3b-4d0e-8f55-0a1b2c3d4e5f"


@pytest.fixture
def terraform(stage: Stage, programs: Programs) -> Terraform:
    """The stage's root, ready for plans."""
    made = Terraform(stage, programs)
    made.init(quiet())
    return made


def quiet() -> Phase:
    """A phase that nobody watches."""
    return Phase(lambda text: None)


def put_lock(stage: Stage, *, who: str, created: datetime) -> None:
    """Leave a lock in the bucket, as a Terraform does that is killed."""
    note = {
        "ID": LOCK_ID,
        "Operation": "OperationTypeApply",
        "Info": "",
        "Who": who,
        "Version": "1.11.4",
        "Created": created.isoformat().replace("+00:00", "123Z"),
        "Path": f"{stage.bucket('state')}/stage.tfstate",
    }
    stage.access.client("s3").put_object(
        Bucket=stage.bucket("state"), Key="stage.tfstate.tflock", Body=json.dumps(note).encode()
    )


def test_what_changes_is_applied_and_what_does_not_is_not(
    stage: Stage, terraform: Terraform, lock: StageLock, report: Report, said: io.StringIO
) -> None:
    """The first run makes what is described; the second one plans, finds nothing to do, and applies nothing."""
    converge = Convergence(stage, terraform, lock, report)
    assert [(each.address, each.action) for each in converge.run().planned] == [("terraform_data.this", "create")]
    assert converge.run().is_empty
    assert said.getvalue().count("terraform apply") == 1
    assert "terraform init           nothing to do" in said.getvalue()


def test_question_comes_before_every_change_and_where_there_is_none(
    stage: Stage, terraform: Terraform, lock: StageLock, report: Report
) -> None:
    """A no changes nothing; a yes is asked for also when Terraform has nothing to do, since functions come after it."""
    asked: list[str] = []

    def refuse() -> None:
        raise ConfigurationError("No.", remedy="Ask again.")

    with pytest.raises(ConfigurationError, match="No"):
        Convergence(stage, terraform, lock, report, confirm=refuse).run()
    converge = Convergence(stage, terraform, lock, report, confirm=lambda: asked.append("?"))
    assert not converge.run().is_empty
    assert converge.run().is_empty
    assert asked == ["?", "?"]


def test_plan_beside_a_deploy_leaves_its_plan_alone(stage: Stage, terraform: Terraform, programs: Programs) -> None:
    """Somebody looks at what would change while a deploy is between plan and apply: what was planned is applied."""
    planned = terraform.plan(quiet())
    main = stage.root / "terraform" / "main.tf"
    main.write_text(main.read_text().replace('"first"', '"second"'))
    beside = Terraform(stage, replace(programs, folder=stage.folder / "plan"), apart=True)
    beside.init(quiet())
    other = beside.plan(quiet(), lock=False)
    other.file.unlink()
    terraform.apply(planned, quiet())
    assert '"local first"' in terraform.show(None, "-json")


def test_init_runs_again_when_a_file_changed(stage: Stage, terraform: Terraform) -> None:
    """A module or provider may have come with it; without a change nothing is run."""
    phase = quiet()
    terraform.init(phase)
    assert phase.result == "nothing to do"
    (stage.root / "terraform" / "more.tf").write_text('module "more" {\n  source = "./more"\n}\n')
    (stage.root / "terraform" / "more").mkdir()
    phase = quiet()
    terraform.init(phase)
    assert phase.result == "done"
    assert [each.kind for each in terraform.plan(quiet()).changes.planned] == ["terraform_data"]


def test_failure_is_told_in_terraforms_words(stage: Stage, terraform: Terraform) -> None:
    """Place, summary and detail of the error come up, and what to do."""
    main = stage.root / "terraform" / "main.tf"
    main.write_text(main.read_text() + '\noutput "bad" {\n  value = var.missing\n}\n')
    with pytest.raises(QualtricsEtlError, match=r"main\.tf:2\d: Reference to undeclared input variable") as caught:
        terraform.plan(quiet())
    assert "run the same command again" in caught.value.remedy


def test_lock_of_our_killed_program_is_removed(
    stage: Stage, terraform: Terraform, lock: StageLock, report: Report, said: io.StringIO
) -> None:
    """Same user and machine, taken when our last program began: nobody lives who could hold it."""
    lock.left_behind = Began("terraform apply", datetime.now(UTC))
    put_lock(stage, who=who_we_are(), created=datetime.now(UTC))
    clear_stale_lock(stage, terraform, lock, report)
    assert read_state_lock(stage, terraform.key) is None
    assert "it is removed" in said.getvalue()


@pytest.mark.parametrize(
    ("other", "minutes"),
    [("ci@runner-7", 0.0), (None, 5.0), (None, -5.0)],
    ids=["of another machine", "taken after our program died", "taken before our program began"],
)
def test_lock_that_may_be_somebody_elses_is_respected(
    stage: Stage, terraform: Terraform, lock: StageLock, report: Report, other: str | None, minutes: float
) -> None:
    """Another machine, or another copy of the repository on this one: it is named, and stays."""
    lock.left_behind = Began("terraform apply", datetime.now(UTC))
    put_lock(stage, who=other or who_we_are(), created=datetime.now(UTC) + timedelta(minutes=minutes))
    with pytest.raises(QualtricsEtlError, match="is locked by") as caught:
        clear_stale_lock(stage, terraform, lock, report)
    assert (other or who_we_are()) in caught.value.what
    assert "make unlock STAGE=local" in caught.value.remedy
    assert read_state_lock(stage, terraform.key) is not None


def test_lock_without_a_killed_program_is_respected(
    stage: Stage, terraform: Terraform, lock: StageLock, report: Report
) -> None:
    """Our own user and machine are not enough: Terraform may have been started by hand."""
    put_lock(stage, who=who_we_are(), created=datetime.now(UTC))
    with pytest.raises(QualtricsEtlError, match="is locked by"):
        clear_stale_lock(stage, terraform, lock, report)


def test_terraform_names_itself_as_we_expect(stage: Stage, terraform: Terraform, programs: Programs) -> None:
    """While Terraform works, its lock holds the name by which we know our own locks again."""
    seen = []

    def look(line: str) -> str:
        if "here" in line and not seen:  # afterwards it ends, and gives the lock back
            found = read_state_lock(stage, terraform.key)
            seen.append(found.who if found else "nobody")
            (stage.root / "release").touch()
        return line

    main = stage.root / "terraform" / "main.tf"
    main.write_text(
        main.read_text().replace(
            "input =",
            'provisioner "local-exec" {\n'
            '    command = "echo here; while [ ! -e ../release ]; do sleep 0.05; done"\n'
            "  }\n  input =",
        )
    )
    terraform_apply = [
        "terraform",
        "-chdir=terraform",
        "apply",
        "-auto-approve",
        "-input=false",
        "-no-color",
        "-var=stage=local",
    ]
    data = {"TF_DATA_DIR": str(stage.folder / "terraform")}
    assert programs.run(terraform_apply, "terraform apply", on_line=look, environment=data).exit_code == 0
    assert set(seen) == {who_we_are()}
