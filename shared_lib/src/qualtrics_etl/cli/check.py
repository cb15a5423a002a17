"""`qetl check`: whether workflow, folders, handlers and settings agree, before anything is deployed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from qualtrics_etl.cli.concurrency import concurrency_remarks
from qualtrics_etl.cli.functions import function_problems
from qualtrics_etl.cli.rights import rights_problems
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.lambda_entry import LambdaHandler
from qualtrics_etl.local.repository import load_handler
from qualtrics_etl.messages import FilePosted
from qualtrics_etl.settings import StageConfig, read_config, step_settings, unfilled
from qualtrics_etl.workflow import WORKFLOW_FILE, Workflow, read_workflow
from qualtrics_etl.yaml_lines import YamlFile, read_yaml

EXIT_PROBLEMS = 2


def check(
    stage: Annotated[
        str | None,
        typer.Option(help="Demand that config/<stage>.yml is complete; without it, what is empty is only named."),
    ] = None,
) -> None:
    """Check that workflow, folders, functions, layers, rights, handlers and settings agree.

    Finds what can't work before it waits in a queue: unknown kinds, services in no chain, circles, neighbours whose
    messages don't fit, folders without a service, functions that run, read or package another service, layers that a
    kind needs and its function lacks, kinds without rights, handlers of another kind, settings that are missing,
    wrong, or of no use with what a handler declares. Notes what is still open, and concurrency that is too much for
    Qualtrics' limits.

    Exit code: 0 when all agree, 2 when not; each problem names its place and what is right.

    Examples:
        qetl check

        qetl check --stage prod
    """
    root = Path.cwd()
    workflow = read_workflow(root)
    problems = _problems(root, workflow, stage, note=typer.echo)
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)
    if problems:
        raise typer.Exit(EXIT_PROBLEMS)
    typer.echo(f"{workflow.name}: {len(workflow.services)} services in {len(workflow.chains)} chain(s) agree.")


def check_before_deploy(root: Path, stage: str) -> None:
    """Refuse to deploy what would fail in a function, and can be seen here.

    Raises:
        ConfigurationError: All that does not agree.
    """
    problems = _problems(root, read_workflow(root), stage, note=lambda text: None)
    if problems:
        lines = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(problems, start=1))
        count = "one thing is" if len(problems) == 1 else f"{len(problems)} things are"
        raise ConfigurationError(f"Before stage {stage} can be deployed, {count} to be mended:\n{lines}")


def _problems(root: Path, workflow: Workflow, stage: str | None, note: Callable[[str], object]) -> list[str]:
    """Return what does not agree; what is only open, or only too much, is noted."""
    handlers, problems = _load_handlers(root, workflow)
    problems += [*_folder_problems(root, workflow), *_kind_problems(workflow, handlers)]
    problems += [*function_problems(root, workflow), *rights_problems(root, workflow)]
    for path in _configs(root, stage):
        empty = unfilled(read_yaml(path))
        if empty and stage is None:
            note(f"note: config/{path.name}: still to be filled in: {', '.join(empty)}")
        elif empty:
            problems.append(f"config/{path.name}: still to be filled in: {', '.join(empty)}")
        else:
            problems += _settings_problems(root, path.stem, workflow, handlers)
            problems += _concurrency_problems(root, path.stem, workflow, note)
    return list(dict.fromkeys(problems))  # what is wrong with a handler is so in each stage


def _configs(root: Path, stage: str | None) -> list[Path]:
    """Return the files of the stages to look at."""
    found = {path.stem: path for path in sorted((root / "config").glob("*.yml"))}
    if stage is None:
        return list(found.values())
    if stage not in found:
        raise ConfigurationError(
            f"There is no config/{stage}.yml.", remedy=f"Stages here: {', '.join(found) or 'none'}."
        )
    return [found[stage]]


def _load_handlers(root: Path, workflow: Workflow) -> tuple[dict[str, LambdaHandler], list[str]]:
    """Return the handlers that can be loaded, and what is wrong with the others."""
    handlers: dict[str, LambdaHandler] = {}
    problems: list[str] = []
    for service in workflow.services:
        try:
            handlers[service] = load_handler(root, service)
        except ConfigurationError as error:
            problems.append(str(error))
    return handlers, problems


def _folder_problems(root: Path, workflow: Workflow) -> Iterator[str]:
    """Yield what is wrong between the folders of services/ and the services of workflow.yml."""
    folders = {path.name for path in (root / "services").glob("*") if path.is_dir() and path.name[0] not in "._"}
    for folder in sorted(folders - workflow.services.keys()):
        yield f"services/{folder}/ is no service of workflow.yml. Add it there, or delete the folder."


def _kind_problems(workflow: Workflow, handlers: dict[str, LambdaHandler]) -> Iterator[str]:
    for service, handler in handlers.items():
        kind, step = workflow.services[service].kind, handler.step
        if step.kind.name != kind:
            yield (
                f"services/{service}/handler.py runs {step.__name__} (kind {step.kind.name}), and workflow.yml says"
                f" that {service} is of kind {kind}. Make the two agree."
            )


def _settings_problems(root: Path, stage: str, workflow: Workflow, handlers: dict[str, LambdaHandler]) -> Iterator[str]:
    try:
        config = read_config(root, stage)
    except ConfigurationError as error:
        yield str(error)
        return
    files = (read_yaml(root / "config" / f"{stage}.yml"), read_yaml(root / WORKFLOW_FILE))
    yield from _unknown_services(config, workflow)
    yield from _missing_post(config, workflow)
    for service, handler in handlers.items():
        step = handler.step
        try:
            settings = step_settings(step.Settings, service, workflow.services[service].settings, config)
        except ConfigurationError as error:
            yield f"{error} {_lines(_refused_by_type(error), service, *files)}"
            continue
        for name, refused in step.refused_settings(settings):
            where = _lines([name], service, *files) if name else f"See services/{service}/handler.py."
            yield f"{service}: {refused} {where}"


def _concurrency_problems(root: Path, stage: str, workflow: Workflow, note: Callable[[str], object]) -> Iterator[str]:
    """Yield what is absurd, and note what is only too much."""
    try:
        config = read_config(root, stage)
    except ConfigurationError:
        return  # told already
    for remark in concurrency_remarks(root, workflow, config):
        if remark.is_error:
            yield remark.text
        else:
            note(f"note: {remark.text}")


def _refused_by_type(error: ConfigurationError) -> list[str]:
    problems = error.__cause__.errors() if isinstance(error.__cause__, ValidationError) else []
    return [str(name) for problem in problems for name in problem["loc"][:1]]


def _lines(settings: Iterable[str], service: str, config: YamlFile, workflow: YamlFile) -> str:
    """Say where settings of a service stand: in the stage's config, which wins, or in workflow.yml."""
    found: dict[str, None] = {}
    for name in settings:
        here = ("services", service, name)
        if here in config.lines:
            found[f"config/{config.path.name}:{config.line_of(*here)}"] = None
        else:
            found[f"{WORKFLOW_FILE}:{workflow.line_of('services', service, 'settings', name)}"] = None
    return f"Lines: {', '.join(found)}."


def _missing_post(config: StageConfig, workflow: Workflow) -> Iterator[str]:
    for service, given in workflow.services.items():
        if given.step.starts_on is FilePosted and config.post is None:
            yield (
                f"config/{config.stage}.yml has no `post`, which {service} needs."
                " Write `replay_window_seconds: 300` below `post:`."
            )


def _unknown_services(config: StageConfig, workflow: Workflow) -> Iterator[str]:
    for service in config.services:
        if service not in workflow.services:
            yield (
                f"config/{config.stage}.yml has settings for `{service}`, which is no service of workflow.yml."
                " Delete them, or correct the name."
            )
