"""`qetl`: the commands, and how an error of ours ends a command."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from qualtrics_etl.cli.bootstrap import bootstrap
from qualtrics_etl.cli.check import check
from qualtrics_etl.cli.deploy import deploy
from qualtrics_etl.cli.destroy import destroy
from qualtrics_etl.cli.erase import erase
from qualtrics_etl.cli.local import app as local_app
from qualtrics_etl.cli.logs import logs
from qualtrics_etl.cli.package import package
from qualtrics_etl.cli.plan import plan
from qualtrics_etl.cli.post import post
from qualtrics_etl.cli.receipt import receipt
from qualtrics_etl.cli.redrive import redrive
from qualtrics_etl.cli.resend import resend
from qualtrics_etl.cli.run import run
from qualtrics_etl.cli.scan import scan
from qualtrics_etl.cli.secret import secret
from qualtrics_etl.cli.simulate import simulate
from qualtrics_etl.cli.stages import stages
from qualtrics_etl.cli.status import status
from qualtrics_etl.cli.tick import tick
from qualtrics_etl.cli.unlock import unlock
from qualtrics_etl.cli.waive import waive
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
app.command(short_help="Look for what is insecure; exceptions are in scan.yml.")(scan)
app.command(short_help="Serve a simulated Qualtrics on this machine.")(simulate)
app.command(short_help="List the stages, and which are filled in.")(stages)
app.command(short_help="Show the logs of a stage's functions.")(logs)
app.command(short_help="Start a scheduled service now.")(tick)
app.command(short_help="POST a file to a stage, signed as the client signs it.")(post)
app.command(short_help="Show the runs of a stage, and what they wait for.")(status)
app.command(short_help="Send dead letters again, when their cause is gone.")(redrive)
app.command(short_help="Make messages of a run anew that are gone, and send them.")(resend)
app.command(short_help="Write what became of each row of a run's file.")(receipt)
app.command(short_help="Give a piece of work up, so that its run goes on.")(waive)
app.command(short_help="Erase the personal data of a run.")(erase)
app.command(short_help="Build what is deployed.")(package)
app.command(short_help="Prepare an account for a stage: once each.")(bootstrap)
app.command(short_help="Show what a deploy would change.")(plan)
app.command(short_help="Deploy a stage, or finish an interrupted deploy.")(deploy)
app.command(short_help="Take a stage down, data and all.")(destroy)
app.command(short_help="Remove the lock that a dead deploy left.")(unlock)
app.add_typer(local_app, name="local", short_help="The place on this machine that stage local is deployed to.")


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
