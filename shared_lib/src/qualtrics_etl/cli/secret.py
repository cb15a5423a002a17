"""`qetl secret`: a secret's value goes to AWS, and nowhere else: no file, no history, no state."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.settings import StageConfig, read_config
from qualtrics_etl.workflow import read_workflow


def secret(
    name: Annotated[
        str, typer.Argument(help="Name of the secret, for example qualtrics_api_token.", show_default=False)
    ],
    *,
    stage: Annotated[str, typer.Option(help="dev, staging or prod.", show_default=False)],
) -> None:
    """Set a secret of a stage: an encrypted parameter of the AWS Systems Manager, which the functions read.

    The value is asked for without showing it, or read from standard input, as a key's file is. Functions take it up
    within five minutes. The region is that of config/<stage>.yml; AWS credentials come from the environment, as for the
    AWS command line.

    \b
    For example:
      qetl secret qualtrics_api_token --stage dev
      qetl secret sftp_private_key --stage prod < key.pem
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    from qualtrics_etl.aws.secrets import set_secret

    root = Path.cwd()
    workflow, config = read_workflow(root), read_config(root, stage)
    _check_name(name, config)
    value = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.read().strip("\n")
    if not value:
        raise ConfigurationError("The value is empty; nothing was changed.", remedy="Type it, or give it by `< file`.")
    parameter = set_secret(f"/{workflow.name}/{stage}", name, value, region=config.aws_region)
    typer.echo(f"{parameter} is set.")


def _check_name(name: str, config: StageConfig) -> None:
    known = list(_names(config))
    if config.stage == "local":
        raise ConfigurationError("Local runs need no secrets.", remedy="Give --stage dev, staging or prod.")
    if name not in known:
        raise ConfigurationError(
            f"Nothing reads a secret {name!r} in stage {config.stage}; nothing was changed.",
            remedy=f"Its settings ask for: {', '.join(known)}.",
        )


def _names(config: StageConfig) -> list[str]:
    """Return the secrets that the stage's settings make the steps ask for."""
    token = ["qualtrics_api_token"]
    qualtrics = token if config.qualtrics.auth == "api_token" else ["qualtrics_client_id", "qualtrics_client_secret"]
    sftp = [] if config.sftp is None else [f"sftp_{config.sftp.auth}"]
    return [*qualtrics, *sftp]
