"""A stage of a generated repository: what it is called on AWS, and how programs and boto3 reach it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.emulator import ACCESS_KEY
from qualtrics_etl.local.place import Place, start_place
from qualtrics_etl.local.run import STATE_FOLDER
from qualtrics_etl.settings import StageConfig, read_config
from qualtrics_etl.workflow import Workflow, read_workflow

LOCAL = "local"
PROD = "prod"
STAGE_KEY = "stage.tfstate"
BOOTSTRAP_KEY = "bootstrap.tfstate"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage.

    Attributes:
        root: The repository.
        name: `local`, `dev`, `staging` or `prod`.
        access: How boto3 reaches its AWS.
        environment: All of the environment of programs that work on it.
        place: What it runs in, for the stage `local`.
    """

    root: Path
    name: str
    workflow: Workflow
    config: StageConfig
    access: AwsAccess
    environment: Mapping[str, str] = field(repr=False)
    place: Place | None = None

    @property
    def prefix(self) -> str:
        """What its names on AWS begin with; also the name of its CloudFormation stack."""
        return f"{self.workflow.name}-{self.name}"

    @property
    def parameters(self) -> str:
        """What the names of its SSM parameters begin with."""
        return f"/{self.workflow.name}/{self.name}"

    @property
    def account(self) -> str:
        """Its account, 12 digits."""
        return self.config.aws_account_id

    @property
    def tags(self) -> Mapping[str, str]:
        """What everything that belongs to it is tagged with."""
        return {"client": self.workflow.name, "stage": self.name}

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return self.name == LOCAL

    @property
    def target(self) -> str:
        """Which package it gets: the folder below `build`."""
        return "local" if self.is_local else "aws"

    @property
    def config_file(self) -> str:
        """Its configuration, as a person finds it."""
        return f"config/{self.name}.yml"

    @property
    def folder(self) -> Path:
        """Where its lock, and what programs printed, lies."""
        return self.root / STATE_FOLDER / "deploy" / self.name

    def bucket(self, purpose: str) -> str:
        """Return the name of one of its buckets: `data`, `artifacts` or `state`."""
        return f"{self.prefix}-{purpose}-{self.account}"

    def make(self, target: str, **arguments: str) -> str:
        """Return the command that a person types, for an error's remedy."""
        given = "".join(f" {key}={value}" for key, value in arguments.items())
        return f"`make {target}{given} STAGE={self.name}`"


def open_stage(root: Path, name: str, environment: Mapping[str, str] = os.environ) -> Stage:
    """Read what is known of a stage; the stage `local` is started when it does not run.

    Raises:
        ConfigurationError: It has no configuration, that is not filled in, or the environment leads elsewhere.
    """
    if not (root / "config" / f"{name}.yml").is_file():
        known = sorted(file.stem for file in (root / "config").glob("*.yml"))
        raise ConfigurationError(
            f"config/{name}.yml: there is no such file, so there is no stage {name}.",
            remedy=f"Stages here: {', '.join(known)}." if known else "Run it in a generated repository.",
        )
    workflow, config = read_workflow(root), read_config(root, name)
    if name == LOCAL:
        place = start_place(root)
        access = AwsAccess(config.aws_region, place.emulator_url, (ACCESS_KEY, ACCESS_KEY))
        return Stage(root, name, workflow, config, access, _local_environment(environment, place), place)
    refuse_endpoints(environment, name)
    own = {"AWS_REGION": config.aws_region, "AWS_DEFAULT_REGION": config.aws_region}
    return Stage(root, name, workflow, config, AwsAccess(config.aws_region), {**environment, **own})


def _local_environment(environment: Mapping[str, str], place: Place) -> dict[str, str]:
    """Nothing of what the caller has set for AWS: neither a profile nor a token may lead anything there."""
    kept = {key: value for key, value in environment.items() if not key.startswith("AWS_")}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**kept, **nowhere, "AWS_EC2_METADATA_DISABLED": "true", **place.environment}


def refuse_endpoints(environment: Mapping[str, str], stage: str) -> None:
    """Refuse an environment that leads a stage on AWS elsewhere.

    Raises:
        ConfigurationError: Names the variables.
    """
    found = sorted(key for key, value in environment.items() if key.startswith("AWS_ENDPOINT_URL") and value)
    if found:
        raise ConfigurationError(
            f"{' and '.join(found)} is set, so stage {stage} would not go to AWS.",
            remedy=f"Run `unset {' '.join(found)}`, or take STAGE=local.",
        )
