"""What client code imports: complete, sorted, and loaded only when it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import qualtrics_etl

HEAVY = ("asyncssh", "boto3", "pydantic", "requests", "rich", "typer", "werkzeug", "yaml")
"""Libraries that cost start-up time or are not in every function."""


def loaded_after(code: str) -> list[str]:
    """Return which heavy libraries a fresh interpreter has loaded after running some code."""
    tell = f"import sys; {code}; print(*(name for name in {HEAVY} if name in sys.modules))"
    command = [sys.executable, "-c", tell]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def typed_names() -> dict[str, str]:
    """Return what type checkers see: each name and the module it comes from."""
    tree = ast.parse(Path(qualtrics_etl.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"{each.module}" for each in imports for alias in each.names}


def test_names_are_sorted_and_unique() -> None:
    """The list of names reads like an index."""
    assert qualtrics_etl.__all__ == sorted(set(qualtrics_etl.__all__))


def test_names_can_be_completed() -> None:
    """An editor or a shell offers the public names."""
    assert set(qualtrics_etl.__all__) <= set(dir(qualtrics_etl))


@pytest.mark.parametrize("name", qualtrics_etl.__all__)
def test_every_name_is_what_its_type_says(name: str) -> None:
    """A name that is loaded late is the very object that type checkers see."""
    home = sys.modules[typed_names()[name]] if getattr(qualtrics_etl, name) else None
    assert getattr(qualtrics_etl, name) is getattr(home, name)


def test_type_checkers_see_every_name() -> None:
    """What can be imported at run time is what type checkers know, and nothing else."""
    assert sorted(typed_names()) == qualtrics_etl.__all__


def test_unknown_name_is_an_attribute_error() -> None:
    """A name that does not exist fails as it does in any module."""
    with pytest.raises(AttributeError, match=r"^module 'qualtrics_etl' has no attribute 'ImportContact'$"):
        _ = qualtrics_etl.ImportContact


def test_package_alone_loads_nothing() -> None:
    """Importing the package costs nothing: each name brings its own libraries."""
    assert loaded_after("import qualtrics_etl") == []


@pytest.mark.parametrize("step", ["FetchSftpFile", "ParseFile"])
def test_handler_without_api_calls_loads_no_http(step: str) -> None:
    """A function that never calls Qualtrics starts without the HTTP library, boto3 and SSH."""
    code = f"from qualtrics_etl import {step}, lambda_handler; lambda_handler({step})"
    assert loaded_after(code) == ["pydantic", "yaml"]


@pytest.mark.parametrize("step", ["CreateMailingList", "ImportContacts", "ScheduleDistribution", "ScheduleReminder"])
def test_handler_with_api_calls_loads_no_foreign_room(step: str) -> None:
    """A function that calls Qualtrics starts without SSH, and without the command line's libraries."""
    code = f"from qualtrics_etl import {step}, lambda_handler; lambda_handler({step})"
    assert set(loaded_after(code)) <= {"pydantic", "requests", "yaml"}
