"""What must be there before anything is changed: all that is missing is said at once, each with what mends it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from qualtrics_etl.aws.account import check_account
from qualtrics_etl.aws.buckets import Owner, owner_of
from qualtrics_etl.deployment.programs import Programs, find_program
from qualtrics_etl.deployment.secret_names import missing_secrets
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.deployment.terraform import check_terraform
from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError

OLDEST_NODE = 20
_INSTALL_NODE = f"Install Node {OLDEST_NODE} or newer: https://nodejs.org/"

Check = Callable[[], object]


def check_all(checks: Iterable[Check]) -> None:
    """Run all checks.

    Raises:
        ConfigurationError: What is wrong, all of it, a paragraph each.
    """
    problems: list[QualtricsEtlError] = []
    for check in checks:
        try:
            check()
        except QualtricsEtlError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "\n".join(f"  {number}. {error}" for number, error in enumerate(problems, start=1))
        raise ConfigurationError(f"{len(problems)} things are missing; nothing was changed.\n{lines}")


def terraform_checks(root: Path, programs: Programs) -> list[Check]:
    """What Terraform's part of the work needs on this machine."""
    return [lambda: check_terraform(root, programs)]


def sls_checks(root: Path) -> list[Check]:
    """What sls' part of the work needs on this machine."""
    return [_check_node, lambda: sls_program(root)]


def account_checks(stage: Stage, *, bootstrapped: bool = True) -> list[Check]:
    """What must be true of the account; the second check is left out where the first one fails.

    Args:
        stage: The stage.
        bootstrapped: Whether the bucket of its state must be there.
    """

    def check() -> None:
        check_account(stage.access, stage.account, stage.config_file)
        check_all([lambda: _check_state_bucket(stage, must_exist=bootstrapped), *_name_checks(stage)])

    return [check]


def sls_program(root: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Return the path of sls, which a variable may name.

    Raises:
        ConfigurationError: It is not there.
    """
    given = environment.get("QETL_SLS") or "node_modules/.bin/sls"
    return find_program(
        root,
        given,
        "sls",
        "Install what package-lock.json names: `npm ci`; `make deploy` and `make scan` do so too.",
    )


def _check_node() -> None:
    node = find_program(Path(), "node", "Node", _INSTALL_NODE)
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    major = answer.stdout.strip().lstrip("v").partition(".")[0]
    if not major.isdigit() or int(major) < OLDEST_NODE:
        raise ConfigurationError(f"Node {answer.stdout.strip()} is too old for sls.", remedy=_INSTALL_NODE)


def _check_state_bucket(stage: Stage, *, must_exist: bool) -> None:
    bucket = stage.bucket("state")
    if _owner(stage, bucket) is Owner.NOBODY and must_exist and not stage.is_local:
        raise ConfigurationError(
            f"Stage {stage.name} was never bootstrapped: there is no bucket {bucket} for its state.",
            remedy=f"Run {stage.make('bootstrap')}, once, with rights to make roles.",
        )


def check_secrets(stage: Stage) -> None:
    """Refuse a stage where a secret that its logins need has no parameter: a deploy makes none.

    Raises:
        ConfigurationError: Names the secrets.
    """
    missing = missing_secrets(stage)
    if missing:
        raise ConfigurationError(
            f"{stage.config_file} chooses logins whose secrets have no place on AWS yet: {', '.join(missing)}.",
            remedy=f"Run {stage.make('bootstrap')}, with rights to make roles, then set them: "
            + ", ".join(stage.make("secret", NAME=name) for name in missing)
            + ".",
        )


def _name_checks(stage: Stage) -> list[Check]:
    def check(purpose: str) -> None:
        _owner(stage, stage.bucket(purpose))

    return [partial(check, "data"), partial(check, "artifacts")]


def _owner(stage: Stage, bucket: str) -> Owner:
    """Return whose a bucket is: ours or nobody's."""
    owner = owner_of(stage.access, bucket, stage.account)
    if owner is Owner.OTHERS:
        raise _taken(stage, bucket)
    if owner is Owner.ELSEWHERE:
        raise ConfigurationError(
            f"The stage's bucket {bucket} lies in another region than {stage.access.region}: aws_region in"
            f" {stage.config_file} was changed.",
            remedy=(
                f"Put aws_region back. To move the stage, then take it down, {stage.make('destroy')}, remove what that"
                " says stays, and only then change aws_region."
            ),
        )
    return owner


def _taken(stage: Stage, bucket: str) -> ConfigurationError:
    return ConfigurationError(
        f"The bucket name {bucket} is taken by another account, or these credentials may not look at it.",
        remedy=(
            "Give the credentials s3:ListBucket on it. Is it somebody else's, choose another `name` in workflow.yml:"
            " names on AWS begin with it, and every stage is then deployed anew."
        ),
    )
