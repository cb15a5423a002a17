"""Wires a step into the place where it runs: reads what the repository says, and connects what the place offers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.settings import read_config
from qualtrics_etl.steps.base import Wiring
from qualtrics_etl.workflow import read_workflow


def wiring_on_lambda(environment: Mapping[str, str], root: Path) -> Wiring:
    """Wire the service that this function runs, on AWS.

    Args:
        environment: The function's environment variables.
        root: Folder that holds workflow.yml and config/.

    Raises:
        ConfigurationError: A variable is missing, or what the repository says is wrong.
    """
    from qualtrics_etl.aws.objects import S3Objects
    from qualtrics_etl.aws.queues import SqsQueues
    from qualtrics_etl.aws.secrets import SsmSecrets
    from qualtrics_etl.clock import SystemClock

    stage, service = _variable(environment, "QETL_STAGE"), _variable(environment, "QETL_SERVICE")
    workflow = read_workflow(root)
    if service not in workflow.services:
        raise ConfigurationError(
            f"The function is told to run `{service}`, and workflow.yml has no such service.",
            remedy="Deploy the repository again: function and workflow are of different versions.",
        )
    return Wiring(
        workflow=workflow,
        service=service,
        config=read_config(root, stage),
        objects=S3Objects(_variable(environment, "QETL_BUCKET")),
        queues=SqsQueues(_urls(environment), {service: _variable(environment, "QETL_DEAD_LETTER_QUEUE_URL")}),
        secrets=SsmSecrets(f"/{workflow.name}/{stage}"),
        clock=SystemClock(),
    )


def _urls(environment: Mapping[str, str]) -> dict[str, str]:
    try:
        urls: dict[str, str] = json.loads(_variable(environment, "QETL_QUEUE_URLS"))
    except json.JSONDecodeError as exc:
        raise ConfigurationError("QETL_QUEUE_URLS is not JSON.", remedy=_DEPLOY_AGAIN) from exc
    return urls


def _variable(environment: Mapping[str, str], name: str) -> str:
    if value := environment.get(name):
        return value
    raise ConfigurationError(f"The function has no environment variable {name}.", remedy=_DEPLOY_AGAIN)


_DEPLOY_AGAIN = "It is set by serverless.yml: deploy the repository again."
