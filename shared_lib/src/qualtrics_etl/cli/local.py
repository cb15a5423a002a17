"""`qetl local`: the place on this machine that the stage `local` is deployed to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from qualtrics_etl.local.place import Place

EXIT_NOT_RUNNING = 1

app = typer.Typer(
    help="Start, look at and stop the place on this machine that `make deploy STAGE=local` deploys to.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(short_help="Start it, if it does not run.")
def start() -> None:
    """Start an AWS emulator, a simulated Qualtrics and an SFTP server, in the background.

    Nothing of it leaves this machine. Addresses come from config/local.yml; the emulator takes a free port. Where it
    runs already, nothing is changed. `qetl deploy --stage local` starts it too.

    \b
    For example:
      qetl local start
      qetl local start && qetl deploy --stage local
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    from qualtrics_etl.local.place import start_place

    _show(start_place(Path.cwd()))


@app.command(short_help="Stop it; what is deployed there is forgotten.")
def stop() -> None:
    """Stop emulator, simulated Qualtrics and SFTP server.

    What is deployed there, its secrets, queues and logs, and the contacts of the simulated Qualtrics were in memory,
    and are gone. Files on the SFTP server stay in .qetl/local/sftp.

    \b
    For example:
      qetl local stop
    """  # noqa: D301 - as above
    from qualtrics_etl.local.place import stop_place

    if stop_place(Path.cwd()):
        typer.echo("Stopped. What was deployed there, and what the simulated Qualtrics held, is forgotten.")
        typer.echo("Files on the SFTP server stay in .qetl/local/sftp.")
    else:
        typer.echo("It does not run.")


@app.command(short_help="Say whether it runs, and where.")
def status() -> None:
    """Say whether the place runs, and at which addresses.

    Exit code: 0 when it runs, 1 when not.

    \b
    For example:
      qetl local status
    """  # noqa: D301 - as above
    from qualtrics_etl.local.place import LOG_FILE, PLACE_FOLDER, running_place

    place = running_place(Path.cwd())
    if place is None:
        typer.echo("It does not run. Start it: make local")
        if (log := Path(PLACE_FOLDER) / LOG_FILE).exists():
            typer.echo(f"How the last one ended: {log}")
        raise typer.Exit(EXIT_NOT_RUNNING)
    _show(place)


def _show(place: Place) -> None:
    from qualtrics_etl.local.place import PLACE_FOLDER, sftp_folder

    typer.echo(f"The place on this machine runs (process {place.pid}):")
    typer.echo(f"  AWS        {place.emulator_url}   region {place.region}, log in {PLACE_FOLDER}/emulator.log")
    typer.echo(f"  Qualtrics  {place.base_url}   look into it: {place.base_url}/_sim/")
    if place.sftp_port:
        folder = sftp_folder(Path())
        typer.echo(f"  SFTP       {place.sftp_user}@127.0.0.1:{place.sftp_port}   its files are in {folder}")
    typer.echo("Next: make deploy STAGE=local; then a file into that folder, and make tick STAGE=local.")
    typer.echo("Stop it: make local-stop")
