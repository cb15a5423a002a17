"""Every simulated endpoint, and how a call reaches its handler."""

from __future__ import annotations

from qualtrics_etl.simulator.accounts import routes as accounts
from qualtrics_etl.simulator.calls import ApiRequest, Call, Route, Router
from qualtrics_etl.simulator.contact_imports import routes as contact_imports
from qualtrics_etl.simulator.contacts import routes as contacts
from qualtrics_etl.simulator.directories import routes as directories
from qualtrics_etl.simulator.distributions import routes as distributions
from qualtrics_etl.simulator.errors import ApiError
from qualtrics_etl.simulator.libraries import routes as libraries
from qualtrics_etl.simulator.mailing_lists import routes as mailing_lists
from qualtrics_etl.simulator.state import State
from qualtrics_etl.simulator.surveys import routes as surveys

AREAS = (accounts, directories, mailing_lists, contacts, contact_imports, distributions, libraries, surveys)
ROUTES: tuple[Route, ...] = tuple(route for area in AREAS for route in area.ROUTES)
ROUTER = Router(ROUTES)


def perform_late(request: ApiRequest, state: State, at: float) -> None:
    """Do what a call that was answered long ago asked for; an error reaches nobody."""
    route, params = ROUTER.find(request.method, request.path)
    try:
        route.handler(Call(request, params, state, at, job_progress=state.job_progress))
    except ApiError:
        return
