"""Taking a stage down: functions, data, what Terraform made; from whatever state it is in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from qualtrics_etl.aws.buckets import Owner, delete_bucket, empty_bucket, owner_of
from qualtrics_etl.deployment.bootstrap import ROOT as BOOTSTRAP_ROOT
from qualtrics_etl.deployment.serverless import remove_functions
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.deployment.state_lock import clear_stale_lock
from qualtrics_etl.deployment.terraform import Terraform
from qualtrics_etl.deployment.workbench import Workbench, workbench


def destroy(root: Path, name: str, console: Console) -> None:
    """Take a stage down with all its data; may be repeated until it succeeds.

    On AWS the bucket of the state, the secrets with their values and the roles of pipelines stay; the stage `local`
    vanishes as a whole.

    Raises:
        ConfigurationError: Something is missing that this needs.
        QualtricsEtlError: Terraform or AWS failed; the same command again goes on from there.
        Interrupted: A signal came; the same command again goes on.
    """
    with workbench(root, name, "destroy", console, bootstrapped=False) as bench:
        stage = bench.stage
        bench.report.say(f"Taking down stage {name} of {stage.workflow.name}, account {stage.account}")
        remove_functions(stage, bench.report)
        for purpose in ("data", "artifacts"):
            _empty(bench, stage.bucket(purpose))
        has_state = owner_of(stage.access, stage.bucket("state"), stage.account) is Owner.OURS
        if has_state:
            _destroy(bench, Terraform(stage, bench.programs), "terraform")
        if stage.is_local and has_state:
            _destroy_bootstrap(bench)
        bench.report.say(f"Stage {name} is gone." if stage.is_local else _what_stays(stage))


def _empty(bench: Workbench, bucket: str) -> None:
    with bench.report.phase("bucket") as phase:
        deleted = empty_bucket(
            bench.stage.access,
            bucket,
            bench.stage.account,
            progress=lambda count: phase.progress(f"{bucket}: {count} versions deleted"),
        )
        phase.result = f"{bucket}: {deleted} versions deleted" if deleted else f"{bucket} is empty"


def _destroy(bench: Workbench, terraform: Terraform, what: str) -> None:
    with bench.report.phase(f"{what} init") as phase:
        terraform.init(phase)
    clear_stale_lock(bench.stage, terraform, bench.lock, bench.report)
    bench.lock.forget()
    with bench.report.phase(f"{what} plan") as phase:
        terraform.takeover_file.unlink(missing_ok=True)
        plan = terraform.plan(phase, destroy=True)
        phase.result = f"{len(plan.changes.planned)} to destroy"
    with bench.report.phase(f"{what} destroy") as phase:
        terraform.apply(plan, phase)


def _destroy_bootstrap(bench: Workbench) -> None:
    """Destroy the other root, then the bucket that both states lie in."""
    stage, terraform = bench.stage, Terraform(bench.stage, bench.programs, BOOTSTRAP_ROOT)
    with bench.report.phase("bootstrap init") as phase:
        terraform.init(phase)
    clear_stale_lock(stage, terraform, bench.lock, bench.report)
    bucket = stage.bucket("state")
    # It can't be destroyed from within: the state that would note its end lies in it.
    inside = [each["address"] for each in _resources(terraform.show(None, "-json")) if _is_of(each, bucket)]
    if inside:
        terraform.forget(inside)
    _destroy(bench, terraform, "bootstrap")
    _empty(bench, bucket)
    delete_bucket(stage.access, bucket, stage.account)


def _resources(state: str) -> Iterator[Mapping[str, Any]]:
    """Yield all resources of a state, as `terraform show -json` prints it."""
    modules = [json.loads(state).get("values", {}).get("root_module", {})]
    while modules:
        module = modules.pop()
        yield from (each for each in module.get("resources", []) if each.get("mode") == "managed")
        modules += module.get("child_modules", [])


def _is_of(resource: Mapping[str, Any], bucket: str) -> bool:
    return bool(resource["type"].startswith("aws_s3_bucket")) and resource["values"].get("bucket") == bucket


def _what_stays(stage: Stage) -> str:
    return "\n".join(
        [
            (
                f"Stage {stage.name} is down. What `make bootstrap` made stays, for the next deploy: the bucket of the"
                " state, the secrets with their values, the roles of pipelines. To remove that too, which deletes"
                " the secrets for good:"
            ),
            (
                f"  terraform -chdir={BOOTSTRAP_ROOT} init -reconfigure -backend-config=bucket={stage.bucket('state')}"
                f" -backend-config=key=bootstrap.tfstate -backend-config=region={stage.access.region}"
            ),
            f"  terraform -chdir={BOOTSTRAP_ROOT} state rm module.state_bucket",
            f"  terraform -chdir={BOOTSTRAP_ROOT} destroy -lock=false -var=stage={stage.name}",
            f"  then delete the bucket {stage.bucket('state')} in the console, with all versions.",
        ]
    )
