"""boto3 clients with deliberate time-outs and retries: made when first used, one for each AWS service and process."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qualtrics_etl.aws.failures import aws_failures

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.config import Config
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

MAX_ATTEMPTS = 3
"""Of botocore, for connection errors, 5xx and throttling. A retried conditional put can answer 412 although our own
first attempt got through: whoever puts with a condition settles a 412 by reading back."""

CONNECT_TIMEOUT_SECONDS = 3

S3_READ_TIMEOUT_SECONDS = 15
"""The longest silence of S3. Three attempts end well before a function of 60 seconds does."""

SQS_READ_TIMEOUT_SECONDS = 25
"""Longer than the 20 seconds that a receive may wait for a message."""

SSM_READ_TIMEOUT_SECONDS = 5


@dataclass(slots=True)
class _Made:
    session: Session | None = None
    s3: S3Client | None = None
    sqs: SQSClient | None = None
    ssm: SSMClient | None = None


_made = _Made()
_lock = threading.RLock()  # making clients is not thread-safe in boto3; using them is


def s3_client() -> S3Client:
    """Return the process's S3 client."""
    with _lock, aws_failures("Making the S3 client"):
        _made.s3 = _made.s3 or _session().client("s3", config=make_config(S3_READ_TIMEOUT_SECONDS))
        return _made.s3


def sqs_client() -> SQSClient:
    """Return the process's SQS client."""
    with _lock, aws_failures("Making the SQS client"):
        _made.sqs = _made.sqs or _session().client("sqs", config=make_config(SQS_READ_TIMEOUT_SECONDS))
        return _made.sqs


def ssm_client() -> SSMClient:
    """Return the process's SSM client."""
    with _lock, aws_failures("Making the SSM client"):
        _made.ssm = _made.ssm or _session().client("ssm", config=make_config(SSM_READ_TIMEOUT_SECONDS))
        return _made.ssm


def ssm_client_in(region: str) -> SSMClient:
    """Return a client for a region that the settings name, wherever the environment points."""
    from boto3.session import Session

    with aws_failures("Making the SSM client"):
        return Session(region_name=region).client("ssm", config=make_config(SSM_READ_TIMEOUT_SECONDS))


def make_config(read_timeout_seconds: float) -> Config:
    """Return how a client waits and tries again."""
    from botocore.config import Config

    return Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
        tcp_keepalive=True,
    )


def _session() -> Session:
    # One session for all clients: loading the service definitions is most of what a client costs.
    from boto3.session import Session

    _made.session = _made.session or Session()
    return _made.session
