"""What every command on a stage begins and ends with: checks, the stage's lock, signals, a log."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from qualtrics_etl.deployment.interruption import Interruption
from qualtrics_etl.deployment.lock import StageLock
from qualtrics_etl.deployment.preflight import Check, account_checks, check_all, terraform_checks
from qualtrics_etl.deployment.programs import Programs
from qualtrics_etl.deployment.report import Report
from qualtrics_etl.deployment.stage import Stage, open_stage
from qualtrics_etl.errors import QualtricsEtlError
from qualtrics_etl.local.run import STATE_FOLDER


@dataclass(frozen=True, slots=True)
class Workbench:
    """A stage that is ready to be worked on.

    Attributes:
        lock: Which other commands wait for.
        log: The file that keeps all that programs print.
    """

    stage: Stage
    programs: Programs
    report: Report
    lock: StageLock
    log: Path


@contextmanager
def workbench(
    root: Path,
    name: str,
    command: str,
    console: Console,
    *,
    checks: tuple[Check, ...] = (),
    bootstrapped: bool = True,
    apart: bool = False,
) -> Iterator[Workbench]:
    """Check that a command can work, take the checkout's lock, and keep a log until the end of the block.

    Args:
        root: The repository.
        name: The stage.
        command: For example `deploy`.
        console: Where lines for a person go.
        checks: What this command needs beyond Terraform and the account.
        bootstrapped: Whether the stage must have been bootstrapped.
        apart: Whether the command changes nothing that others use: then it waits only for its own like.

    Raises:
        ConfigurationError: Something is missing; all of it is told.
        Interrupted: A signal came; nothing of ours runs any more.
    """
    root = root.resolve()
    quiet = Report(console)
    with Interruption(quiet.say) as interruption:
        before = Programs(root, os.environ, root / STATE_FOLDER / "deploy", quiet, interruption)
        opened: list[Stage] = []
        check_all([lambda: opened.append(open_stage(root, name)), *terraform_checks(root, before), *checks])
        stage = opened[0]
        check_all(account_checks(stage, bootstrapped=bootstrapped))
        with checkout_lock(root, command, name, quiet.say, apart=apart) as lock:
            log = root / STATE_FOLDER / f"{command}-{name}.log"
            report = Report(console, log)
            report.start_log()
            programs = Programs(root, stage.environment, stage.folder / command, report, interruption, lock)
            try:
                yield Workbench(stage, programs, report, lock, log)
            except QualtricsEtlError as error:
                report.keep(f"error: {error}")
                console.print(
                    f"All that was printed: {log.relative_to(root)}", markup=False, highlight=False, soft_wrap=True
                )
                raise


def checkout_lock(
    root: Path, command: str, stage: str, say: Callable[[str], None], *, apart: bool = False
) -> StageLock:
    """Return the lock of a command: one for all that write into a checkout.

    Args:
        root: The repository.
        command: For example `deploy`.
        stage: The stage; empty where no stage is meant.
        say: Called with a sentence while another command is waited for.
        apart: Whether only the same command on the same stage is waited for.
    """
    file = f"{command}-{stage}.lock" if apart else "checkout.lock"
    return StageLock(root / STATE_FOLDER / file, command, stage=stage, say=say)
