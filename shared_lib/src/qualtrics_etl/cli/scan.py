"""`qetl scan`: whether anything in the repository is insecure, by scanners that need neither network nor account."""

from __future__ import annotations

import os
import time
from pathlib import Path

import typer

from qualtrics_etl.deployment.scan import EXCEPTIONS_FILE, ScanResult, explain_findings, explain_stale
from qualtrics_etl.deployment.scan import scan as scan_repository
from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError

EXIT_FINDINGS = 1
EXIT_CANNOT_RUN = 2


def scan() -> None:
    """Look for what is insecure or can't work: Terraform, functions' stack, workflows, shell, Python, secrets.

    Each finding is printed with its place and with what to write into scan.yml if it is to stay. An exception there
    needs a reason, and one that nothing needs any more is a finding too. Neither network nor AWS account is used.

    Exit code: 0 when clean, 1 when there is something to mend, 2 when it could not look.

    \b
    For example:
      make scan
      QETL_SCAN_BIN=~/scanners/bin qetl scan
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    started = time.monotonic()
    try:
        result = scan_repository(Path.cwd(), os.environ, typer.echo)
    except ConfigurationError:
        raise
    except QualtricsEtlError as error:  # not to be taken for findings
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(EXIT_CANNOT_RUN) from error
    for line in (*explain_findings(result.findings), *map(explain_stale, result.stale)):
        typer.echo(line, err=True)
    typer.echo(f"{_summary(result)} ({time.monotonic() - started:.0f} s)")
    if not result.clean:
        raise typer.Exit(EXIT_FINDINGS)


def _summary(result: ScanResult) -> str:
    if result.clean:
        return f"Clean; {EXCEPTIONS_FILE} excepts {result.excepted}."
    return f"{len(result.findings)} to mend, {len(result.stale)} exceptions to delete."
