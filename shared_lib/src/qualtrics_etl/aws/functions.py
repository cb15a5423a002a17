"""Starts a scheduled service's function now, with the event that its schedule would send."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from qualtrics_etl.aws.access import StageAccess, stage_failures
from qualtrics_etl.aws.clients import make_config
from qualtrics_etl.errors import RetryableError

PATIENCE_SECONDS = 15
"""How much longer than the function's own time-out an answer is waited for: a cold start comes before it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function answered.

    Attributes:
        failure: What went wrong, in a sentence; None when it ended well.
        remedy: What to do about it; empty when it ended well.
    """

    failure: str | None = None
    remedy: str = ""


def start_service(access: StageAccess, service: str, *, at: datetime, timeout_seconds: int) -> Answer:
    """Call a service's function as its schedule would, and wait for its end.

    Args:
        at: The scheduled time that it is told, UTC; the tick's identity, to the second.
        timeout_seconds: The function's own time-out.

    Raises:
        ConfigurationError: There is no such function: the stage was not deployed.
        RetryableError: AWS can't be reached, or the function is being deployed just now.
    """
    name, client = access.function_name(service), _client(access, timeout_seconds + PATIENCE_SECONDS)
    with stage_failures(f"Calling the function {name}"):
        try:
            answer = client.invoke(
                FunctionName=name, InvocationType="RequestResponse", Payload=json.dumps(schedule_event(access, at))
            )
        except client.exceptions.ResourceNotFoundException as exc:
            raise access.not_deployed(f"function {name}") from exc
        except client.exceptions.ResourceConflictException as exc:
            raise RetryableError(
                f"The function {name} is being made or changed just now.",
                call_made=False,
                remedy="Try again when the deploy is over.",
            ) from exc
    return _read(answer, access, service)


def schedule_event(access: StageAccess, at: datetime) -> dict[str, Any]:
    """Return the event that EventBridge sends at a scheduled time.

    Source: Amazon EventBridge user guide, events of scheduled rules.
    """
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": access.account,
        "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "region": access.aws.region,
        "resources": [],
        "detail": {},
    }


def _client(access: StageAccess, read_timeout_seconds: float) -> Any:
    """Return a client that asks once: a second try would call the function while the first call still runs."""
    from botocore.config import Config

    config = make_config(read_timeout_seconds).merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
    return access.aws.session().client("lambda", endpoint_url=access.aws.endpoint_url, config=config)


def _read(answer: Mapping[str, Any], access: StageAccess, service: str) -> Answer:
    body = answer["Payload"].read()
    if not answer.get("FunctionError"):
        return Answer()
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    error = said if isinstance(said, dict) else {}
    return _in_words(str(error.get("errorType", "")), str(error.get("errorMessage", "")), access, service)


def _in_words(kind: str, text: str, access: StageAccess, service: str) -> Answer:
    """Say a function error: the time-out, the memory, a broken package, or what the code raised.

    Source: AWS Lambda developer guide, function errors (`Sandbox.Timedout`, `Runtime.*`).
    """
    look = f"Look into its log: `make logs STAGE={access.stage} SERVICE={service}`."
    if kind == "Sandbox.Timedout" or "Task timed out" in text:
        return Answer(f"{service} did not end in time.", f"Raise its timeout_seconds in workflow.yml, or: {look}")
    if kind in ("Runtime.OutOfMemory", "Runtime.ExitError"):
        return Answer(f"{service} ended at once ({kind}): most often too little memory, memory_mb.", look)
    if kind in ("Runtime.ImportModuleError", "Runtime.HandlerNotFound", "Runtime.UserCodeSyntaxError"):
        return Answer(f"{service} can't be loaded: {text}", f"Deploy again: `make deploy STAGE={access.stage}`.")
    return Answer(f"{service} failed: {kind or 'no error was named'}{': ' if text else ''}{text}", look)
