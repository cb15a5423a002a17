"""Requests that reach a function through an HTTP API: read within bounds, and answered in JSON.

Source: Amazon API Gateway developer guide, Lambda integrations of HTTP APIs (payload format version 2.0): names of
headers are in small letters, values of one name are joined by commas, and a body that is not text is in base64.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qualtrics_etl.errors import RequestRefusedError

MAX_BODY_BYTES = 4_500_000
"""Largest body that surely arrives: in base64 it becomes a third more, and a function is given 6 MB at most.

Source: AWS Lambda developer guide, quotas (invocation payload)."""
MAX_HEADERS = 100
MAX_HEADER_CHARACTERS = 10_240
"""Of all headers together. Source: Amazon API Gateway developer guide, quotas of HTTP APIs."""

TOO_LARGE_REMEDY = "Send it in parts, each with a key of its own; larger files come by SFTP."


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request.

    Attributes:
        method: `POST`.
        headers: By name in small letters.
        body: As it was sent.
    """

    method: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str:
        """Return the value of a header; empty when there is none."""
        return self.headers.get(name, "")


def is_http_request(event: object) -> bool:
    """Whether a function's event is a request of an HTTP API."""
    if not isinstance(event, Mapping) or event.get("version") != "2.0":
        return False
    context = event.get("requestContext")
    return isinstance(context, Mapping) and isinstance(context.get("http"), Mapping)


def read_request(event: Mapping[str, Any]) -> HttpRequest:
    """Read an event that `is_http_request`.

    Raises:
        RequestRefusedError: It has too many headers or too large a body, or is not what an HTTP API sends.
    """
    method = event["requestContext"]["http"].get("method")
    if not isinstance(method, str):
        raise RequestRefusedError("The request has no method.", status=400, remedy="Send a POST.")
    return HttpRequest(method, _headers(event.get("headers")), _body(event))


def http_answer(
    status: int, content: Mapping[str, object], *, retry_after_seconds: int | None = None
) -> dict[str, Any]:
    """Return what the function answers to the HTTP API: JSON that nobody on the way keeps."""
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if retry_after_seconds is not None:
        headers["retry-after"] = str(retry_after_seconds)
    return {"statusCode": status, "headers": headers, "body": json.dumps(content), "isBase64Encoded": False}


def http_event(method: str, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the event that an HTTP API makes of a request: for a machine without one."""
    return {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {name.lower(): value for name, value in headers.items()},
        "requestContext": {"http": {"method": method, "path": path, "protocol": "HTTP/1.1"}},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def _headers(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or len(given) > MAX_HEADERS:
        raise _refused_headers(f"more than {MAX_HEADERS} headers")
    headers: dict[str, str] = {}
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise _refused_headers("a header that is no text")
        if name.lower() in headers:
            raise _refused_headers("a header twice")  # which of the two was signed, nobody knows
        headers[name.lower()] = value
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADER_CHARACTERS:
        raise _refused_headers(f"more than {MAX_HEADER_CHARACTERS} characters of headers")
    return headers


def _refused_headers(what: str) -> RequestRefusedError:
    return RequestRefusedError(f"The request has {what}.", status=431, remedy="Send the documented headers, each once.")


def _body(event: Mapping[str, Any]) -> bytes:
    text = event.get("body")
    if text is None:
        return b""
    if not isinstance(text, str):
        raise _no_body()
    # Looked at before it is decoded: four characters of base64 are three bytes.
    if len(text) > (MAX_BODY_BYTES * 4 // 3 + 4 if event.get("isBase64Encoded") else MAX_BODY_BYTES):
        raise _too_large()
    try:
        body = base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except (binascii.Error, ValueError) as exc:
        raise _no_body() from exc
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


def _no_body() -> RequestRefusedError:
    return RequestRefusedError(
        "The body did not arrive as it was sent.", status=400, remedy="Send it as `application/octet-stream`."
    )


def _too_large() -> RequestRefusedError:
    return RequestRefusedError(f"The body is larger than {MAX_BODY_BYTES} bytes.", status=413, remedy=TOO_LARGE_REMEDY)
