"""`qetl resend`: messages of a run that are nowhere any more are made again from its ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from qualtrics_etl.aws.redrive import dead_letters_of
from qualtrics_etl.cli.access import open_stage, stop_between
from qualtrics_etl.cli.status import begun_erasure, names_of
from qualtrics_etl.cli.terminal import confirm, counting_bar
from qualtrics_etl.ledger import State
from qualtrics_etl.steps.resending import Lost, Plan, Resending

EXIT_LEFT = 1
EXIT_INTERRUPTED = 130


def resend(
    run: Annotated[str, typer.Argument(help="The run, as `qetl status` lists it.", show_default=False)],
    *,
    stage: Annotated[str, typer.Option(help="dev, staging, prod or local.", show_default=False)],
    service: Annotated[
        str | None, typer.Option(help="Only messages for this service; without it, for all.", show_default=False)
    ] = None,
    outcome_unknown: Annotated[
        bool,
        typer.Option(
            "--outcome-unknown",
            help="Also work that failed with OutcomeUnknownError: only after a look into Qualtrics, since it may be"
            " done twice.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Send again what a run waits for, where its message is gone.

    A message is gone when its dead letter was deleted, or expired after 14 days, or when it waited longer than the 4
    days for which a queue keeps it: behind a service that was stopped, for example. What it said is in the ledger.

    No queue tells what it holds. So everything of the run is sent that is not done or waived, has no dead letter, and
    is at no worker. What was on its way after all then comes twice, which costs a little and does nothing twice. What
    has a dead letter is for `qetl redrive`.

    Exit code: 0 when all was sent or there is nothing to send, 1 when something was left, 130 when the answer was no
    or it was stopped; the same command again goes on.

    \b
    For example:
      qetl resend acme-etl-0123456789ab --stage prod --dry-run
      qetl resend acme-etl-0123456789ab --stage prod --service import_contacts
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    opened = open_stage(Path.cwd(), stage)
    if service is not None:
        opened.check_service(service)
    resending = Resending(opened.workflow, opened.objects, opened.queues)
    letters = dead_letters_of(opened.access, opened.workflow.services)
    plan = resending.look(run, letters, datetime.now(UTC), service=service, outcome_unknown=outcome_unknown)
    for line in lines_of(plan, stage, service):
        typer.echo(line)
    left = EXIT_LEFT if any(each.message is None for each in plan.lost) else 0
    if plan.is_empty or dry_run:
        raise typer.Exit(left)
    if not yes and not confirm("Send it?"):
        typer.echo("Nothing was sent.")
        raise typer.Exit(EXIT_INTERRUPTED)
    total = len(plan.marks) + sum(each.message is not None for each in plan.lost)
    with stop_between() as stopped, counting_bar() as bar:
        task = bar.add_task("sent", total=total)
        resending.send(plan, stopped=stopped, on_sent=lambda count: bar.advance(task, count))
    sent = round(bar.tasks[task].completed)
    typer.echo(f"{sent} of {total} sent. How the run goes on: make status STAGE={stage} RUN={run}")
    raise typer.Exit(left if sent == total else EXIT_INTERRUPTED)


def lines_of(plan: Plan, stage: str, service: str | None = None) -> Iterator[str]:
    """Yield what a person has to know before the answer.

    Args:
        stage: Where the run is.
        service: The only one that is asked for.
    """
    if plan.is_empty and not plan.lost:
        yield f"Run {plan.run}: nothing of it is open{f' at {service}' if service else ''}, so nothing is sent."
        return
    yield f"Run {plan.run}"
    yield from _grouped(plan.lost)
    if plan.marks:
        yield f"  {len(plan.marks)} mark{'' if len(plan.marks) == 1 else 's'} of batches for those that wait for all"
    if plan.erasures.begun:
        yield begun_erasure(plan.run, plan.erasures, plan.state, stage)
    if not plan.is_empty:
        yield "What is still on its way comes twice then, and is done once all the same."


def _grouped(lost: Iterable[Lost]) -> Iterator[str]:
    """Yield the pieces by service, and by what becomes of them."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in lost:
        state = "not begun" if each.state is None else f"`{each.state.value}`"
        fate = f"left, {each.why_not}" if each.message is None else f"{state}, sent again"
        if each.message is not None and each.state is State.DONE:
            fate = "`done`, sent again to finish what was left to write"
        groups.setdefault((each.service, fate), []).append(each.batch)
    for (service, fate), batches in groups.items():
        yield f"  {service}{names_of(tuple(batches))}: {fate}"
