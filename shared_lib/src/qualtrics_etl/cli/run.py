"""`qetl run`: the whole workflow on this machine, with a file of yours."""

from __future__ import annotations

import functools
import logging
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from qualtrics_etl.cli.receipt import FOLDER, shortfall, write_receipt_file
from qualtrics_etl.cli.status import sums_of, wait_lines
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.json_log import JsonFormatter
from qualtrics_etl.local import engine
from qualtrics_etl.local.dead_letters import Waiting, dead_letters
from qualtrics_etl.local.repository import Repository, open_repository
from qualtrics_etl.local.run import STATE_FOLDER, LocalRun, forget
from qualtrics_etl.receipt import importers_of, receipt_path
from qualtrics_etl.status import DeadLetter, Letters, status_of
from qualtrics_etl.summary import RunSummary, done_by_service, skipped_files, summarize_runs, write_rejects

NARROWEST_LOG = 120
EXIT_WAITING = 1
EXIT_INTERRUPTED = 130


def run(
    file: Annotated[
        Path | None, typer.Argument(help="The client's file, as it would arrive.", show_default=False)
    ] = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Finish the run that was stopped.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget earlier runs first: files, ledger, simulator.")
    ] = False,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Deliver every message twice, as a queue may: nothing happens twice.")
    ] = False,
    rate_limits: Annotated[
        bool, typer.Option(help="Whether the simulator limits requests a minute, as Qualtrics does.")
    ] = True,
) -> None:
    """Run the workflow on this machine: your handlers, a simulated Qualtrics, an SFTP server of its own.

    The file is put on the SFTP server, or POSTed where the workflow begins so, and goes through every service of
    workflow.yml. Waiting times are skipped.
    No account and no network are needed; settings come from config/local.yml.

    Everything lies in the folder .qetl: a content that was taken stays known, so the same file a second time imports
    nothing. Ctrl-C stops after the message at hand; --resume goes on from there. After a kill it goes on from the
    last second that was written down.

    Exit code: 0 when all is settled, 1 when something waits in a dead-letter queue, 2 when a setting is wrong, 130
    when it was stopped.

    Examples:
        qetl run tests/data/contacts.csv

        qetl run --resume

        qetl run tests/data/contacts.csv --fresh --duplicates
    """
    repository, state = open_repository(Path.cwd()), Path(STATE_FOLDER)
    _check_usage(file, resume=resume)
    if fresh:
        forget(state)
    console = Console(width=None if sys.stdout.isatty() else NARROWEST_LOG)
    began = time.monotonic()
    with _log_into(state / "run.log"), _Bars(console, repository) as bars:
        place = LocalRun(repository, state, duplicates=duplicates, rate_limits=rate_limits, observe=bars.observe)
        _check_state(place, resume=resume)
        since = place.now()
        with place:
            if file is not None:
                place.drop(file)
            finished = _run_until_stopped(place.engine)
    waiting = list(dead_letters(repository.workflow, place.queues))
    _report(console, repository, place, since, waiting, bars.seconds)
    _say_where_to_look(console, time.monotonic() - began)
    if not finished:
        console.print(f"\nStopped. Finish it with: {_command()} run --resume", highlight=False)
        raise typer.Exit(EXIT_INTERRUPTED)
    raise typer.Exit(EXIT_WAITING if waiting else 0)


def _say_where_to_look(console: Console, seconds: float) -> None:
    say = functools.partial(console.print, highlight=False)
    say(f"\n{seconds:.1f} s. What each step logged: {STATE_FOLDER}/run.log")
    say(f"Look into the simulated Qualtrics: {_command()} simulate --state {STATE_FOLDER}/simulator.json")


def _command() -> str:
    """Return how this command line was called, so that what is printed can be pasted."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "qetl" else "qetl"


def _check_usage(file: Path | None, *, resume: bool) -> None:
    if (file is None) is not resume:
        raise ConfigurationError(
            "Give either a file or --resume.", remedy="For example: qetl run tests/data/contacts.csv"
        )
    if file is not None and not file.is_file():
        raise ConfigurationError(f"{file}: there is no such file.", remedy="Give the path of the client's file.")


def _check_state(place: LocalRun, *, resume: bool) -> None:
    if place.is_unfinished and not resume:
        raise ConfigurationError(
            f"A run that was stopped lies in {STATE_FOLDER}.",
            remedy="Finish it with `qetl run --resume`, or start anew with --fresh.",
        )
    if resume and not place.is_unfinished:
        raise ConfigurationError("There is nothing to resume.", remedy="Start a run: qetl run FILE")


def _run_until_stopped(running: engine.Engine) -> bool:
    """Run; the first Ctrl-C lets the message at hand end, a second one stops at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        running.stop_requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return running.run()
    except KeyboardInterrupt:
        return False
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Bars:
    """A line a service while the run goes on: messages settled, of those that have come; and the time they took."""

    def __init__(self, console: Console, repository: Repository) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bars = Progress(*columns, console=console, transient=True)
        self._tasks = {service: self._bars.add_task(service, total=None) for service in repository.workflow.services}
        self.settled = dict.fromkeys(self._tasks, 0)
        self.seconds = dict.fromkeys(self._tasks, 0.0)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._bars.stop()

    def observe(self, step: engine.Progress) -> None:
        """Take note of one call of a handler."""
        service = step.service
        self.settled[service] += step.settled
        self.seconds[service] += step.seconds
        total = self.settled[service] + step.waiting
        self._bars.update(self._tasks[service], completed=self.settled[service], total=total)


@contextmanager
def _log_into(path: Path) -> Iterator[None]:
    """Write what the steps log into a file, a JSON object a line, as Lambda does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("qualtrics_etl")
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(JsonFormatter())
    before, logger.level, logger.propagate = (logger.level, logger.propagate), logging.INFO, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.level, logger.propagate = before


def _report(
    console: Console,
    repository: Repository,
    place: LocalRun,
    since: datetime,
    waiting: list[Waiting],
    seconds: Mapping[str, float],
) -> None:
    """Print what became of the runs that went on in this session, and everything that waits."""
    say = functools.partial(console.print, markup=False, highlight=False, soft_wrap=True)
    runs = summarize_runs(repository.workflow, place.objects, since)
    for each in runs:
        say(f"Run {each.run}, file {each.file_name}")
        for line in sums_of(each):
            say(f"  {line}")
        for line in _waits_of(each, repository, place, waiting):
            say(f"  {line}")
        rejects = Path(STATE_FOLDER) / "rejects" / f"{each.run}.csv"
        if write_rejects(each, place.objects, rejects):
            say(f"  Rejected rows, with line, field and reason: {rejects}")
        for line in _write_receipts(repository, place, each):
            say(f"  {line}")
    for reason in dict.fromkeys(skipped_files(repository.workflow, place.objects, since)):
        say(f"The file began no run. {reason} To take it again: --fresh forgets earlier runs.")
    if place.posted_run and place.posted_run not in [each.run for each in runs]:
        say(
            f"The POST began no run: its content was posted before, run {place.posted_run}."
            " To take it again: --fresh forgets earlier runs."
        )
    console.print(_table(repository, place, runs, since, seconds), highlight=False, markup=False)
    for letter in waiting:
        about = f" ({letter.about})" if letter.about else ""
        say(f"\n{letter.service}: waits in the dead-letter queue{about}\n  {letter.cause}\n  {letter.remedy}".rstrip())
    if waiting:
        say("\nA local run can't send messages back yet: mend the cause and run again with --fresh.")


def _write_receipts(repository: Repository, place: LocalRun, run: RunSummary) -> Iterator[str]:
    """Write the receipts of a run, and say where they are and which rows they can't account for."""
    workflow = repository.workflow
    importers = importers_of(workflow) if run.rows or run.refused_by else ()
    for importer in importers:
        path = receipt_path(FOLDER, workflow, run.run, importer)
        sums = write_receipt_file(workflow, place.objects, run.run, importer, path)
        yield f"What became of each row: {path}"
        yield from shortfall(sums)


def _waits_of(run: RunSummary, repository: Repository, place: LocalRun, waiting: list[Waiting]) -> Iterator[str]:
    letters = (DeadLetter(each.service, each.run, each.batch, each.error, each.cause, each.remedy) for each in waiting)
    found = status_of(repository.workflow, place.objects, run.run, Letters(tuple(letters)))
    return wait_lines(found) if found else iter(())


def _table(
    repository: Repository,
    place: LocalRun,
    runs: list[RunSummary],
    since: datetime,
    seconds: Mapping[str, float],
) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("service", "done", "waiting", "dead letters", "seconds"):
        table.add_column(heading, justify="left" if heading == "service" else "right", no_wrap=True)
    table.add_column("made", overflow="fold")
    done = done_by_service(repository.workflow, place.objects, since)
    for service in repository.workflow.services:
        counts = place.queues.of(service).counts()
        made = [f"{identifier} {what}" for run in runs for by, what, identifier in run.ids if by == service]
        table.add_row(
            service,
            str(done[service]),
            str(counts.visible + counts.in_flight + counts.delayed),
            str(place.queues.dead_letters_of(service).counts().visible),
            f"{seconds[service]:.2f}",
            Text("\n".join(made)),
        )
    return table
