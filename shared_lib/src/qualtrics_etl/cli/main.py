"""`qetl`: the commands, and how an error of ours ends a command."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from qualtrics_etl.cli.check import check
from qualtrics_etl.cli.run import run
from qualtrics_etl.cli.secret import secret
from qualtrics_etl.cli.simulate import simulate
from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="qetl",
    help="Work with a repository that etl-template generated. Run it in that repository's folder.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command(short_help="Check that workflow, folders, handlers and settings agree.")(check)
app.command(short_help="Run the workflow on this machine, with a file of yours.")(run)
app.command(short_help="Set a stage's secret on AWS.")(secret)
app.command(short_help="Serve a simulated Qualtrics on this machine.")(simulate)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except ConfigurationError as error:
        sys.exit(_explain(error, EXIT_USAGE))
    except QualtricsEtlError as error:
        sys.exit(_explain(error, EXIT_FAILED))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _explain(error: QualtricsEtlError, exit_code: int) -> int:
    Console(stderr=True, soft_wrap=True).print(f"error: {error}", markup=False, highlight=False)
    return exit_code
