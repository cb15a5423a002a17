"""What each inspection address does. A ValueError or ApiError becomes a 400 with its text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from qualtrics_etl.simulator.calls import JsonObject
from qualtrics_etl.simulator.clock import iso, parse_instant
from qualtrics_etl.simulator.faults import SCENARIOS, Fault
from qualtrics_etl.simulator.inspection.errors import not_here, unfit
from qualtrics_etl.simulator.inspection.models import contacts_of, mailing_lists_of, summary_of
from qualtrics_etl.simulator.progress import JobProgress
from qualtrics_etl.simulator.seed import Seed
from qualtrics_etl.simulator.snapshot import build

if TYPE_CHECKING:
    from qualtrics_etl.simulator.simulator import Simulator


@dataclasses.dataclass(frozen=True, slots=True)
class Inspection:
    """One request to the inspection API.

    Attributes:
        params: Parts of the path by their name in the route.
        body: Parsed JSON object; empty for GET and DELETE.
    """

    simulator: Simulator
    params: Mapping[str, str]
    body: JsonObject


def show_health(asked: Inspection) -> object:
    """Say that it is alive, and what time it has."""
    return {"status": "ok", "time": iso(asked.simulator.clock.now())}


def show_summary(asked: Inspection) -> object:
    """Show how much of everything there is."""
    return summary_of(asked.simulator.state, asked.simulator.run_due())


def show_mailing_lists(asked: Inspection) -> object:
    """Show every mailing list."""
    asked.simulator.run_due()
    return {"mailingLists": mailing_lists_of(asked.simulator.state)}


def show_contacts(asked: Inspection) -> object:
    """Show who is in a mailing list."""
    asked.simulator.run_due()
    mailing_list = asked.simulator.state.mailing_lists.get(asked.params["list"])
    if mailing_list is None:
        raise not_here()
    return {"contacts": contacts_of(asked.simulator.state, mailing_list)}


def show_mailings(asked: Inspection) -> object:
    """Show who would have been mailed, by what and how often, and what is scheduled."""
    return asked.simulator.mailings()


def show_calls(asked: Inspection) -> object:
    """Show how often each endpoint gave each status."""
    return {"calls": asked.simulator.state.calls}


def show_requests(asked: Inspection) -> object:
    """Show the last requests, without tokens, queries and bodies."""
    return {"requests": [dataclasses.asdict(note) for note in asked.simulator.requests()]}


def show_scenarios(asked: Inspection) -> object:
    """Show the scenarios that can be armed."""
    return {"scenarios": {name: scenario.description for name, scenario in SCENARIOS.items()}}


def show_faults(asked: Inspection) -> object:
    """Show the armed faults."""
    return {"faults": [dataclasses.asdict(fault) for fault in asked.simulator.state.faults]}


def arm_fault(asked: Inspection) -> object:
    """Arm a fault: {"scenario"} and, if wanted, "count", "skip", "chance", "seed", "seconds", "method", "path"."""
    body = {**asked.body, "count": None} if asked.body.get("count") == "all" else asked.body
    asked.simulator.arm(build(Fault, body))
    return show_faults(asked)


def disarm_faults(asked: Inspection) -> object:
    """Forget all faults."""
    asked.simulator.disarm()
    return show_faults(asked)


def show_clock(asked: Inspection) -> object:
    """Show the time."""
    return {"now": iso(asked.simulator.clock.now()), "offset_seconds": asked.simulator.clock.offset_seconds}


def move_clock(asked: Inspection) -> object:
    """Move the clock: {"advance_seconds": n} or {"set": "2026-11-22T09:00:00Z"}."""
    match asked.body:
        case {"advance_seconds": int() | float() as seconds} if len(asked.body) == 1 and seconds is not True:
            asked.simulator.advance(seconds)
        case {"set": str() as instant} if len(asked.body) == 1:
            asked.simulator.clock.set(parse_instant(instant))
            asked.simulator.run_due()
        case _:
            raise unfit('The body must be {"advance_seconds": n} or {"set": "2026-11-22T09:00:00Z"}.')
    return show_clock(asked)


def set_job_progress(asked: Inspection) -> object:
    """Say when import jobs to come are finished: {"looks": n, "seconds": n}; both 0 is at once."""
    asked.simulator.state.job_progress = build(JobProgress, asked.body)
    return dataclasses.asdict(asked.simulator.state.job_progress)


def add_seed(asked: Inspection) -> object:
    """Add directories, surveys, libraries, tokens and OAuth clients."""
    asked.simulator.state.add(Seed.from_json(asked.body))
    return show_summary(asked)


def mark_finished(asked: Inspection) -> object:
    """Note who has finished the survey of an invitation: {"distribution_id": "EMD_...", "emails": [...]}."""
    post = asked.simulator.state.post
    match asked.body:
        case {"distribution_id": str() as distribution_id, "emails": list() as emails} if len(asked.body) == 2:
            if distribution_id not in post.distributions:
                raise not_here()
            asked.simulator.run_due()
            return {"finished": post.mark_finished(distribution_id, map(str, emails))}
    raise unfit('The body must be {"distribution_id": "EMD_...", "emails": ["..."]}.')


def reset(asked: Inspection) -> object:
    """Go back to the seed."""
    asked.simulator.reset()
    return show_summary(asked)
