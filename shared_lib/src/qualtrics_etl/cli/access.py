"""How an engineer's commands reach a stage: AWS with their own credentials, or the place on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FrameType

from qualtrics_etl.aws.access import StageAccess
from qualtrics_etl.aws.account import AwsAccess, check_account
from qualtrics_etl.aws.objects import S3Objects
from qualtrics_etl.aws.queues import SqsQueues
from qualtrics_etl.deployment.stage import LOCAL, refuse_endpoints
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.emulator import ACCESS_KEY
from qualtrics_etl.local.place import running_place
from qualtrics_etl.settings import StageConfig, read_config
from qualtrics_etl.workflow import Workflow, read_workflow

_NOT_FOR_THE_EMULATOR = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")


@dataclass(frozen=True)
class OpenStage:
    """A stage that can be reached."""

    workflow: Workflow
    config: StageConfig
    access: StageAccess

    @cached_property
    def bucket(self) -> str:
        """Name of the data bucket."""
        return self.access.read_parameter("bucket")

    @cached_property
    def objects(self) -> S3Objects:
        """The data bucket."""
        return S3Objects(self.bucket, self.access.aws.client("s3"))

    @cached_property
    def queues(self) -> SqsQueues:
        """The services' own queues."""
        return self.access.queues(self.workflow.services)

    def check_service(self, service: str) -> str:
        """Return a service's name.

        Raises:
            ConfigurationError: The workflow has no such service.
        """
        if service not in self.workflow.services:
            raise ConfigurationError(
                f"{service!r} is no service of workflow.yml.", remedy=f"Services: {', '.join(self.workflow.services)}."
            )
        return service


def open_stage(root: Path, stage: str) -> OpenStage:
    """Read what the repository says of a stage, and make sure that its own account is reached.

    Raises:
        ConfigurationError: The config is not filled in, the credentials are of another account, an address in the
            environment would lead elsewhere, or the stage on this machine does not run.
    """
    workflow, config = read_workflow(root), read_config(root, stage)
    if stage == LOCAL:
        aws = AwsAccess(config.aws_region, _emulator(root), (ACCESS_KEY, ACCESS_KEY))
    else:
        refuse_endpoints(os.environ, stage)
        aws = AwsAccess(config.aws_region)
        check_account(aws, config.aws_account_id, f"config/{stage}.yml")
    return OpenStage(workflow, config, StageAccess(workflow.name, stage, config.aws_account_id, aws))


def _emulator(root: Path) -> str:
    place = running_place(root)
    if place is None:
        raise ConfigurationError(
            "The stage `local` does not run on this machine.",
            remedy="Deploy to it: `make deploy STAGE=local`. (`make run` needs none of it.)",
        )
    for name in _NOT_FOR_THE_EMULATOR:
        os.environ.pop(name, None)  # a profile of the user's would be looked up, and may not exist
    os.environ.update(place.environment)  # past any proxy
    return place.emulator_url


@contextmanager
def stop_between() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C or SIGTERM only be asked for, so that what is under way ends; a second one stops at once."""
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(stopped)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
