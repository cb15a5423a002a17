"""`qetl deploy`: the package, Terraform, the functions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def deploy(
    *,
    stage: Annotated[str, typer.Option(help="local, dev, staging or prod.", show_default=False)],
    prebuilt: Annotated[bool, typer.Option("--prebuilt", help="Take the package that `qetl package` built.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask before prod is changed.")] = False,
    discard_messages: Annotated[
        bool, typer.Option("--discard-messages", help="Delete queues of removed services, whatever waits in them.")
    ] = False,
) -> None:
    """Deploy a stage, or finish what an interrupted deploy began.

    Everything is checked before anything is changed, what `qetl check` finds too. Nothing that holds data is deleted: a
    queue only when it is empty, a bucket never. What Terraform and sls print is in .qetl/deploy-<stage>.log.

    \b
    For example:
      qetl deploy --stage local
      qetl deploy --stage prod --prebuilt
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    from rich.console import Console

    from qualtrics_etl.cli.check import check_before_deploy
    from qualtrics_etl.cli.interrupting import ends_when_interrupted
    from qualtrics_etl.deployment.deploy import ask_on_terminal
    from qualtrics_etl.deployment.deploy import deploy as run

    console = Console(soft_wrap=True)
    with ends_when_interrupted(console, f"`make deploy STAGE={stage}` finishes what was begun."):
        run(
            Path.cwd(),
            stage,
            console,
            prebuilt=prebuilt,
            confirmed=yes,
            discard_messages=discard_messages,
            ask=ask_on_terminal(),
            agree=lambda: check_before_deploy(Path.cwd(), stage),
        )
