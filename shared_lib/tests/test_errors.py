"""Errors: the tree that people read is the tree that the code has, and each text says what, where and what to do."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from qualtrics_etl import errors
from qualtrics_etl.errors import (
    ConfigurationError,
    InputError,
    NotYetError,
    OutcomeUnknownError,
    PreconditionFailedError,
    QualtricsEtlError,
    RetryableError,
    RowRejectedError,
    WorkflowError,
)

PACKAGE = Path(errors.__file__).parent
CLASSES = {
    name: cls for name, cls in vars(errors).items() if inspect.isclass(cls) and cls.__module__ == errors.__name__
}


def read_tree(text: str) -> dict[str, str]:
    """Return each class of a drawn tree with its parent's name; the root has none."""
    parents: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in re.findall(r"^.*?\w+Error\b", text, re.MULTILINE):
        name = line.split()[-1]
        indent = len(line) - len(name)
        path = [(i, n) for i, n in path if i < indent]
        parents[name] = path[-1][1] if path else ""
        path.append((indent, name))
    return parents


def test_drawn_tree_is_the_tree() -> None:
    """The tree in the module's docstring has every class under its real parent, and no other class."""
    assert errors.__doc__
    assert read_tree(errors.__doc__) == {
        name: cls.__mro__[1].__name__.removeprefix("Exception") for name, cls in CLASSES.items()
    }


def test_errors_of_other_modules_hang_in_the_tree() -> None:
    """An error class anywhere else in the library inherits from one of the tree, so that it has a fate too.

    Those of the simulator are answers of its server; those of `testing` fail a test.
    """
    strays = {
        f"{path.stem}.{node.name}"
        for path in PACKAGE.rglob("*.py")
        if not {"simulator", "testing"} & set(path.parts) and path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and node.bases
        if not {base.id for base in node.bases if isinstance(base, ast.Name)} & CLASSES.keys()
    }
    assert strays == set()


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_every_error_says_what_it_means(cls: type[QualtricsEtlError]) -> None:
    """Each class has a docstring of its own, so that whoever meets it can look it up."""
    assert (cls.__doc__ or "").strip()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (QualtricsEtlError("It broke."), "It broke."),
        (QualtricsEtlError("It broke.", remedy="Mend it."), "It broke. Mend it."),
        (QualtricsEtlError("403.", remedy="Ask.", request_id="r-1"), "403. [request r-1] Ask."),
        (WorkflowError("A circle.", remedy="Cut it.", line=7), "workflow.yml:7: A circle. Cut it."),
        (WorkflowError("No services."), "workflow.yml: No services."),
        (NotYetError("Busy.", delay_seconds=5, request_id="r-2"), "Busy. [request r-2]"),
    ],
)
def test_text_says_where_what_and_what_to_do(error: QualtricsEtlError, text: str) -> None:
    """Place, event, Qualtrics' request id and remedy stand in this order; what there is not leaves no gap."""
    assert str(error) == text


def test_facts_are_attributes() -> None:
    """File, line and column of a refused row are read from attributes, not out of the text."""
    error = RowRejectedError("no e-mail", file="contacts.csv", row_number=7, field="email")
    assert (error.file, error.row_number, error.field, error.what) == ("contacts.csv", 7, "email", "no e-mail")


@pytest.mark.parametrize(
    ("error", "call_made"),
    [
        (RetryableError("time-out"), True),
        (PreconditionFailedError("412"), False),
        (NotYetError("429", delay_seconds=1), False),
    ],
)
def test_silence_is_believed_to_have_had_an_effect(error: RetryableError | NotYetError, *, call_made: bool) -> None:
    """Unless somebody knows better, a failed call may have happened, and a refused or deferred one has not."""
    assert error.call_made is call_made


@pytest.mark.parametrize(
    ("caught", "raised"),
    [
        (ConfigurationError, WorkflowError),
        (InputError, RowRejectedError),
        (RetryableError, errors.LostClaimError),
        (RetryableError, PreconditionFailedError),
        (errors.PermanentError, OutcomeUnknownError),
    ],
)
def test_narrow_errors_share_the_fate_of_their_group(
    caught: type[QualtricsEtlError], raised: type[QualtricsEtlError]
) -> None:
    """Who reacts to a group reacts to everything below it."""
    with pytest.raises(caught, match="reason"):
        raise raised("reason")
