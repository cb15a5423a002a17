"""Reading what a client sends: JSON bodies, forms, query parameters, each strictly."""

from __future__ import annotations

import json
import math

from werkzeug.formparser import parse_form_data
from werkzeug.http import parse_options_header
from werkzeug.wrappers import Request

from qualtrics_etl.simulator import errors
from qualtrics_etl.simulator.calls import JsonObject

MOST_BODY_BYTES = 5_000_000
"""Source: Qualtrics API reference, limits: 5 MB. Not documented; chosen: the smaller reading of MB."""


def read_body(request: Request) -> JsonObject:
    """Read the JSON object of a request; GET and DELETE have none.

    Source: A reading of the live service for 411, the limits page for 413, published clients for the Content-Type. Not
    documented; chosen: a body where none belongs is 400.

    Raises:
        ApiError: 400, 411, 413 or 415.
    """
    if request.method in ("GET", "DELETE"):
        if request.content_length:
            raise errors.invalid(f"A {request.method} has no body.")
        return {}
    if not request.content_length:
        raise errors.length_required()
    if request.content_length > MOST_BODY_BYTES:
        raise errors.body_too_large(MOST_BODY_BYTES)
    if content_type(request) != "application/json":
        raise errors.wrong_content_type("application/json")
    return parse_object(request.get_data())


def parse_object(raw: bytes) -> JsonObject:
    """Parse a JSON object, strictly: no NaN, no infinite numbers, UTF-8 only.

    Raises:
        ApiError: 400, it is none.
    """
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as exc:
        raise errors.invalid("The body is not JSON.") from exc
    if not isinstance(body, dict):
        raise errors.invalid("The body must be an object")
    return body


def read_query(request: Request, known: frozenset[str]) -> dict[str, str]:
    """Read the query parameters. Not documented; chosen: an unknown or repeated one is refused.

    Raises:
        ApiError: 400.
    """
    query: dict[str, str] = {}
    for name, value in request.args.items(multi=True):
        if name not in known or name in query:
            raise errors.invalid(f"Unknown or repeated query parameter: {name}")
        query[name] = value
    return query


def read_form(request: Request) -> dict[str, list[str]] | None:
    """Read a form, each field with its values; None when the request has no form.

    Source: Qualtrics API reference, the page on OAuth; published clients also send it in parts.
    """
    forms = ("application/x-www-form-urlencoded", "multipart/form-data")
    if content_type(request) not in forms or not 0 < (request.content_length or 0) <= MOST_BODY_BYTES:
        return None
    _, form, _ = parse_form_data(request.environ)
    return {name: list(values) for name, values in form.lists()}


def content_type(request: Request) -> str:
    """Return the Content-Type without its parameters; empty without one."""
    return parse_options_header(request.headers.get("Content-Type"))[0]


def _refuse(name: str) -> object:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number
