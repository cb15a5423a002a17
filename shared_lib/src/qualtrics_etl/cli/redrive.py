"""`qetl redrive`: dead letters go back to work, when their cause is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from qualtrics_etl.aws.redrive import Cause, DeadLetters, Letter, Outcome, by_cause
from qualtrics_etl.cli.access import OpenStage, open_stage, stop_between
from qualtrics_etl.cli.terminal import counting_bar
from qualtrics_etl.errors import PermanentError
from qualtrics_etl.ledger import Ledger, State, entry_key

EXIT_WAITING = 1
EXIT_INTERRUPTED = 130
SHOWN_CAUSES = 20
SHOWN_RUNS = 10
SHOWN_BATCHES = 5


def redrive(
    service: Annotated[str, typer.Argument(help="The service whose dead letters are meant.", show_default=False)],
    *,
    stage: Annotated[str, typer.Option(help="dev, staging, prod or local.", show_default=False)],
    limit: Annotated[int | None, typer.Option(min=1, help="Send so many at most.", show_default=False)] = None,
    run: Annotated[str | None, typer.Option(help="Only letters of this run.", show_default=False)] = None,
    batch: Annotated[
        list[str] | None, typer.Option(help="Only of this batch, for example 00007; may be given several times.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the letters, by cause.")] = False,
    outcome_unknown: Annotated[
        bool,
        typer.Option(
            "--outcome-unknown",
            help="Also send letters with OutcomeUnknownError: only after a look into Qualtrics, since it may do the"
            " work twice.",
        ),
    ] = False,
) -> None:
    """Send dead letters to their service's queue again, when their cause is gone.

    Shows them by cause first. Then each letter is sent to the service's own queue, and deleted from the dead-letter
    queue when it is there: Ctrl-C, or whatever breaks, loses none. What was done already is not done again. A letter
    that comes back meanwhile, or a second one for the same work, is left for the next time.

    Letters whose error is OutcomeUnknownError are left, too: nobody knows whether Qualtrics acted on the call.
    Repeating it could make contacts twice, who then get every mail twice. Look into the mailing list of the run, as
    the remedy says; when the work is missing there, send them by --outcome-unknown, with --run and --batch, so that no
    other goes along. Of work that was waived they are sent without it: they do nothing any more.

    Exit code: 0 when all were sent, 1 when letters were left, 130 when it was stopped.

    \b
    For example:
      qetl redrive import_contacts --stage prod --dry-run
      qetl redrive import_contacts --stage prod --limit 1
      qetl redrive import_contacts --stage prod
      qetl redrive import_contacts --stage prod --run acme-etl-0123456789ab --batch 00007 --outcome-unknown
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    opened = open_stage(Path.cwd(), stage)
    letters = DeadLetters(opened.access, opened.check_service(service))

    def wanted(letter: Letter) -> bool:
        return run in (None, letter.run) and (not batch or letter.batch in batch)

    with stop_between() as stopped:
        causes = by_cause(filter(wanted, letters.look(stopped)))
        found = sum(len(cause.letters) for cause in causes)
        total = found if run or batch else max(letters.count(), found)
        if not causes and (run or batch) and letters.count():
            typer.echo(f"{letters.name}: no letter of that run or batch, among those that can be seen.")
            return
        _show(letters, causes, total, shown=len(causes) if dry_run else SHOWN_CAUSES)
        if stopped():
            typer.echo("Stopped. Nothing was sent.")
            raise typer.Exit(EXIT_INTERRUPTED)
        if dry_run or not causes:
            return
        with counting_bar() as bar:
            task = bar.add_task("sent", total=min(total, limit or total))
            outcome = letters.send_back(
                limit=limit,
                outcome_unknown=outcome_unknown,
                wanted=wanted,
                is_settled=lambda letter: _is_settled(opened, service, letter),
                stopped=stopped,
                on_sent=lambda: bar.advance(task),
            )
        _report(outcome, service, stage)
        if stopped():
            typer.echo("Stopped. What was not sent is in the dead-letter queue as before.")
            raise typer.Exit(EXIT_INTERRUPTED)
    raise typer.Exit(EXIT_WAITING if outcome.unknown or outcome.came_back else 0)


def _is_settled(opened: OpenStage, service: str, letter: Letter) -> bool:
    """Tell whether the work of a letter is done or given up, so that sending it does nothing at Qualtrics."""
    try:
        held = Ledger(opened.objects).read(entry_key(letter.run, service, letter.batch)) if letter.run else None
    except PermanentError:  # what can't be read tells nothing
        return False
    return held is not None and held.entry.state in (State.DONE, State.WAIVED)


def _show(letters: DeadLetters, causes: list[Cause], total: int, *, shown: int) -> None:
    if not causes:
        hidden = " at the moment; somebody else may hold them: try again in five minutes" if total else ""
        typer.echo(f"{letters.name}: no letters{hidden}.")
        return
    looked_at = sum(len(cause.letters) for cause in causes)
    some = f", of which the first {looked_at} were looked at" if looked_at < total else ""
    typer.echo(f"{letters.name}: {total} letter{'' if total == 1 else 's'}{some}")
    for cause in causes[:shown]:
        _show_cause(cause)
    if len(causes) > shown:
        typer.echo(f"\n  and {len(causes) - shown} more causes; --dry-run shows all.")
    typer.echo()


def _show_cause(cause: Cause) -> None:
    first = cause.first
    error = first.error or "no error named: the function came to no end, its log says why"
    typer.echo(f"\n  {len(cause.letters)} x {error}, the oldest {_age(datetime.now(UTC) - cause.since)} old")
    for name, text in (("cause", first.cause), ("remedy", first.remedy)):
        if text:
            typer.echo(f"    {name + ':':<7} {text}")
    for run, batches in list(cause.runs.items())[:SHOWN_RUNS]:
        more = f" and {len(batches) - SHOWN_BATCHES} more" if len(batches) > SHOWN_BATCHES else ""
        name = f"run {run}, batch {', '.join(batches[:SHOWN_BATCHES])}" if run else "no message of ours"
        typer.echo(f"    {name}{more}")
    if len(cause.runs) > SHOWN_RUNS:
        typer.echo(f"    and {len(cause.runs) - SHOWN_RUNS} more runs")


def _report(outcome: Outcome, service: str, stage: str) -> None:
    typer.echo(f"{outcome.sent} sent to {service}.")
    if outcome.unknown:
        typer.echo(
            f"{outcome.unknown} left: nobody knows what Qualtrics did (OutcomeUnknownError). Look there first. What"
            f" is missing there: make redrive STAGE={stage} SERVICE={service} OUTCOME_UNKNOWN=1 RUN=... BATCH=..."
        )
    if outcome.came_back:
        typer.echo(
            f"{outcome.came_back} left: they came back meanwhile, or are copies of what was sent. Look:"
            f" make redrive STAGE={stage} SERVICE={service} DRY_RUN=1"
        )


def _age(age: timedelta) -> str:
    """Return an age in its largest whole unit."""
    seconds = max(0, int(age.total_seconds()))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
