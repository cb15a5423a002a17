"""What a handler is given and what it gives back, and the routes that lead to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from qualtrics_etl.simulator.errors import no_such_resource
from qualtrics_etl.simulator.progress import JobProgress

if TYPE_CHECKING:
    from qualtrics_etl.simulator.state import State

API_ROOT = "/API/v3"

JsonObject: TypeAlias = dict[str, Any]
"""A request body as it was parsed: handlers are the border, where it is checked."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """What a client asks for.

    Attributes:
        method: HTTP method.
        path: Below the API's root, without slash at its end.
        query: Query parameters.
        body: Parsed JSON body; empty for GET and DELETE.
        base_url: Scheme and host, as the client wrote them.
    """

    method: str
    path: str
    query: dict[str, str]
    body: JsonObject
    base_url: str


@dataclass(frozen=True, slots=True)
class Call:
    """One admitted call.

    Attributes:
        request: What the client asks for.
        params: Parts of the path by their name in the route.
        state: Everything the simulator knows.
        now: Simulated time, seconds since 1970.
        job_progress: When an import job of this call is finished.
        job_outcome: `work`; or by a fault `failed`, `empty` or `untold`.
        quirks: Names of the scenarios that change how this call tells of an import.
        listed_after_seconds: How long what this call creates stays out of listings (a fault).
    """

    request: ApiRequest
    params: Mapping[str, str]
    state: State
    now: float
    job_progress: JobProgress = field(default_factory=JobProgress)
    job_outcome: str = "work"
    quirks: frozenset[str] = frozenset()
    listed_after_seconds: float = 0.0

    @property
    def path(self) -> str:
        """The request's path."""
        return self.request.path

    @property
    def query(self) -> Mapping[str, str]:
        """The request's query parameters."""
        return self.request.query

    @property
    def body(self) -> JsonObject:
        """The request's body."""
        return self.request.body

    def url(self, path: str) -> str:
        """Return the absolute URL of a path below the API's root."""
        return f"{self.request.base_url}{API_ROOT}{path}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers.

    Attributes:
        result: Content of the envelope's `result`; None leaves it out, as deletes do.
        status: HTTP status.
        key: Name of the envelope's content; one endpoint says `results`.
        beside: What stands beside it in the envelope.
    """

    result: JsonObject | None = None
    status: int = 200
    key: str = "result"
    beside: JsonObject = field(default_factory=dict)


class _Routed(Protocol):
    @property
    def method(self) -> str: ...
    @property
    def pattern(self) -> str: ...


@dataclass(frozen=True)
class Route:
    """One endpoint.

    Attributes:
        method: HTTP method.
        pattern: Path below the API's root, with `{names}`.
        handler: What answers it.
        scope: What a bearer token must be allowed.
        per_minute: The endpoint's own limit, inside the brand's.
        query: Query parameters that it knows.
    """

    method: str
    pattern: str
    handler: Callable[[Call], Reply]
    scope: str
    per_minute: int
    query: frozenset[str] = frozenset()

    @cached_property
    def name(self) -> str:
        """Method and pattern: how the endpoint is called in counts and limits."""
        return f"{self.method} {self.pattern}"


RouteT = TypeVar("RouteT", bound=_Routed)


class Router(Generic[RouteT]):
    """Finds the route of a path."""

    def __init__(self, routes: Sequence[RouteT]) -> None:
        self._routes = [(route, _compiled(route.pattern)) for route in routes]

    def find(self, method: str, path: str) -> tuple[RouteT, dict[str, str]]:
        """Return the route and the named parts of the path.

        Raises:
            ApiError: 404, there is none.
        """
        for route, pattern in self._routes:
            if route.method == method and (match := pattern.fullmatch(path)):
                return route, match.groupdict()
        raise no_such_resource()


def plain_path(path: str) -> str:
    """Return a path without doubled slashes and without a slash at its end.

    Source: Recorded exchanges for the slash at the end; a published client sends doubled ones.
    """
    return re.sub(r"/+", "/", path).rstrip("/") or "/"


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern))
