"""`qetl logs`: what the functions of a stage wrote, one after the other."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from qualtrics_etl.aws.logs import LogReader, check_run, duration
from qualtrics_etl.cli.access import open_stage

FOLLOW_SECONDS = 2
"""Between two looks; each is a request a service, of the 5 to 25 a second that CloudWatch allows."""


def logs(
    service: Annotated[
        str | None, typer.Argument(help="Only this service; without it, all of them.", show_default=False)
    ] = None,
    *,
    stage: Annotated[str, typer.Option(help="dev, staging, prod or local.", show_default=False)],
    since: Annotated[str, typer.Option(help="How far back: 90s, 15m, 2h, 7d.")] = "15m",
    run: Annotated[str | None, typer.Option(help="Only lines of this run.", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
) -> None:
    """Show the logs of a stage's functions, oldest first, one line an event; times are UTC.

    What the platform notes of each call is left out, unless a function ran out of time or memory.

    \b
    For example:
      qetl logs --stage dev
      qetl logs import_contacts --stage prod --since 2h
      qetl logs --stage prod --since 7d --run acme-etl-0123456789ab
      qetl logs --stage dev --follow
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    back = duration(since)
    if run is not None:
        check_run(run)
    opened = open_stage(Path.cwd(), stage)
    services = tuple(opened.workflow.services) if service is None else (opened.check_service(service),)
    reader = LogReader(opened.access, services, run, on_missing=_say_missing)
    start = datetime.now(UTC) - back
    lines = reader.follow(start, lambda: time.sleep(FOLLOW_SECONDS)) if follow else reader.read(start)
    shown = 0
    for shown, line in enumerate(lines, 1):  # noqa: B007 - counts
        typer.echo(line.text())
    if not shown:
        what = "Nothing" if run is None else f"Nothing of run {run}"
        typer.echo(f"{what} was logged since {start:%Y-%m-%d %H:%M} UTC; --since looks further back.", err=True)


def _say_missing(service: str) -> None:
    typer.echo(f"note: {service} has no log group: it is not deployed yet.", err=True)
