"""Once a stage: the bucket for Terraform's state, parameters of secrets, roles of pipelines, the limit of all roles."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rich.console import Console

from qualtrics_etl.aws.buckets import Owner, make_bucket, owner_of, read_small_object, write_small_object
from qualtrics_etl.aws.oidc import ensure_provider
from qualtrics_etl.deployment.converge import Convergence
from qualtrics_etl.deployment.secret_names import secret_names, unset_secrets
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.deployment.terraform import TAKEOVER_FILE, Terraform
from qualtrics_etl.deployment.workbench import Workbench, workbench

ROOT = "terraform/bootstrap"
DONE_KEY = "bootstrap.done"
"""Says by which files and for which logins it was done, so that the stage on this machine need not look every time."""


def bootstrap(root: Path, name: str, console: Console) -> None:
    """Prepare an account for a stage; may be repeated, and brings roles and secrets to what the files say now.

    Raises:
        ConfigurationError: Something is missing, or a name is taken.
        QualtricsEtlError: Terraform or AWS failed.
        Interrupted: A signal came.
    """
    with workbench(root, name, "bootstrap", console, bootstrapped=False) as bench:
        bench.report.say(f"Bootstrapping stage {name} of {bench.stage.workflow.name}, account {bench.stage.account}")
        run_bootstrap(bench)
        for secret in [] if bench.stage.is_local else unset_secrets(bench.stage):
            bench.report.say(f"Not set yet: {secret}. {bench.stage.make('secret', NAME=secret)}")
        bench.report.say(f"Stage {name} is ready for {bench.stage.make('deploy')}.")


def run_bootstrap(bench: Workbench) -> None:
    """Do all of it, with the checkout's lock held."""
    stage = bench.stage
    with bench.report.phase("state bucket") as phase:
        bucket = stage.bucket("state")
        missing = owner_of(stage.access, bucket, stage.account) is Owner.NOBODY
        if missing:
            make_bucket(stage.access, bucket)
        phase.result = bucket if missing else "is there"
    if stage.config.ci:
        with bench.report.phase(f"sign-in of {stage.config.ci.host}") as phase:
            phase.result = "prepared" if ensure_provider(stage.access, stage.config.ci.host) else "is there"
    Convergence(stage, Terraform(stage, bench.programs, ROOT), bench.lock, bench.report, what="bootstrap").run()
    write_small_object(stage.access, stage.bucket("state"), DONE_KEY, _fingerprint(stage))


def is_bootstrapped(stage: Stage) -> bool:
    """Tell whether the bucket of the state is there, and all else was made by the files as they are now."""
    return read_small_object(stage.access, stage.bucket("state"), DONE_KEY) == _fingerprint(stage)


def _fingerprint(stage: Stage) -> str:
    digest = hashlib.sha256(" ".join(secret_names(stage.config)).encode())
    for folder in (ROOT, "terraform/modules"):
        for file in sorted((stage.root / folder).rglob("*.tf")):
            if file.name != TAKEOVER_FILE:
                digest.update(str(file.relative_to(stage.root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
