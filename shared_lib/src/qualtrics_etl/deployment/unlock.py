"""Removing Terraform's lock of a stage, when whoever held it died."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from qualtrics_etl.deployment.bootstrap import ROOT as BOOTSTRAP_ROOT
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.deployment.state_lock import StateLock, read_state_lock
from qualtrics_etl.deployment.terraform import Terraform
from qualtrics_etl.deployment.workbench import workbench
from qualtrics_etl.errors import ConfigurationError, PermanentError


def unlock(root: Path, name: str, console: Console, *, ask: Callable[[str], bool] | None) -> int:
    """Show each lock of a stage, ask, and remove it; return how many were removed.

    Args:
        root: The repository.
        name: The stage.
        console: Where lines for a person go.
        ask: Asks a person; None when the answer is yes.

    Raises:
        ConfigurationError: The answer was no, or something is missing.
        QualtricsEtlError: Terraform or AWS failed.
    """
    removed = 0
    with workbench(root, name, "unlock", console) as bench:
        for each in ("terraform", BOOTSTRAP_ROOT):
            terraform = Terraform(bench.stage, bench.programs, each)
            found = lock_of(bench.stage, each, terraform.key)
            if found is None:
                continue
            bench.report.say(f"The state {terraform.key} of stage {name} is locked by {found}.")
            if ask and not ask("Is it dead? Two deploys at once can ruin the state. Remove the lock?"):
                raise ConfigurationError("The lock stays.", remedy="Wait for the end of the one that holds it.")
            with bench.report.phase(f"{each} init") as phase:
                terraform.init(phase)
            terraform.force_unlock(found.lock_id)
            removed += 1
            bench.report.say(f"The lock is removed. {bench.stage.make('deploy')} finishes what was begun.")
        bench.lock.forget()
        if not removed:
            bench.report.say(f"Nothing locks stage {name}.")
    return removed


def lock_of(stage: Stage, root: str, key: str) -> StateLock | None:
    """Return the lock of a root's state; None when it is free, or of no concern to who asks.

    The roles of pipelines may not look into the bootstrap's state or at its lock: only an administrator takes that one.

    Args:
        stage: The stage.
        root: Terraform's folder.
        key: The state's key.

    Raises:
        PermanentError: It is the stage's own state, and AWS does not let us look.
    """
    try:
        return read_state_lock(stage, key)
    except PermanentError:
        if root == BOOTSTRAP_ROOT:
            return None
        raise
