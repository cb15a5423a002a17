"""What goes back over the wire: the envelope around results and errors.

Source: Recorded exchanges, for the envelope and for the absence of rate-limit headers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from qualtrics_etl.simulator.calls import JsonObject, Reply
from qualtrics_etl.simulator.errors import STATUS_TEXTS, ApiError


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client.

    Attributes:
        headers: Headers beside those that every answer has.
        cut: Share of the body after which the connection is cut, 0 before the first byte; None is an answer in full.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut: float | None = None

    def all_headers(self) -> list[tuple[str, str]]:
        """Return every header."""
        return [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("X-Content-Type-Options", "nosniff"),
            *self.headers.items(),
        ]


def answer_with(reply: Reply, request_id: str) -> Answer:
    """Put a handler's reply into the envelope."""
    content = {} if reply.result is None else {reply.key: reply.result}
    return _enveloped(reply.status, {**content, **reply.beside}, {"requestId": request_id})


def answer_error(error: ApiError, request_id: str) -> Answer:
    """Put an error into the envelope."""
    described = {"errorMessage": error.message} | ({"errorCode": error.code} if error.code else {})
    meta: JsonObject = {"requestId": request_id} if error.has_request_id else {}
    return replace(_enveloped(error.status, {}, meta | {"error": described}), headers=error.headers)


def answer_json(status: int, content: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer plain JSON, without an envelope."""
    return Answer(status, json.dumps(content).encode(), headers or {})


def _enveloped(status: int, content: JsonObject, meta: JsonObject) -> Answer:
    return answer_json(status, {**content, "meta": {"httpStatus": f"{status} - {STATUS_TEXTS[status]}", **meta}})
