"""`qetl tick`: a scheduled service looks for input now."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from qualtrics_etl.aws.functions import start_service
from qualtrics_etl.cli.access import OpenStage, open_stage
from qualtrics_etl.errors import ConfigurationError

EXIT_FAILED = 1


def tick(
    service: Annotated[
        str | None, typer.Argument(help="The service; without it, every service with a schedule.", show_default=False)
    ] = None,
    *,
    stage: Annotated[str, typer.Option(help="dev, staging, prod or local.", show_default=False)],
) -> None:
    """Start a scheduled service now, as its schedule would, and show what came of it.

    The function is called with a schedule's event of this second, and its end is waited for. It then looks for files;
    what it finds goes its ordinary way through the queues. A file that was taken before is not taken again.

    Exit code: 0 when it ended well, 1 when a function failed.

    \b
    For example:
      qetl tick --stage dev
      qetl tick fetch_sftp_file --stage prod
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    opened = open_stage(Path.cwd(), stage)
    failed = [name for name in _scheduled(opened, service) if not _start(opened, name)]
    raise typer.Exit(EXIT_FAILED if failed else 0)


def _scheduled(opened: OpenStage, service: str | None) -> list[str]:
    scheduled = [name for name, each in opened.workflow.services.items() if each.schedule is not None]
    if not scheduled:
        raise ConfigurationError(
            "No service has a schedule.", remedy="Give one a `schedule` in workflow.yml, and deploy."
        )
    if service is None:
        return scheduled
    if opened.check_service(service) not in scheduled:
        raise ConfigurationError(
            f"{service} has no schedule: it works on what comes into its queue.",
            remedy=f"Services with a schedule: {', '.join(scheduled)}.",
        )
    return [service]


def _start(opened: OpenStage, service: str) -> bool:
    """Start one service; say how it ended, and return whether it ended well."""
    at = datetime.now(UTC).replace(microsecond=0)
    timeout = opened.workflow.services[service].timeout_seconds
    answer = start_service(opened.access, service, at=at, timeout_seconds=timeout)
    if answer.failure is None:
        typer.echo(
            f"{service} was started (tick of {at:%Y-%m-%d %H:%M:%S} UTC) and looks for input. Its log:"
            f" make logs STAGE={opened.access.stage} SERVICE={service}"
        )
        return True
    typer.echo(f"error: {answer.failure} {answer.remedy}", err=True)
    return False
