"""Listings in pages, as the API hands them out.

Source: Recorded exchanges: `elements` and `nextPage`, an absolute URL or null, to be followed verbatim; behind it a
`skipToken` (XM Directory, distributions) or an `offset` (surveys, libraries). That a token is the base64 of a position
is recorded for contact search; for the others it is chosen.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TypeVar
from urllib.parse import urlencode

from qualtrics_etl.simulator.calls import Call, JsonObject
from qualtrics_etl.simulator.errors import invalid

T = TypeVar("T")


def page_of(
    items: Iterable[T], call: Call, element: Callable[[T], JsonObject], *, default: int = 100, most: int = 100
) -> JsonObject:
    """Return one page by `skipToken` and `pageSize`.

    Raises:
        ApiError: 400, a token that was not handed out, or a size out of bounds.
    """
    start = read_skip_token(call)
    shown, more = cut(items, start, page_size(call, default=default, most=most))
    token = skip_token(start + len(shown)) if more else None
    return _listing(call, [element(item) for item in shown], "skipToken", token)


def page_by_offset(items: Iterable[T], call: Call, element: Callable[[T], JsonObject], *, size: int) -> JsonObject:
    """Return one page by `offset`; its size can't be chosen.

    Raises:
        ApiError: 400, an offset that is no number.
    """
    start = _number(call, "offset", 0, least=0, most=10**9)
    shown, more = cut(items, start, size)
    return _listing(call, [element(item) for item in shown], "offset", str(start + size) if more else None)


def page_size(call: Call, *, default: int, most: int) -> int:
    """Return how many elements the client asks for.

    Raises:
        ApiError: 400, not a number from 1 to `most`.
    """
    return _number(call, "pageSize", default, least=1, most=most)


def read_skip_token(call: Call) -> int:
    """Return the position that the client's token stands for; 0 without one.

    Raises:
        ApiError: 400, a token that was not handed out.
    """
    token = call.query.get("skipToken")
    if token is None:
        return 0
    try:
        position = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise invalid("Invalid skipToken") from exc
    if not (position.isdigit() and len(position) < 11):
        raise invalid("Invalid skipToken")
    return int(position)


def skip_token(position: int) -> str:
    """Return the token for a position."""
    return base64.b64encode(str(position).encode()).decode()


def cut(items: Iterable[T], start: int, size: int) -> tuple[Sequence[T], bool]:
    """Return `size` items from `start` on, and whether more follow."""
    found = list(islice(items, start, start + size + 1))
    return found[:size], len(found) > size


def flag(call: Call, name: str) -> bool:
    """Return a query parameter that is `true` or `false`; false when it is not there.

    Raises:
        ApiError: 400, it is something else.
    """
    value = call.query.get(name, "false")
    if value not in ("true", "false"):
        raise invalid(f"{name} must be true or false")
    return value == "true"


def _number(call: Call, name: str, default: int, *, least: int, most: int) -> int:
    value = call.query.get(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) < 11 and least <= int(value) <= most):
        raise invalid(f"{name} must be a number from {least} to {most}")
    return int(value)


def _listing(call: Call, elements: list[JsonObject], parameter: str, value: str | None) -> JsonObject:
    if value is None:
        return {"elements": elements, "nextPage": None}
    query = urlencode({**call.query, parameter: value})
    return {"elements": elements, "nextPage": f"{call.url(call.path)}?{query}"}
