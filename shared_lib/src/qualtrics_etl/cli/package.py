"""`qetl package`: what is deployed, built once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qualtrics_etl.errors import ConfigurationError


def package(
    stage: Annotated[
        str | None,
        typer.Option(
            help="local: build for this machine's emulator. Any other: one build serves all.", show_default=False
        ),
    ] = None,
) -> None:
    """Build what is deployed: the layers and each function, below build/, with a manifest of their hashes.

    One build serves dev, staging and prod. Layers are fetched for the Python and the architecture that serverless.yml
    names, whatever this machine is, and kept until a lock changes. The same sources give the same bytes.

    \b
    Environment variables:
      QETL_RUNTIME_PYTHON   a Python of the functions' version, for .pyc files; otherwise looked for on PATH
      QETL_EMULATOR_PYTHON  the Python that runs functions of the stage local
      QETL_UV               the uv that fetches packages

    \b
    Examples:
      qetl package
      qetl package --stage local
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    from qualtrics_etl.deployment.package import build_package, target_of
    from qualtrics_etl.deployment.workbench import checkout_lock

    root = Path.cwd()
    stages = sorted(path.stem for path in (root / "config").glob("*.yml"))
    if stage is not None and stage not in stages:
        raise ConfigurationError(
            f"There is no config/{stage}.yml.", remedy=f"Stages here: {', '.join(stages) or 'none'}."
        )
    with checkout_lock(root, "package", stage or "", typer.echo):
        build_package(root, target_of(stage), typer.echo)
