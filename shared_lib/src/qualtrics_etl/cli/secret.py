"""`qetl secret`: a secret's value goes to AWS, and nowhere else: no file, no history, no state."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from qualtrics_etl.aws.secrets import UNSET
from qualtrics_etl.channels.signatures import signing_secrets
from qualtrics_etl.cli.access import open_stage
from qualtrics_etl.deployment.secret_names import secret_names
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.settings import StageConfig, read_config


def secret(
    name: Annotated[
        str, typer.Argument(help="Name of the secret, for example qualtrics_api_token.", show_default=False)
    ],
    *,
    stage: Annotated[str, typer.Option(help="dev, staging, prod or local.", show_default=False)],
) -> None:
    """Set a secret of a stage: an encrypted parameter of the AWS Systems Manager, which the functions read.

    The parameter must be there: `qetl bootstrap` makes it. The value, at most 4096 bytes, is asked for without showing
    it, or read from standard input, as a key's file is. Functions take it up within five minutes. The region is that of
    config/<stage>.yml; AWS credentials come from the environment, as for the AWS command line, and those of another
    account than config/<stage>.yml names are refused. Stage local is the place on this machine, while it runs.

    \b
    For example:
      qetl secret qualtrics_api_token --stage dev
      qetl secret sftp_private_key --stage prod < key.pem
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    from qualtrics_etl.aws.parameters import secret_versions
    from qualtrics_etl.aws.secrets import set_secret

    root = Path.cwd()
    _check_name(name, read_config(root, stage))
    access = open_stage(root, stage).access  # before the value is asked for: nobody types a secret in vain
    if not secret_versions(access.aws, access.parameters, [name])[name]:
        raise ConfigurationError(
            f"There is no parameter {access.parameters}/{name} yet; nothing was changed.",
            remedy=f"Run `make bootstrap STAGE={stage}`, which makes it, with rights to make roles; then set it.",
        )
    value = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else _read_all()
    if not value:
        raise ConfigurationError("The value is empty; nothing was changed.", remedy="Type it, or give it by `< file`.")
    _check_value(name, value)
    parameter = set_secret(access.parameters, name, value, region=access.aws.region, client=access.aws.client("ssm"))
    typer.echo(f"{parameter} is set.")


def _read_all() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        raise ConfigurationError(
            "The value is not UTF-8 text; nothing was changed.", remedy="Save it as UTF-8, without a byte order mark."
        ) from None


def _check_value(name: str, value: str) -> None:
    """Refuse what functions could not use.

    Raises:
        ConfigurationError: It is the word that stands for none, or a signing secret that can be guessed.
    """
    if value == UNSET:
        raise ConfigurationError(
            f"`{UNSET}` is what stands there until the secret is set; nothing was changed.", remedy="Give the secret."
        )
    if name == "post_signing_secret":
        signing_secrets(value)


def _check_name(name: str, config: StageConfig) -> None:
    known = secret_names(config)
    if name not in known:
        raise ConfigurationError(
            f"Nothing reads a secret {name!r} in stage {config.stage}; nothing was changed.",
            remedy=f"Its settings ask for: {', '.join(known)}.",
        )
