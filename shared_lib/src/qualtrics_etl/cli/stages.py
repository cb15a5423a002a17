"""`qetl stages`: which stages there are, and which are filled in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.settings import StageConfig, read_config, unfilled
from qualtrics_etl.workflow import read_workflow
from qualtrics_etl.yaml_lines import read_yaml

ORDER = ("local", "dev", "staging", "prod")
NARROWEST_TABLE = 120


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage's file.

    Attributes:
        data: What the file says, checked or not.
        config: The same, checked; None while something is empty.
        empty: What is still to be filled in.
    """

    name: str
    data: dict[str, object]
    config: StageConfig | None
    empty: tuple[str, ...]


def stages(
    github: Annotated[
        bool, typer.Option("--github", help="Also write what GitHub's jobs ask for, to $GITHUB_OUTPUT where it is set.")
    ] = False,
) -> None:
    """List the stages of config/: account, region, and what is still to be filled in.

    With --github, a line `dev=true` or `dev=false` for each stage on AWS; for each that is filled in also its region,
    and the roles that pipelines take on there, as `make bootstrap` makes them.

    \b
    For example:
      qetl stages
      qetl stages --github
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    root = Path.cwd()
    slug, found = read_workflow(root).name, [_read(root, name) for name in _names(root)]
    target = os.environ.get("GITHUB_OUTPUT")
    if not github or target:
        _show(found)
    if github:
        lines = "".join(f"{line}\n" for stage in found if stage.name != "local" for line in outputs(slug, stage))
        if target:
            with Path(target).open("a", encoding="utf-8") as file:
                file.write(lines)
        else:
            typer.echo(lines, nl=False)


def outputs(slug: str, stage: Stage) -> Iterator[str]:
    """Yield the lines that GitHub's jobs read of a stage."""
    yield f"{stage.name}={'true' if stage.config else 'false'}"
    if stage.config is None:
        return
    role = f"arn:{partition(stage.config.aws_region)}:iam::{stage.config.aws_account_id}:role/{slug}-{stage.name}"
    yield f"{stage.name}_deploy_role={role}-deploy"
    yield f"{stage.name}_plan_role={role}-plan"
    yield f"{stage.name}_region={stage.config.aws_region}"


def partition(region: str) -> str:
    """Return the partition of a region: the second part of every ARN there.

    Source: AWS general reference, Amazon Resource Names.
    """
    if region.startswith("us-gov-"):
        return "aws-us-gov"
    return "aws-cn" if region.startswith("cn-") else "aws"


def _names(root: Path) -> list[str]:
    found = {path.stem for path in (root / "config").glob("*.yml")}
    if unknown := sorted(found - set(ORDER)):
        raise ConfigurationError(
            f"config/{unknown[0]}.yml is of no stage.", remedy=f"Stages are {', '.join(ORDER)}: rename or delete it."
        )
    return [name for name in ORDER if name in found]


def _read(root: Path, name: str) -> Stage:
    """Read a stage's file.

    Raises:
        ConfigurationError: It is filled in, and wrong.
    """
    file = read_yaml(root / "config" / f"{name}.yml")
    data = file.data if isinstance(file.data, dict) else {}
    empty = tuple(unfilled(file))
    return Stage(name, data, None if empty else read_config(root, name), empty)


def _show(found: list[Stage]) -> None:
    table = Table("stage", "account", "region", "", box=None, pad_edge=False)
    for stage in found:
        empty = f"still to be filled in: {', '.join(stage.empty)}"
        cells = [str(stage.data.get(name) or "-") for name in ("aws_account_id", "aws_region")]
        table.add_row(stage.name, *cells, empty if stage.empty else "filled in")
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, NARROWEST_TABLE))
    console.print(table)
