"""Strict checks of what a client sends: keys, types, forms. Nothing is coerced and nothing is ignored.

The real service lets more through. A client that passes here must not depend on that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from qualtrics_etl.simulator.clock import parse_instant
from qualtrics_etl.simulator.errors import ApiError, invalid
from qualtrics_etl.simulator.ids import is_id

Check: TypeAlias = Callable[[object], str]
"""Looks at one value; answers what is wrong with it, or nothing (an empty text)."""

_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")


@dataclass(frozen=True, slots=True)
class Shape:
    """The keys of an object: which must be there, which may, and how each value must look."""

    required: Mapping[str, Check | Shape] = field(default_factory=dict)
    optional: Mapping[str, Check | Shape] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusals:
    """How an area words its refusals.

    Attributes:
        unexpected: From a key that is not known.
        missing: From a key that is not there.
        wrong: From where the value stands and what is wrong with it.
    """

    unexpected: Callable[[str], ApiError]
    missing: Callable[[str], ApiError]
    wrong: Callable[[str, str], ApiError]


VALIDATION = Refusals(
    unexpected=lambda key: invalid(f"Unknown key: {key}"),
    missing=lambda key: invalid(f"Missing key: {key}"),
    wrong=lambda where, complaint: invalid(f"{where} {complaint}"),
)
"""For areas whose own words are not known. Not documented; chosen."""


def check_object(value: object, shape: Shape, *, refusals: Refusals = VALIDATION, where: str = "") -> None:
    """Check an object, and the objects in it, against its shape.

    Args:
        where: Path of the object in the body, with a dot at its end; empty for the body itself.

    Raises:
        ApiError: In the words of `refusals`, about the first thing that is wrong.
    """
    if not isinstance(value, dict):
        raise refusals.wrong(where.rstrip(".") or "The body", "must be an object")
    known = {**shape.required, **shape.optional}
    for key in value:
        if key not in known:
            raise refusals.unexpected(key)
    for key in shape.required:
        if key not in value:
            raise refusals.missing(key)
    for key, item in value.items():
        _check_value(item, known[key], refusals, where + key)


def _check_value(value: object, wanted: Check | Shape, refusals: Refusals, where: str) -> None:
    if isinstance(wanted, Shape):
        check_object(value, wanted, refusals=refusals, where=f"{where}.")
    elif complaint := wanted(value):
        raise refusals.wrong(where, complaint)


def text(*, shortest: int = 0, longest: int = 100_000) -> Check:
    """Text within these lengths."""

    def check(value: object) -> str:
        if not isinstance(value, str):
            return "must be text"
        return "" if shortest <= len(value) <= longest else f"must have {shortest} to {longest} characters"

    return check


def one_of(*values: str) -> Check:
    """One of these texts."""
    return lambda value: "" if value in values else f"must be one of {', '.join(values)}"


def an_id(*prefixes: str) -> Check:
    """An id with one of these prefixes, of the usual length."""
    return lambda value: "" if is_id(value, *prefixes) else f"must be an id like {prefixes[0]}_ and 15 characters"


def boolean(value: object) -> str:
    """True or false; texts like "false" are refused."""
    return "" if isinstance(value, bool) else "must be true or false"


def email(value: object) -> str:
    """An e-mail address."""
    return "" if is_email(value) else "must be an e-mail address"


def instant(value: object) -> str:
    """A date of the form `YYYY-MM-DDThh:mm:ssZ`."""
    if not isinstance(value, str):
        return "must be text"
    try:
        parse_instant(value)
    except ValueError as exc:
        return str(exc)
    return ""


def pairs(*, most: int) -> Check:
    """An object of at most `most` names, each with a text, number or boolean."""

    def check(value: object) -> str:
        if not isinstance(value, dict) or not all(type(item) in SCALARS for item in value.values()):
            return "must be an object of texts, numbers and booleans"
        return "" if len(value) <= most else f"must have at most {most} pairs"

    return check


SCALARS = frozenset({str, int, float, bool})
"""Types of values in embedded data. Null is not a value: the key is left out.

Source: Qualtrics API reference, the page on importing contacts.
"""


def is_email(value: object) -> bool:
    """Whether this is an e-mail address that a mail could be sent to."""
    return isinstance(value, str) and _EMAIL.fullmatch(value) is not None
