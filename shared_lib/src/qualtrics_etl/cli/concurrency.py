"""What `qetl check` says of concurrency: whether more is worked on at a time than Qualtrics' limits let pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qualtrics_etl.pace import budget_of
from qualtrics_etl.qualtrics.registry import ENDPOINTS
from qualtrics_etl.settings import StageConfig
from qualtrics_etl.workflow import WORKFLOW_FILE, Service, Workflow
from qualtrics_etl.yaml_lines import read_yaml

CALLS_A_WORKER_MINUTE = 60
"""Assumed: a message that calls Qualtrics keeps a function busy for about a second."""
UNBOUNDED_WORKERS = 1_000
"""Source: AWS Lambda developer guide, page on quotas (concurrent executions of an account, unless raised)."""
FEWEST_WORKERS = 2
"""The smallest number that can be written; it is never too much."""
NOTE_FROM = 2
"""Calls that could be made, as a multiple of those that may: from here on most looks would be deferrals."""
ERROR_FROM = 20
"""From here on 19 of 20 would be: somebody is mistaken about the limits."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said of a service.

    Attributes:
        is_error: Whether it stops the check.
    """

    text: str
    is_error: bool


def concurrency_remarks(root: Path, workflow: Workflow, config: StageConfig) -> Iterator[Remark]:
    """Yield a remark for each service that could call much more often than its endpoint's budget in a stage allows."""
    for name, service in workflow.services.items():
        if service.step.calls is None:
            continue
        endpoint = ENDPOINTS[service.step.calls]
        budget = budget_of(endpoint.requests_per_minute, config.qualtrics.share)
        possible, enough = _workers(service) * CALLS_A_WORKER_MINUTE, _enough(budget)
        if _workers(service) <= enough or possible <= NOTE_FROM * budget:
            continue
        line = read_yaml(root / WORKFLOW_FILE).line_of("services", name, "concurrency")
        yield Remark(
            f"{WORKFLOW_FILE}:{line}: `{name}` with `concurrency: {service.concurrency}` could make about"
            f" {possible:,} calls of {endpoint.name} a minute, and stage {config.stage} has {budget:,}"
            f" ({endpoint.requests_per_minute:,} x qualtrics.share {config.qualtrics.share:g}):"
            f" {1 - budget / possible:.0%} of its looks would be deferrals. {enough} at a time use all of it.",
            is_error=service.concurrency != "unbounded" and possible > ERROR_FROM * budget,
        )


def _workers(service: Service) -> int:
    if service.concurrency == "serial":
        return 1
    return UNBOUNDED_WORKERS if service.concurrency == "unbounded" else service.concurrency


def _enough(budget: int) -> int:
    """Return how many workers can use a budget up."""
    return max(FEWEST_WORKERS, -(-budget // CALLS_A_WORKER_MINUTE))
