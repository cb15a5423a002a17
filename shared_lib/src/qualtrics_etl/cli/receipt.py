"""`qetl receipt`: what became of each row of a run's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qualtrics_etl.cli.access import open_stage
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.formats.outcomes import Fate
from qualtrics_etl.local.run import STATE_FOLDER
from qualtrics_etl.ports import ObjectStore
from qualtrics_etl.receipt import UNACCOUNTED, WAIVED, Sums, importers_of, receipt_path, sum_of, write_receipt
from qualtrics_etl.workflow import Workflow

EXIT_UNACCOUNTED = 1
FOLDER = Path(STATE_FOLDER) / "receipts"


def receipt(
    run: Annotated[str, typer.Argument(help="The run's id, as logs and dead letters have it.", show_default=False)],
    *,
    stage: Annotated[str, typer.Option(help="dev, staging, prod or local.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write it there instead.", show_default=f"{FOLDER}/<run>.csv")
    ] = None,
    service: Annotated[
        str, typer.Option(help="The service that imports, where several do.", show_default="the only one")
    ] = "",
) -> None:
    """Write what became of each row of a run's file: a line a row, with outcome, field and reason.

    Outcomes are loaded, updated, skipped, rejected, pending and waived; a row of which nothing is recorded yet is
    unaccounted, with what its batch waits for. It holds line numbers and reasons, and no cell of the file.

    Exit code: 0 when every row is accounted for, 1 when one is not.

    \b
    For example:
      qetl receipt acme-etl-0123456789ab --stage prod
      qetl receipt acme-etl-0123456789ab --stage prod --out receipt.csv
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    opened = open_stage(Path.cwd(), stage)
    importer = _importer(opened.workflow, service)
    if "/" in run:
        raise ConfigurationError(f"There is no run {run}.", remedy=f"The last runs: make status STAGE={stage}")
    path = out or receipt_path(FOLDER, opened.workflow, run, importer)
    sums = write_receipt_file(opened.workflow, opened.objects, run, importer, path)
    typer.echo(f"{path}: {sum_of(sums.outcomes, ORDER)}.")
    for line in shortfall(sums):
        typer.echo(line)
    raise typer.Exit(0 if sums.is_balanced else EXIT_UNACCOUNTED)


ORDER = (*(fate.value for fate in Fate if fate is not Fate.SENT), WAIVED, UNACCOUNTED)
"""The outcomes, as sums name them."""


def write_receipt_file(workflow: Workflow, objects: ObjectStore, run: str, importer: str, path: Path) -> Sums:
    """Write a receipt into a file, which appears whole or not at all.

    Raises:
        ConfigurationError: There is no place for it.
        InputError: As `write_receipt`.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
        with new.open("w", encoding="utf-8", newline="") as out:
            sums = write_receipt(workflow, objects, run, importer, out)
        new.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"The receipt can't be written: {error}.", remedy="Name a file that can be: --out receipt.csv."
        ) from error
    finally:
        new.unlink(missing_ok=True)
    return sums


def shortfall(sums: Sums) -> list[str]:
    """Say which rows are unaccounted for; nothing where none is."""
    lines = []
    if sums.outcomes[UNACCOUNTED]:
        lines.append(f"Unaccounted for: {sums.outcomes[UNACCOUNTED]:,} rows, lines {sums.unaccounted_lines}.")
    if sums.missing:
        lines.append(f"{sums.missing:,} of {sums.read:,} rows have no line: their batches are gone from the store.")
    return lines


def _importer(workflow: Workflow, service: str) -> str:
    importers = importers_of(workflow)
    if service in importers or (not service and len(importers) == 1):
        return service or importers[0]
    raise ConfigurationError(
        f"{service!r} imports no rows." if service else f"{len(importers)} services import rows.",
        remedy=f"Name one with --service: {', '.join(importers)}."
        if importers
        else "workflow.yml has no such service.",
    )
