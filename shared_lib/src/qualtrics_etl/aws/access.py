"""A stage as an engineer's commands reach it: its names, what Terraform handed over, and errors in their words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.failures import aws_failures, error_code
from qualtrics_etl.aws.parameters import read_parameters
from qualtrics_etl.aws.queues import SqsQueues
from qualtrics_etl.errors import ConfigurationError, PermanentError

_DENIED = ("AccessDenied", "AccessDeniedException")


@dataclass(frozen=True, slots=True)
class StageAccess:
    """Where a stage's things are.

    Attributes:
        slug: The repository's name, with which every name on AWS begins.
        stage: The stage.
        account: Its account, 12 digits.
        aws: How its AWS is reached.
    """

    slug: str
    stage: str
    account: str
    aws: AwsAccess

    @property
    def parameters(self) -> str:
        """What the names of the stage's SSM parameters begin with."""
        return f"/{self.slug}/{self.stage}"

    def function_name(self, service: str) -> str:
        """Return the name of a service's function."""
        return f"{self.slug}-{self.stage}-{service.replace('_', '-')}"

    def not_deployed(self, what: str) -> ConfigurationError:
        """Return the error for something that a deploy would have made."""
        return ConfigurationError(
            f"There is no {what} in account {self.account}, {self.aws.region}: stage {self.stage} was not deployed, or"
            " not to its end.",
            remedy=f"Deploy it: `make deploy STAGE={self.stage}`.",
        )

    def queues(self, services: Iterable[str]) -> SqsQueues:
        """Return the services' own queues.

        Raises:
            ConfigurationError: One of them is not there: the stage was not deployed.
        """
        names = {service: f"{self.parameters}/{service}/queue_urls" for service in services}
        with stage_failures("Reading where the stage's queues are"):
            found = read_parameters(self.aws, names.values())
        for name in names.values():
            if name not in found:
                raise self.not_deployed(f"parameter {name}")
        urls = {service: str(json.loads(found[name])[service]) for service, name in names.items()}
        return SqsQueues(urls, {}, self.aws.client("sqs"))

    def read_parameter(self, name: str) -> str:
        """Return a parameter that Terraform hands over, by its name behind the stage's prefix.

        Raises:
            ConfigurationError: There is none: the stage was not deployed.
        """
        parameter = f"{self.parameters}/{name}"
        with stage_failures(f"Reading the parameter {parameter}"):
            found = read_parameters(self.aws, [parameter])
        if parameter not in found:
            raise self.not_deployed(f"parameter {parameter}")
        return found[parameter]


@contextmanager
def stage_failures(doing: str) -> Iterator[None]:
    """Turn what boto3 raises into our errors, with remedies for the person whose credentials are used."""
    from botocore.exceptions import ClientError

    try:
        with aws_failures(doing):
            yield
    except PermanentError as error:
        if isinstance(error.__cause__, ClientError) and error_code(error.__cause__) in _DENIED:
            raise PermanentError(
                error.what, remedy="Sign in with a role of the stage's account that may do this."
            ) from error.__cause__
        raise
