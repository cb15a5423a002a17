"""Addresses of the inspection API, and how one is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request

from qualtrics_etl.simulator.answers import Answer, answer_json
from qualtrics_etl.simulator.bodies import content_type, parse_object
from qualtrics_etl.simulator.calls import Router
from qualtrics_etl.simulator.errors import ApiError
from qualtrics_etl.simulator.inspection import handlers
from qualtrics_etl.simulator.inspection.errors import InspectionError, foreign_host, not_here, not_json, unfit
from qualtrics_etl.simulator.inspection.handlers import Inspection
from qualtrics_etl.simulator.inspection.page import render_page

if TYPE_CHECKING:
    from qualtrics_etl.simulator.simulator import Simulator

ROOT = "/_sim"
_OWN_NAMES = frozenset({"127.0.0.1", "localhost"})


@dataclass(frozen=True, slots=True)
class InspectionRoute:
    """One inspection address; what it is for is its handler's docstring."""

    method: str
    pattern: str
    handler: Callable[[Inspection], object]

    @property
    def description(self) -> str:
        """What it is for."""
        return (self.handler.__doc__ or "").strip()


ROUTES = [
    InspectionRoute("GET", "/_sim/health", handlers.show_health),
    InspectionRoute("GET", "/_sim/state", handlers.show_summary),
    InspectionRoute("GET", "/_sim/mailinglists", handlers.show_mailing_lists),
    InspectionRoute("GET", "/_sim/mailinglists/{list}/contacts", handlers.show_contacts),
    InspectionRoute("GET", "/_sim/mailings", handlers.show_mailings),
    InspectionRoute("GET", "/_sim/calls", handlers.show_calls),
    InspectionRoute("GET", "/_sim/requests", handlers.show_requests),
    InspectionRoute("GET", "/_sim/scenarios", handlers.show_scenarios),
    InspectionRoute("GET", "/_sim/faults", handlers.show_faults),
    InspectionRoute("POST", "/_sim/faults", handlers.arm_fault),
    InspectionRoute("DELETE", "/_sim/faults", handlers.disarm_faults),
    InspectionRoute("GET", "/_sim/clock", handlers.show_clock),
    InspectionRoute("POST", "/_sim/clock", handlers.move_clock),
    InspectionRoute("POST", "/_sim/jobs", handlers.set_job_progress),
    InspectionRoute("POST", "/_sim/seed", handlers.add_seed),
    InspectionRoute("POST", "/_sim/finished", handlers.mark_finished),
    InspectionRoute("POST", "/_sim/reset", handlers.reset),
]
_ROUTER = Router(ROUTES)


def is_inspection(path: str) -> bool:
    """Whether a path belongs to the inspection API."""
    return path == ROOT or path.startswith(ROOT + "/")


def answer_inspection(simulator: Simulator, request: Request, path: str) -> Answer:
    """Answer a request to the inspection API; no token is asked for, and nothing is counted."""
    try:
        return _answer(simulator, request, path)
    except InspectionError as error:
        return answer_json(error.status, {"error": error.what})
    except ApiError as error:
        return answer_json(error.status, {"error": error.message})
    except ValueError as error:
        return answer_json(400, {"error": str(error)})


def _answer(simulator: Simulator, request: Request, path: str) -> Answer:
    if request.host.partition(":")[0] not in _OWN_NAMES:
        raise foreign_host()
    # A page of somebody else can post forms to this machine, but not JSON.
    if request.method == "POST" and content_type(request) != "application/json":
        raise not_json()
    match (request.method, path):
        case ("GET", "/_sim"):
            return Answer(200, render_page(simulator, ROUTES).encode(), content_type="text/html; charset=utf-8")
        case ("GET", "/_sim/dump"):
            return Answer(200, simulator.dump())
        case ("POST", "/_sim/load"):
            simulator.restore(request.get_data())
            return answer_json(200, {"status": "ok"})
    return _answer_route(simulator, request, path)


def _answer_route(simulator: Simulator, request: Request, path: str) -> Answer:
    try:
        route, params = _ROUTER.find(request.method, path)
    except ApiError as exc:
        raise not_here() from exc
    body = {} if request.method in ("GET", "DELETE") else _body(request)
    with simulator.lock:
        return answer_json(200, route.handler(Inspection(simulator, params, body)))


def _body(request: Request) -> dict[str, object]:
    try:
        return parse_object(request.get_data() or b"{}")
    except ApiError as exc:
        raise unfit(exc.message) from exc
