"""`qetl waive`: a piece of work is given up, knowingly, so that its run goes on without it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from qualtrics_etl.catalogue import Level
from qualtrics_etl.cli.access import OpenStage, open_stage
from qualtrics_etl.cli.terminal import confirm
from qualtrics_etl.messages import WHOLE_RUN, ContactsImported
from qualtrics_etl.steps.waivers import Candidate, Waivers, check_reason
from qualtrics_etl.workflow import Workflow

EXIT_REFUSED = 1
EXIT_INTERRUPTED = 130
_MAY_HAVE_ACTED = "Qualtrics may have acted on a call of it already, or may still: that is not taken back."


def waive(
    service: Annotated[str, typer.Argument(help="The service whose work is given up.", show_default=False)],
    *,
    stage: Annotated[str, typer.Option(help="dev, staging, prod or local.", show_default=False)],
    run: Annotated[str, typer.Option(help="The run, as a dead letter names it.", show_default=False)],
    batch: Annotated[
        list[str] | None, typer.Option(help="A batch, for example 00007; may be given several times.")
    ] = None,
    why: Annotated[str, typer.Option(help="The reason. It is kept in the ledger: no data of persons.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Give a piece of work up, so that its run goes on without it.

    Shows what will not happen, and asks. Then the work's entry in the ledger becomes `waived`, with the reason, and
    what waits for all batches no longer waits for this one. Rows of a waived batch count as waived. A service that
    works on a run ends its chain there: nothing behind it is done. It can't be taken back, and takes nothing back
    that Qualtrics has done already.

    What is done can't be waived, nor what a worker is at right now. Its dead letter stays where it is: `make redrive`
    drains it without effect. The same command again finishes one that broke off.

    Exit code: 0 when all was waived, 1 when something could not be, 130 when the answer was no.

    \b
    For example:
      qetl waive import_contacts --stage prod --run acme-etl-0123456789ab --batch 00007 --why "sent anew as a file"
      qetl waive schedule_reminder --stage prod --run acme-etl-0123456789ab --why "the client called it off"
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    check_reason(why)
    opened = open_stage(Path.cwd(), stage)
    waivers = Waivers(opened.workflow, opened.objects, opened.queues)
    named: list[str | None] = [*dict.fromkeys(batch)] if batch else [None]
    candidates = [waivers.look(run, service, each) for each in named]
    possible = [(name, each) for name, each in zip(named, candidates, strict=True) if not each.refusal]
    for line in _lines(candidates, opened.workflow):
        typer.echo(line)
    if not possible:
        raise typer.Exit(EXIT_REFUSED)
    if not yes and not all(each.is_waived for _, each in possible) and not confirm("Waive it?"):
        typer.echo("Nothing was changed.")
        raise typer.Exit(EXIT_INTERRUPTED)
    waived = list(_waive(opened, waivers, possible, why))
    raise typer.Exit(0 if len(waived) == len(candidates) and all(waived) else EXIT_REFUSED)


def _waive(
    opened: OpenStage, waivers: Waivers, candidates: Iterable[tuple[str | None, Candidate]], why: str
) -> Iterator[bool]:
    """Waive each, a batch by the name it was given; say how it ended, and yield whether it is waived."""
    for batch, each in candidates:
        after = waivers.waive(each.run, each.service, batch, why)
        typer.echo(f"{_name(after)}: {after.refusal or 'waived.'}")
        yield after.is_waived
    if each.service not in opened.workflow.services:
        return
    typer.echo(
        f"Dead letters of it, if there are any, are drained without effect by: make redrive"
        f" STAGE={opened.access.stage} SERVICE={each.service}"
    )


def _lines(candidates: Iterable[Candidate], workflow: Workflow) -> Iterator[str]:
    """Yield what a person has to know before the answer."""
    for each in candidates:
        yield f"{_name(each)}, {_state(each)}"
        if each.refusal:
            yield f"  Can't be waived. {each.refusal}"
        elif each.is_waived:
            assert each.held is not None
            yield f"  Was waived before ({each.held.entry.skipped}); what waits for it is told again."
        else:
            yield from (f"  {line}" for line in _consequences(each, workflow))


def _consequences(candidate: Candidate, workflow: Workflow) -> Iterator[str]:
    service = candidate.service
    if service not in workflow.services:
        yield f"workflow.yml no longer has {service}. It is not done, nor what would have followed."
        if candidate.may_have_acted:
            yield _MAY_HAVE_ACTED
        return
    behind = workflow.behind(service)
    missed = ", ".join(behind)
    importers = [name for name in (service, *behind) if workflow.services[name].step.gives is ContactsImported]
    if importers:
        rows = "Rows whose number is not known any more" if candidate.rows is None else f"{candidate.rows} rows"
        yield _fate_of_rows(candidate, rows, importers)
    if workflow.level_of(service) is Level.RUN:
        yield f"The run ends here: {service} is not done, and nothing behind it" + (f" ({missed})." if missed else ".")
    else:
        if missed:
            yield f"The batch will not reach {missed}."
        for waiting in workflow.fan_ins_behind(service):
            yield f"{waiting} no longer waits for it."
    if candidate.may_have_acted and service not in importers:
        yield _MAY_HAVE_ACTED


def _fate_of_rows(candidate: Candidate, rows: str, importers: list[str]) -> str:
    if candidate.may_have_acted and candidate.service in importers:
        return (
            f"{rows} are given up. Qualtrics may have acted on their import, or still may: then they are in the mailing"
            " list, and are invited. Look there before the client sends them again."
        )
    return f"{rows} will not be imported by {', '.join(importers)}."


def _state(candidate: Candidate) -> str:
    return f"`{candidate.held.entry.state.value}`" if candidate.held else "not begun"


def _name(candidate: Candidate) -> str:
    batch = "" if candidate.batch == WHOLE_RUN else f", batch {candidate.batch}"
    return f"{candidate.service}, run {candidate.run}{batch}"
