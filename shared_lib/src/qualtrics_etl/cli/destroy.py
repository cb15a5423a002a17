"""`qetl destroy`: a stage is taken down, data and all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from qualtrics_etl.errors import ConfigurationError


def destroy(
    *,
    stage: Annotated[str, typer.Option(help="local, dev, staging or prod.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Take a stage down: functions, queues with what waits in them, buckets with all data, roles, parameters.

    It works from any state, also that of a deploy that stopped half-way, and may be repeated. On AWS what the bootstrap
    made stays: the bucket of Terraform's state, the secrets with their values, the roles of pipelines. It ends with the
    commands that remove these too.

    \b
    For example:
      qetl destroy --stage local --yes
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    from rich.console import Console

    from qualtrics_etl.cli.interrupting import ends_when_interrupted
    from qualtrics_etl.deployment.destroy import destroy as run

    if not yes:
        _ask(stage)
    console = Console(soft_wrap=True)
    with ends_when_interrupted(console, f"`make destroy STAGE={stage}` goes on."):
        run(Path.cwd(), stage, console)


def _ask(stage: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError("Nobody can be asked here; nothing was changed.", remedy="Give --yes.")
    typed = typer.prompt(f"All data of stage {stage} will be lost. Type the stage's name to go on")
    if typed != stage:
        raise ConfigurationError("That is another name; nothing was changed.")
