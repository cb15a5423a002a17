"""`qetl plan`: what a deploy would change, and what differs from what was deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXIT_DRIFT = 3


def plan(
    *,
    stage: Annotated[str, typer.Option(help="local, dev, staging or prod.", show_default=False)],
    drift: Annotated[
        bool, typer.Option("--drift", help=f"Exit with {EXIT_DRIFT} when anything is not as it was deployed.")
    ] = False,
) -> None:
    """Show what a deploy would change; nothing is changed, and no lock of the state is taken.

    The same text goes to build/plan-<stage>.md, and to the summary of a GitHub job.

    \b
    For example:
      qetl plan --stage dev
      qetl plan --stage prod --drift
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    from rich.console import Console

    from qualtrics_etl.cli.interrupting import ends_when_interrupted
    from qualtrics_etl.deployment.plan import plan as run

    console = Console(soft_wrap=True)
    with ends_when_interrupted(console, "Nothing was changed."):
        differs = run(Path.cwd(), stage, console, drift=drift)
    if drift and differs:
        raise typer.Exit(EXIT_DRIFT)
