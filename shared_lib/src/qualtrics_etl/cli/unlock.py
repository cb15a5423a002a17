"""`qetl unlock`: the lock that a deploy on another machine left behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from qualtrics_etl.errors import ConfigurationError


def unlock(
    *,
    stage: Annotated[str, typer.Option(help="local, dev, staging or prod.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Remove Terraform's lock of a stage, when whoever held it died on another machine.

    Says who holds it and since when, and asks. A lock that a killed deploy of this machine left needs no command: the
    next deploy removes it.

    \b
    For example:
      qetl unlock --stage dev
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    from rich.console import Console

    from qualtrics_etl.cli.interrupting import ends_when_interrupted
    from qualtrics_etl.deployment.deploy import ask_on_terminal
    from qualtrics_etl.deployment.unlock import unlock as run

    ask = None if yes else ask_on_terminal()
    if not yes and (ask is None or not sys.stdin.isatty()):
        raise ConfigurationError("Nobody can be asked here; nothing was changed.", remedy="Give --yes.")
    console = Console(soft_wrap=True)
    with ends_when_interrupted(console, f"`make unlock STAGE={stage}` goes on."):
        run(Path.cwd(), stage, console, ask=ask)
