"""`qetl status`: how far the runs of a stage are, what they wait for, and which command comes next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from qualtrics_etl.aws.redrive import dead_letters_of
from qualtrics_etl.catalogue import Level
from qualtrics_etl.cli.access import OpenStage, open_stage
from qualtrics_etl.errors import ConfigurationError, OutcomeUnknownError, PermanentError
from qualtrics_etl.messages import WHOLE_RUN
from qualtrics_etl.runs import recent_runs
from qualtrics_etl.status import (
    DeadLetter,
    Erasures,
    Gone,
    Letters,
    Progress,
    RunState,
    RunStatus,
    ServiceStatus,
    Wait,
    status_of,
)
from qualtrics_etl.steps.resending import Plan, Resending
from qualtrics_etl.summary import LONG_AGO, Rows, RunSummary

EXIT_DEAD_LETTERED = 1
STANDING = (RunState.DEAD_LETTERED, RunState.UNREADABLE)
QUEUE_KEEPS = timedelta(days=4)
"""How long a message waits in its queue: `message_retention_seconds` of the generated Terraform module."""
SHOWN_RUNS = 10
SHOWN_BATCHES = 5
SHOWN_CAUSES = 5
COLUMNS: tuple[tuple[str, tuple[Progress, ...]], ...] = (
    ("done", (Progress.DONE,)),
    ("waived", (Progress.WAIVED,)),
    ("under way", (Progress.UNDER_WAY,)),
    ("queued", (Progress.QUEUED,)),
    ("dead-lettered", (Progress.DEAD_LETTERED,)),
    ("not come", (Progress.NOT_COME,)),
)
_TO_COME = (Progress.UNDER_WAY, Progress.QUEUED, Progress.NOT_COME)


def status(
    run: Annotated[str | None, typer.Argument(help="A run; without it, the last runs.", show_default=False)] = None,
    *,
    stage: Annotated[str, typer.Option(help="dev, staging, prod or local.", show_default=False)],
    limit: Annotated[
        int, typer.Option(min=1, help="How many runs are listed; as many again that only dead letters tell of.")
    ] = SHOWN_RUNS,
    json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object a run and line.")] = False,
) -> None:
    """Show the last runs, or of one run what it waits for, and which command comes next.

    Of each run: its file, what became of its rows, and whether it is finished, waiting, or dead-lettered. Of one run
    besides: each service's pieces of work, which batches are missed by a service that waits for all, and the cause of
    each dead letter. Nothing is changed; dead letters are hidden from others for a moment, as when they are looked at.

    Exit code: 0, or 1 when something of these runs is dead-lettered, or can't be read.

    \b
    For example:
      qetl status --stage prod
      qetl status acme-etl-0123456789ab --stage prod
      qetl status --stage prod --limit 50 --json
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    opened = open_stage(Path.cwd(), stage)
    letters = dead_letters_of(opened.access, opened.workflow.services)
    now = datetime.now(UTC)
    runs = [run] if run else recent_runs(opened.workflow, opened.objects, limit, now, letters.runs)
    found = _statuses(opened, runs, letters)
    if run and not found:
        raise ConfigurationError(
            f"There is no run {run} in stage {stage}.", remedy=f"The last runs: make status STAGE={stage}"
        )
    if json:
        typer.echo("".join(f"{orjson.dumps(as_json(each)).decode()}\n" for each in found), nl=False)
    elif run:
        for line in lines_of(found[0], stage, now, _plan(opened, found[0], letters, now)):
            typer.echo(line)
    else:
        for line in [line for each in found for line in _listed(each)] or [f"Stage {stage} has no runs."]:
            typer.echo(line)
    raise typer.Exit(EXIT_DEAD_LETTERED if any(each.state in STANDING for each in found) else 0)


def read_statuses(opened: OpenStage, runs: Iterable[str]) -> list[RunStatus]:
    """Return how far runs are; those of which nothing tells are left out."""
    return _statuses(opened, runs, dead_letters_of(opened.access, opened.workflow.services))


def _statuses(opened: OpenStage, runs: Iterable[str], letters: Letters) -> list[RunStatus]:
    found = (status_of(opened.workflow, opened.objects, each, letters) for each in runs)
    return [each for each in found if each is not None]


def _plan(opened: OpenStage, run: RunStatus, letters: Letters, now: datetime) -> Plan | None:
    """Return what could be sent again of a run that may have lost messages; None where there is no sign of that."""
    if all(each.seen for each in run.dead) and not stands_still(run, now):
        return None
    try:
        return Resending(opened.workflow, opened.objects, opened.queues).look(run.run, letters, now)
    except (ConfigurationError, PermanentError):  # a tick, an erased run: nothing is sent of those
        return None


def stands_still(run: RunStatus, now: datetime) -> bool:
    """Whether a run is not finished, and nothing has changed for longer than a queue keeps a message."""
    is_open = run.state in (RunState.WAITING, RunState.DEAD_LETTERED)
    return is_open and LONG_AGO < max(run.last_written_at, run.taken_at) < now - QUEUE_KEEPS


def lines_of(run: RunStatus, stage: str, now: datetime, plan: Plan | None = None) -> Iterator[str]:
    """Yield what a person is shown of a run.

    Args:
        plan: What could be sent again of it; None where nothing speaks for lost messages.
    """
    file = f", file {run.summary.file_name}" if run.summary.file_name else ""
    yield f"Run {run.run}{file}: {run.state.value}, {_last_change(run)}"
    if run.unreadable:
        yield f"  {run.unreadable}"
        return
    if run.erasures.at:
        yield f"  Its personal data was erased on {run.erasures.at}."
    if run.erasures.begun:
        yield f"  {begun_erasure(run.run, run.erasures, run.state, stage)}"
    for line in sums_of(run.summary):
        yield f"  {line}"
    yield ""
    yield from _service_lines(run.services)
    yield from (f"  {line}" for line in gone_lines(run.gone))
    if run.outgrown:
        unsummed = "" if run.summary.rows else "; rows are not summed up"
        yield f"  workflow.yml has changed since: shown is what was recorded, and not what would follow{unsummed}."
    if run.waits:
        yield ""
        yield from wait_lines(run)
    yield from _dead_lines(run.dead)
    if commands := list(_next_commands(run, stage, now, plan)):
        yield "\nNext:"
        yield from (f"  {command}" for command in commands)


def begun_erasure(run: str, erasures: Erasures, state: RunState, stage: str) -> str:
    """Return what is to be said where nobody knows what an erasure left."""
    return (
        f"An erasure of its personal data began on {erasures.begun} and has not ended: work may miss its data."
        f" To end it: make erase STAGE={stage} RUN={run}{'' if state is RunState.FINISHED else ' EVEN_UNFINISHED=1'}"
    )


def wait_lines(run: RunStatus) -> Iterator[str]:
    """Yield a line for each service that waits: what for, by name."""
    dead = {(each.service, each.batch) for each in run.dead}
    for wait in run.waits:
        if wait.never:
            yield f"{wait.service} waits for{names_of(wait.batches)}, ended, and told to another service: never for all"
            continue
        how_far = _how_far(wait, dead)
        yield f"{wait.service} waits for {wait.for_service}{names_of(wait.batches)}{f' ({how_far})' if how_far else ''}"


def sums_of(run: RunSummary) -> Iterator[str]:
    """Yield a line a service that imports; its name is said where there are several."""
    if run.refused_by:
        yield f"Refused as a whole by {run.refused_by}: its dead letter says why."
    for service, rows in run.rows.items():
        yield f"{service}: {sum_of(rows)}" if len(run.rows) > 1 else sum_of(rows)


def sum_of(rows: Rows) -> str:
    """Return what became of rows as a sum that is right."""
    parts = [
        f"{rows.loaded + rows.updated} imported ({rows.loaded} new, {rows.updated} known)",
        f"{rows.rejected} rejected",
        f"{rows.skipped} skipped",
        f"{rows.pending} pending" if rows.pending else "",
        f"{rows.waived} waived" if rows.waived else "",
        f"{rows.unaccounted} unaccounted for" if rows.unaccounted else "",
    ]
    return f"{rows.read} rows in = {' + '.join(filter(None, parts))}"


def as_json(run: RunStatus) -> dict[str, Any]:
    """Return a run for machines: counts by service, batches by name where they are not done."""
    return {
        "run": run.run,
        "file": run.summary.file_name,
        "state": run.state.value,
        "last_change": None if run.last_written_at == LONG_AGO else run.last_written_at.isoformat(),
        "unreadable": run.unreadable or None,
        "erased_at": run.erasures.at or None,
        "erasure_begun_at": run.erasures.begun or None,
        "refused_by": run.summary.refused_by or None,
        "rows": {
            service: {name: getattr(rows, name) for name in (*Rows.__dataclass_fields__, "unaccounted")}
            for service, rows in run.summary.rows.items()
        },
        "services": {
            each.service: {
                name: each.count(*progress) if progress == (Progress.DONE,) else each.batches(*progress)
                for name, progress in COLUMNS
            }
            for each in run.services
        },
        "outgrown": run.outgrown,
        "gone": {each.service: {"ended": each.ended, "open": each.open} for each in run.gone},
        "waits": [
            {
                "service": each.service,
                "for": each.for_service or None,
                "batches": each.batches,
                "untold": each.untold,
                "never": each.never,
            }
            for each in run.waits
        ],
        "dead_letters": [
            {
                "service": each.service,
                "batch": each.batch,
                "error": each.error,
                "cause": each.cause,
                "remedy": each.remedy,
                "done": each.done,
                "seen": each.seen,
            }
            for each in run.dead
        ],
    }


def _listed(run: RunStatus) -> Iterator[str]:
    minute = _minute(run.last_written_at)
    yield f"{minute}  {run.run}  {run.state.value}  {run.summary.file_name}".rstrip()
    for line in [run.unreadable] if run.unreadable else sums_of(run.summary):
        yield f"{'':<{len(minute)}}  {line}"


def _service_lines(services: Sequence[ServiceStatus]) -> Iterator[str]:
    width = max(map(len, (each.service for each in services)), default=0)
    shown = [
        (name, progress) for name, progress in COLUMNS if name == "done" or any(s.count(*progress) for s in services)
    ]
    yield f"  {'service':<{width}}" + "".join(f"  {name}" for name, _ in shown)
    for each in services:
        note = "  will not run" if each.count(Progress.WILL_NOT_COME) == len(each.pieces) > 0 else ""
        counts = "".join(f"  {each.count(*progress):>{len(name)}}" for name, progress in shown)
        yield f"  {each.service:<{width}}{counts}{note}"


def gone_lines(gone: Iterable[Gone]) -> Iterator[str]:
    """Yield a line for each service that workflow.yml no longer has."""
    for each in gone:
        is_open = f", {len(each.open)} open{names_of(each.open)}" if each.open else ""
        yield f"{each.service}, which workflow.yml no longer has: {each.ended} ended{is_open}"


def _how_far(wait: Wait, dead: set[tuple[str, str]]) -> str:
    if wait.untold:
        return "ended there, and not told yet"
    stopped = sum((wait.for_service, batch) in dead for batch in wait.batches)
    if stopped == len(wait.batches):
        return "dead-lettered"
    return f"{stopped} of them dead-lettered" if stopped else ""


def names_of(batches: tuple[str, ...]) -> str:
    """Return batches by name, many of them by the first few and their number."""
    if batches == (WHOLE_RUN,):
        return ""
    first = ", ".join(batches[:SHOWN_BATCHES])
    word = " batch " if len(batches) == 1 else " batches "
    return f"{word}{first}" + (f" and {len(batches) - SHOWN_BATCHES} more" if len(batches) > SHOWN_BATCHES else "")


def _dead_lines(dead: Iterable[DeadLetter]) -> Iterator[str]:
    """Yield dead letters by cause, of each service."""
    causes: dict[tuple[str, str, str, str, str], list[str]] = {}
    for each in dead:
        note = " (done, but not all may have been told)" if each.done else "" if each.seen else " (no letter is seen)"
        causes.setdefault((each.service, each.error, each.cause, each.remedy, note), []).append(each.batch)
    for (service, error, cause, remedy, note), batches in list(causes.items())[:SHOWN_CAUSES]:
        yield f"\n{service}{names_of(tuple(batches))}: {error or 'no error named, the function came to no end'}{note}"
        for name, text in (("cause", cause), ("remedy", remedy)):
            if text:
                yield f"  {name + ':':<7} {text}"
    if len(causes) > SHOWN_CAUSES:
        yield f"\nand {len(causes) - SHOWN_CAUSES} more causes; --json shows all."


def _next_commands(run: RunStatus, stage: str, now: datetime, plan: Plan | None) -> Iterator[str]:
    if gone := [each for each in run.gone if each.open]:
        # Nothing else before: what goes on now would tell others than those that wait.
        yield from _commands_for_gone(run.run, gone, stage)
        return
    for each in run.services:
        if each.dead and not run.erasures.at:
            yield from _commands_for_letters(run.run, each, stage, plan)
        batches = each.batches(Progress.DEAD_LETTERED) if not each.takes_in else ()
        if batches:
            # A service that works on runs is given up as a whole, however far it was continued.
            named = [WHOLE_RUN] if each.level is Level.RUN else list(batches)
            yield f"{waive_command(run.run, each.service, named, stage)}   # to go on without it"
    for wait in run.waits:
        if wait.never:
            yield f"{waive_command(run.run, wait.service, [WHOLE_RUN], stage)}   # it will never have all batches"
        if wait.untold and wait.waived:
            yield f"{waive_command(run.run, wait.for_service, list(wait.batches), stage)}   # again, to finish it"
    if plan and plan.services and stands_still(run, now):
        yield (
            f"{_make('resend', stage, RUN=run.run)}   # nothing has changed for {QUEUE_KEEPS.days} days, and no queue"
            " keeps a message longer"
        )
    elif run.state is RunState.WAITING and any(each.count(*_TO_COME) for each in run.services):
        yield f"{_make('logs', stage, RUN=run.run)}   # what it is at, and what is tried again"


def _commands_for_gone(run: str, gone: Sequence[Gone], stage: str) -> Iterator[str]:
    names = ", ".join(each.service for each in gone)
    yield f"{_make('resend', stage, RUN=run)}   # when workflow.yml has {names} again, and is deployed"
    for each in gone:
        if not any(batch[0].isdigit() for batch in each.open):
            yield f"{waive_command(run, each.service, [WHOLE_RUN], stage)}   # to go on without it"


def _commands_for_letters(run: str, service: ServiceStatus, stage: str, plan: Plan | None) -> Iterator[str]:
    seen = {batch: letter for batch, letter in service.dead.items() if letter.seen}
    unknown = [batch for batch, letter in seen.items() if letter.error == OutcomeUnknownError.__name__]
    if not all(letter.error for letter in seen.values()):
        yield f"{_make('logs', stage, SERVICE=service.service)}   # why the function came to no end"
    if len(unknown) < len(seen):
        yield f"{_make('redrive', stage, SERVICE=service.service)}   # when the cause is gone"
    if unknown:
        named = {"BATCH": f'"{" ".join(unknown)}"'} if unknown != [WHOLE_RUN] else {}
        command = _make("redrive", stage, SERVICE=service.service, OUTCOME_UNKNOWN="1", RUN=run, **named)
        yield f"{command}   # only when a look into Qualtrics shows that it is not there"
    if plan and service.service in plan.services and len(seen) < len(service.dead):
        command = _make("resend", stage, RUN=run, SERVICE=service.service)
        yield f"{command}   # where its letter is gone, and was not just sent back"


def _make(target: str, stage: str, **said: str) -> str:
    """Return a command as it can be pasted."""
    return " ".join((f"make {target} STAGE={stage}", *(f"{name}={value}" for name, value in said.items())))


def waive_command(run: str, service: str, batches: list[str], stage: str) -> str:
    """Return the command that gives work up, as it can be pasted."""
    named = f' BATCH="{" ".join(batches)}"' if batches != [WHOLE_RUN] else ""
    return f'make waive STAGE={stage} SERVICE={service} RUN={run}{named} WHY="..."'


def _last_change(run: RunStatus) -> str:
    return "not begun" if run.last_written_at == LONG_AGO else f"last change {_minute(run.last_written_at)} UTC"


def _minute(at: datetime) -> str:
    return f"{'not begun':<16}" if at == LONG_AGO else f"{at:%Y-%m-%d %H:%M}"
