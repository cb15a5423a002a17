"""`qetl erase`: the personal data of a run leaves the stage's bucket, old versions too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from qualtrics_etl.aws.erasure import Erased, Erasure, Found
from qualtrics_etl.cli.access import open_stage, stop_between
from qualtrics_etl.cli.status import gone_lines, read_statuses, wait_lines
from qualtrics_etl.cli.terminal import confirm, counting_bar
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.status import RunState, RunStatus

EXIT_INTERRUPTED = 130
PLACES = {
    "payloads": "batches and requests below payloads/",
    "rejects": "rejected rows below rejects/",
    "outcomes": "outcomes of rows below outcomes/",
    "file": "the client's file, as it was fetched",
}


def erase(
    run: Annotated[str, typer.Argument(help="The run whose personal data is erased.", show_default=False)],
    *,
    stage: Annotated[str, typer.Option(help="dev, staging, prod or local.", show_default=False)],
    even_unfinished: Annotated[
        bool, typer.Option("--even-unfinished", help="Also when work or dead letters may still need the data.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Erase the personal data of a run: file, batches, requests, rejected rows, with every old version of them.

    Shows how much there is, and asks. The ledger stays: it holds ids, counts and the file's name, and records what was
    erased. Nothing is touched at Qualtrics or at the client's. It works with your own credentials. They need, on the
    bucket: s3:ListBucket, s3:ListBucketVersions, s3:ListBucketMultipartUploads, s3:GetObject, s3:GetObjectVersion,
    s3:PutObject, s3:DeleteObjectVersion, s3:AbortMultipartUpload; on the dead-letter queues: sqs:GetQueueAttributes,
    sqs:ReceiveMessage, sqs:ChangeMessageVisibility; and ssm:GetParameter and ssm:GetParameters, which find both.

    A run that is not finished is refused: its work would then end as dead letters that nothing can help. Ctrl-C stops
    between two thousands; the same command again erases the rest.

    Exit code: 0 when nothing is left, 130 when it was stopped or the answer was no.

    \b
    For example:
      qetl erase acme-etl-0123456789ab --stage prod
      qetl erase acme-etl-0123456789ab --stage prod --even-unfinished --yes
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    opened = open_stage(Path.cwd(), stage)
    _check_state(next(iter(read_statuses(opened, [run])), None), run, stage, even_unfinished=even_unfinished)
    access = opened.access
    erasure = Erasure(opened.workflow, run, access.aws, opened.bucket, access.account)
    found = erasure.look()
    for line in _lines(found, run):
        typer.echo(line)
    if not found.total:
        erasure.erase(found, datetime.now(UTC))
        return
    if not yes and not confirm("Erase it? It can't be brought back."):
        typer.echo("Nothing was erased.")
        raise typer.Exit(EXIT_INTERRUPTED)
    with stop_between() as stopped, counting_bar() as bar:
        task = bar.add_task("erased", total=found.total)
        erased = erasure.erase(
            found, datetime.now(UTC), stopped=stopped, progress=lambda count: bar.advance(task, count)
        )
    _report(found, erased)


def _check_state(status: RunStatus | None, run: str, stage: str, *, even_unfinished: bool) -> None:
    if status is None:
        raise ConfigurationError(
            f"There is no run {run} in stage {stage}.", remedy=f"The last runs: make status STAGE={stage}"
        )
    if status.state is not RunState.FINISHED and not even_unfinished:
        is_open = gone_lines(each for each in status.gone if each.open)
        why = "; ".join((*wait_lines(status), *is_open)) or status.state.value
        raise ConfigurationError(
            f"Run {run} is not finished, and may still need its data ({why}); nothing was erased.",
            remedy=f"Bring it to its end: make status STAGE={stage} RUN={run} says how. Or erase all the same, so that"
            " what is left of it fails: EVEN_UNFINISHED=1 (--even-unfinished)",
        )


def _lines(found: Found, run: str) -> Iterator[str]:
    if not found.total:
        yield f"Nothing is left of run {run} to erase."
    else:
        yield f"Run {run}, objects with all their versions:"
        for place, words in PLACES.items():
            yield f"  {found.count(place):>6} {words}"
    for other in found.shared_with:
        yield f"The same file began run {other}: its copy of the file is left. Erase that run too, if it is meant."


def _report(found: Found, erased: Erased) -> None:
    count = sum(erased.counts.values())
    if count < found.total:
        typer.echo(f"Stopped: {count} of {found.total} are erased. Run the command again for the rest.")
        raise typer.Exit(EXIT_INTERRUPTED)
    typer.echo(f"Erased: {count} versions of objects. The ledger of the run says so.")
