"""Deploying a stage: the package, what Terraform makes, the functions; whatever an earlier deploy left behind."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from qualtrics_etl.aws.secrets import set_secret
from qualtrics_etl.deployment.bootstrap import is_bootstrapped, run_bootstrap
from qualtrics_etl.deployment.converge import Convergence
from qualtrics_etl.deployment.package import build_package, target_of, verify_package
from qualtrics_etl.deployment.preflight import Check, check_secrets, sls_checks
from qualtrics_etl.deployment.secret_names import unset_secrets
from qualtrics_etl.deployment.serverless import deploy_functions
from qualtrics_etl.deployment.stage import PROD, Stage
from qualtrics_etl.deployment.terraform import Terraform
from qualtrics_etl.deployment.workbench import Workbench, workbench
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.place import sftp_folder
from qualtrics_etl.local.place_settings import LOCAL_SECRETS
from qualtrics_etl.local.posts import receiver_of

Ask = Callable[[str], bool]


def deploy(
    root: Path,
    name: str,
    console: Console,
    *,
    prebuilt: bool = False,
    confirmed: bool = False,
    discard_messages: bool = False,
    ask: Ask | None = None,
    agree: Callable[[], object] = lambda: None,
) -> None:
    """Bring a stage to what the repository says.

    Args:
        root: The repository.
        name: The stage.
        console: Where lines for a person go.
        prebuilt: Whether the package that was built before is taken.
        confirmed: Whether nobody is asked; otherwise somebody is, once, before prod is changed.
        discard_messages: Whether queues may be deleted while messages wait in them.
        ask: Asks a person; None where there is none.
        agree: Raises where the repository's files don't agree; called when all else is there, before anything changes.

    Raises:
        ConfigurationError: Something is missing or in the way; nothing was changed, or only what can stay.
        QualtricsEtlError: Terraform, sls or AWS failed; the same command again goes on from there.
        Interrupted: A signal came; the same command again finishes what was begun.
    """
    started = time.monotonic()
    if name == PROD and not confirmed and ask is None:
        raise ConfigurationError(
            "Nobody can be asked here; nothing was changed.", remedy=f"Give --yes (`make deploy STAGE={PROD} YES=1`)."
        )
    package: tuple[Check, ...] = (lambda: verify_package(root, target_of(name)),) if prebuilt else ()
    with workbench(root, name, "deploy", console, checks=(*sls_checks(root), *package)) as bench:
        stage = bench.stage
        if not stage.is_local:
            check_secrets(stage)
        agree()
        bench.report.say(
            f"Deploying {stage.workflow.name} to stage {name}, account {stage.account}, {stage.access.region}"
        )
        with bench.report.phase("package") as phase:
            if not prebuilt:
                build_package(stage.root, target_of(name), bench.report.keep)
            phase.result = "taken as it was built" if prebuilt else f"build/{stage.target}"
        if stage.is_local and not is_bootstrapped(stage):
            run_bootstrap(bench)
        terraform = Terraform(stage, bench.programs)
        confirm = confirmation(stage, None if confirmed else ask)
        Convergence(
            stage, terraform, bench.lock, bench.report, discard_messages=discard_messages, confirm=confirm
        ).run()
        deploy_functions(stage, bench.programs, bench.report)
        unset = _secrets(stage)
        _tell(bench, unset, time.monotonic() - started)


def confirmation(stage: Stage, ask: Ask | None) -> Callable[[], None]:
    """Return what asks somebody whether prod is to be changed; for other stages, and without `ask`, it does nothing.

    Args:
        stage: The stage.
        ask: Asks a person.
    """

    def confirm() -> None:
        if stage.name == PROD and ask and not ask(f"Deploy that, and the functions, to {PROD}?"):
            raise ConfigurationError("Nothing was changed.", remedy="Give --yes to deploy without being asked.")

    return confirm


def _secrets(stage: Stage) -> list[str]:
    """Set the secrets of the stage on this machine; return those that a person has to set."""
    unset = unset_secrets(stage)
    if not stage.is_local:
        return unset
    client = stage.access.client("ssm")
    for name in unset:
        if name in LOCAL_SECRETS:
            set_secret(stage.parameters, name, LOCAL_SECRETS[name], region=stage.access.region, client=client)
    return [name for name in unset if name not in LOCAL_SECRETS]


def _tell(bench: Workbench, unset: list[str], seconds: float) -> None:
    stage, say = bench.stage, bench.report.say
    say(f"Stage {stage.name} is deployed ({seconds:.0f} s).")
    say(f"  functions    {', '.join(stage.workflow.services)}")
    say(f"  data bucket  {stage.bucket('data')}")
    say(f"  dashboard    {stage.prefix} in CloudWatch; alarms go to {stage.config.alarm_email}")
    if stage.place:
        say(f"  Qualtrics    {stage.place.base_url}/_sim/ shows what the simulated one holds")
    if stage.place and stage.place.sftp_port:
        say(f"  SFTP         files in {sftp_folder(stage.root).relative_to(stage.root)} lie on the client's server")
    for name in unset:
        say(f"Not set yet: {name}. {stage.make('secret', NAME=name)}")
    if receiver_of(stage.workflow) is None:
        say(f"Look for files now: {stage.make('tick').strip('`')}")
    else:
        say(f"POST a file: {stage.make('post', FILE='contacts.csv').strip('`')}")


def ask_on_terminal() -> Ask | None:
    """Return how a person is asked; None where there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None

    def ask(question: str) -> bool:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")

    return ask
