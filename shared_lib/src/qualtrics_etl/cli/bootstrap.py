"""`qetl bootstrap`: once a stage, what its first deploy needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bootstrap(
    *,
    stage: Annotated[str, typer.Option(help="local, dev, staging or prod.", show_default=False)],
) -> None:
    """Make what a stage's first deploy needs: the bucket for Terraform's state, secrets, and the roles of pipelines.

    It needs rights to make roles, which pipelines do not have. May be repeated: it brings roles and secrets up to date,
    and must be when config/<stage>.yml chooses another login. Secrets of a login that is chosen no more are
    deleted, unless somebody has set them: then it stops, and says how to go on.

    \b
    For example:
      qetl bootstrap --stage dev
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    from rich.console import Console

    from qualtrics_etl.cli.interrupting import ends_when_interrupted
    from qualtrics_etl.deployment.bootstrap import bootstrap as run

    console = Console(soft_wrap=True)
    with ends_when_interrupted(console, f"`make bootstrap STAGE={stage}` finishes what was begun."):
        run(Path.cwd(), stage, console)
