"""A generated repository as it lies on a disk: its workflow and the handlers of its services, ready to be called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.lambda_entry import LambdaHandler
from qualtrics_etl.workflow import Workflow, read_workflow

HANDLER_FILE = "handler.py"


@dataclass(frozen=True, slots=True)
class Repository:
    """A generated repository.

    Attributes:
        root: Its folder.
        workflow: What its workflow.yml says.
        handlers: The function of each service, unchanged, in the order of the workflow.
    """

    root: Path
    workflow: Workflow
    handlers: Mapping[str, LambdaHandler]


def open_repository(root: Path) -> Repository:
    """Read the workflow and import the handlers.

    Raises:
        ConfigurationError: Something is missing or wrong; names the file.
    """
    workflow = read_workflow(root)
    return Repository(root, workflow, {service: load_handler(root, service) for service in workflow.services})


def load_handler(root: Path, service: str) -> LambdaHandler:
    """Import `services/<service>/handler.py`, the way Lambda does it: with the repository's root on the path.

    Raises:
        ConfigurationError: There is no such file, it can't be imported, or it defines no `handler`.
    """
    path = f"services/{service}/{HANDLER_FILE}"
    if not (root / path).is_file():
        raise ConfigurationError(
            f"{path} does not exist, and workflow.yml has a service `{service}`.",
            remedy="Make the folder, or take the service out of workflow.yml.",
        )
    try:
        module = _import_from(root, f"services.{service}.handler")
    except Exception as exc:
        raise ConfigurationError(
            f"{path} can't be imported: {type(exc).__name__}: {exc}.", remedy="`make lint` shows where."
        ) from exc
    handler = getattr(module, "handler", None)
    if not isinstance(handler, LambdaHandler):
        raise ConfigurationError(
            f"{path} defines no `handler`.", remedy="End it with `handler = lambda_handler(TheStepsClass)`."
        )
    return handler


def _import_from(root: Path, name: str) -> object:
    """Import a module of this repository, even where one of another repository was imported under that name."""
    _forget_other_repositories(root)
    sys.path.insert(0, str(root))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(root))


def _forget_other_repositories(root: Path) -> None:
    package = sys.modules.get("services")
    if package is None or str(root / "services") in list(getattr(package, "__path__", [])):
        return
    for name in [name for name in sys.modules if name == "services" or name.startswith("services.")]:
        del sys.modules[name]
