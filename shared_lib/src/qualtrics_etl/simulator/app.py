"""The way of a request from its address to its answer, and what faults do on that way.

address -> credentials -> rate limits -> faults -> body -> handler -> answer (or what a fault makes of it)
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request

from qualtrics_etl.simulator import errors
from qualtrics_etl.simulator.accounts.errors import TokenError, invalid_request
from qualtrics_etl.simulator.accounts.handlers import authenticate, issue_token
from qualtrics_etl.simulator.accounts.routes import TOKEN_PATH
from qualtrics_etl.simulator.answers import Answer, answer_error, answer_json, answer_with
from qualtrics_etl.simulator.bodies import read_body, read_form, read_query
from qualtrics_etl.simulator.calls import API_ROOT, ApiRequest, Call, Reply, Route, plain_path
from qualtrics_etl.simulator.endpoints import ROUTER
from qualtrics_etl.simulator.errors import ApiError
from qualtrics_etl.simulator.faults import HARMLESS, Fault, Scenario, take
from qualtrics_etl.simulator.inspection.routes import answer_inspection, is_inspection
from qualtrics_etl.simulator.progress import JobProgress
from qualtrics_etl.simulator.state import LateEffect

if TYPE_CHECKING:
    from qualtrics_etl.simulator.simulator import Simulator

NO_ENDPOINT = "no such endpoint"
"""Under which name calls of unknown addresses are counted."""


@dataclass(slots=True)
class _Handling:
    """One request on its way: filled in as it goes, so that a refusal at any point can be counted under its name."""

    request: Request
    path: str
    request_id: str
    endpoint: str = NO_ENDPOINT
    faults: Mapping[str, Fault] = field(default_factory=dict)

    @property
    def scenario(self) -> Scenario:
        """What happens to the answer."""
        return self.faults["answer"].row if "answer" in self.faults else HARMLESS

    def seconds(self, aspect: str) -> float:
        """How long the fault of this aspect takes; 0 without one."""
        return self.faults[aspect].duration_seconds if aspect in self.faults else 0.0


class Application:
    """The API, the token endpoint and the inspection API of one simulator.

    Args:
        stopping: Set when the server stops, so that no fault waits any longer.
    """

    def __init__(self, simulator: Simulator, stopping: threading.Event) -> None:
        self._simulator = simulator
        self._stopping = stopping

    def answer(self, environ: dict[str, Any]) -> Answer:
        """Answer a request, given as WSGI describes one."""
        request = Request(environ)
        path = plain_path(request.path)
        if is_inspection(path):
            return answer_inspection(self._simulator, request, path)
        with self._simulator.lock:
            handling = _Handling(request, path, self._simulator.state.ids.request_id())
        answer = self._answer_token(handling) if path == TOKEN_PATH else self._answer_api(handling)
        self._note(handling, answer)
        return answer

    def _answer_api(self, handling: _Handling) -> Answer:
        try:
            return self._handle(handling)
        except ApiError as error:
            return answer_error(error, handling.request_id)

    def _handle(self, handling: _Handling) -> Answer:
        if not handling.path.startswith(API_ROOT + "/"):
            raise errors.no_such_resource()
        route, params = ROUTER.find(handling.request.method, handling.path.removeprefix(API_ROOT))
        handling.endpoint = route.name
        self._admit(handling, route)
        reply = Reply()
        if handling.scenario.effect != "none":
            reply = self._take_effect(handling, route, params)
        return self._falsify(handling, answer_with(reply, handling.request_id))

    def _admit(self, handling: _Handling, route: Route) -> None:
        simulator, request = self._simulator, handling.request
        with simulator.lock:
            now = simulator.run_due()
            authenticate(
                simulator.state,
                token=request.headers.get("X-API-TOKEN"),
                bearer=_bearer(request),
                scope=route.scope,
                now=now,
            )
            simulator.limits.take(route.name, route.per_minute, now)
            path = handling.path.removeprefix(API_ROOT)
            handling.faults = take(simulator.state.faults, request.method, path)

    def _take_effect(self, handling: _Handling, route: Route, params: Mapping[str, str]) -> Reply:
        asked = _asked(handling, route)
        simulator = self._simulator
        with simulator.lock:
            now = simulator.run_due()
            if handling.scenario.effect == "late":
                simulator.state.late_effects.append(LateEffect(now + handling.seconds("answer"), asked))
                return Reply()
            reply = route.handler(self._call(handling, asked, params, now))
            simulator.run_due()
        return reply

    def _call(self, handling: _Handling, asked: ApiRequest, params: Mapping[str, str], now: float) -> Call:
        usual = self._simulator.state.job_progress
        job = handling.faults.get("job")
        return Call(
            asked,
            params,
            self._simulator.state,
            now,
            job_progress=JobProgress(usual.looks, max(usual.seconds, handling.seconds("job"))),
            job_outcome=job.row.outcome if job else "work",
            quirks=frozenset(fault.scenario for fault in handling.faults.values()),
            listed_after_seconds=handling.seconds("listing"),
        )

    def _falsify(self, handling: _Handling, answer: Answer) -> Answer:
        seen = handling.scenario.answer
        if seen in ("silence", "slow"):
            self._stopping.wait(handling.seconds("answer"))
        if seen in ("normal", "slow"):
            return answer
        if seen in ("cut", "silence"):
            return replace(answer, cut=0.0)
        if seen == "cut_body":
            return replace(answer, cut=0.5)
        if seen == "html":
            return Answer(504, b"<html><h1>Gateway Timeout</h1></html>", content_type="text/html")
        return answer_error(_fault_error(handling), handling.request_id)

    def _answer_token(self, handling: _Handling) -> Answer:
        request, simulator = handling.request, self._simulator
        handling.endpoint = f"{request.method} {TOKEN_PATH}"
        try:
            form = read_form(request) if request.method == "POST" and not request.args else None
            if form is None:
                raise invalid_request()
            with simulator.lock:
                token = issue_token(simulator.state, _basic(request), form, simulator.run_due())
        except TokenError as error:
            return answer_json(error.status, {"error": error.error})
        return answer_json(200, token, {"Cache-Control": "no-store"})

    def _note(self, handling: _Handling, answer: Answer) -> None:
        fault = handling.faults.get("answer")
        self._simulator.note(
            endpoint=handling.endpoint,
            method=handling.request.method,
            path=handling.path,
            status="cut" if answer.cut is not None else str(answer.status),
            request_id=handling.request_id,
            fault=fault.scenario if fault else None,
        )


def _asked(handling: _Handling, route: Route) -> ApiRequest:
    request = handling.request
    return ApiRequest(
        method=request.method,
        path=handling.path.removeprefix(API_ROOT),
        query=read_query(request, route.query),
        body=read_body(request),
        base_url=request.host_url.rstrip("/"),
    )


def _bearer(request: Request) -> str | None:
    given = request.authorization
    return given.token if given is not None and given.type == "bearer" else None


def _basic(request: Request) -> tuple[str, str] | None:
    given = request.authorization
    if given is None or given.username is None or given.password is None:
        return None
    return given.username, given.password


def _fault_error(handling: _Handling) -> ApiError:
    status = int(handling.scenario.answer)
    if status == 401:
        return errors.wrong_credentials()
    if status == 400:
        return errors.invalid("The request is not as it must be.")
    if status == 403:
        return errors.missing_scope("a permission")
    if status == 404:
        return errors.no_such_resource()
    if status == 429:
        seconds = max(1, round(handling.seconds("answer"))) if handling.scenario.retry_after else None
        return errors.too_many_requests("Too many requests.", retry_after_seconds=seconds)
    return errors.server_error(status)
