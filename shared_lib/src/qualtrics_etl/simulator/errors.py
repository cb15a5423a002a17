"""Answers that are errors, with the statuses, codes and words of the API. An area's own errors are in its folder.

Source: Recorded exchanges for the envelope and the not-found texts; readings of the live service for missing and wrong
credentials; published clients for the statuses they meet. Where none is known, it says "chosen".
"""

from __future__ import annotations

from collections.abc import Mapping

STATUS_TEXTS: Mapping[int, str] = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    411: "Length Required",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Temporary Internal Server Error",
    504: "Gateway Timeout",
}
"""What follows the number in `meta.httpStatus`."""


class ApiError(Exception):
    """The API refuses a call.

    Attributes:
        status: HTTP status.
        message: `meta.error.errorMessage`.
        code: `meta.error.errorCode`; None where the real answer has none.
        has_request_id: Whether the answer carries `meta.requestId`.
        headers: Headers beside the usual ones.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        has_request_id: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code or ''} {message}")
        self.status = status
        self.message = message
        self.code = code
        self.has_request_id = has_request_id
        self.headers = dict(headers or {})


def no_credentials() -> ApiError:
    """Neither token nor bearer. Source: a reading of the live service."""
    return ApiError(400, "Expected authorization in headers, but none provided.", code="ATP_2")


def wrong_credentials() -> ApiError:
    """Unknown, expired or foreign credentials. Source: a reading of the live service."""
    return ApiError(401, "Unrecognized X-API-TOKEN.", code="DCD_7")


def missing_scope(scope: str) -> ApiError:
    """A bearer without the scope. Source: published clients for 403 and code; the words are chosen."""
    return ApiError(403, f"This user does not have access to this resource: it needs {scope}.", code="AuthZ_2.0")


def no_such_resource() -> ApiError:
    """No such route. Source: a reading of the live service (no code, no request id).

    A known path with another method is answered alike: 405 is not among the documented statuses (chosen).
    """
    return ApiError(404, "The requested resource does not exist.", has_request_id=False)


def length_required() -> ApiError:
    """No body or no Content-Length. Source: a reading of the live service; the words are chosen."""
    return ApiError(411, "A request of this method needs a body and its Content-Length.")


def body_too_large(limit_bytes: int) -> ApiError:
    """More than the upload limit. Source: Qualtrics API reference, limits, for 413; words and code are chosen."""
    return ApiError(413, f"The request body is larger than {limit_bytes} bytes.", code="QVAL_1")


def wrong_content_type(expected: str) -> ApiError:
    """Missing, other or doubled Content-Type. Source: published clients (400 or 415 is seen; 415 is chosen)."""
    return ApiError(415, f"Invalid Content-Type. Expected {expected}")


def invalid(what: str) -> ApiError:
    """A request that fails validation. Source: published clients for the family QVAL; number and words are chosen."""
    return ApiError(400, what, code="QVAL_1")


def too_many_requests(what: str, *, retry_after_seconds: int | None) -> ApiError:
    """A limit is reached.

    Source: Not documented; chosen: no body of a 429 was ever published. Secondary notes speak of Retry-After in
    seconds, so it can be there or not.
    """
    headers = {} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)}
    return ApiError(429, what, code="429", headers=headers)


def server_error(status: int) -> ApiError:
    """A 500, 503 or 504. Source: Published clients for the words; the code is chosen."""
    return ApiError(status, "temporary internal server error", code="SIM_500")
