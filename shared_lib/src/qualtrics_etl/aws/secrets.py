"""Secrets in SSM parameters, encrypted, kept for a while so that not every message asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from typing_extensions import override

from qualtrics_etl.aws.clients import ssm_client, ssm_client_in
from qualtrics_etl.aws.failures import aws_failures
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.ports import Secrets

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

UNSET = "unset"
"""What Terraform puts into a parameter until somebody sets its value."""

VALUE_BYTES = 4096
"""Longest value. Source: AWS Systems Manager user guide, managing parameter tiers (standard: 4 KB)."""

KEEP_SECONDS = 300
"""How long a value is used before SSM is asked again: a secret set anew reaches warm functions within this time."""


class SsmSecrets(Secrets):
    """The secrets of one stage.

    Args:
        prefix: `/{slug}/{stage}`; secret `name` is the parameter `{prefix}/{name}`.
        client: Another client than the process's own, for tests.
        elapsed: Seconds since some moment, never going back.
    """

    def __init__(
        self, prefix: str, client: SSMClient | None = None, *, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._prefix = prefix.rstrip("/")
        self._given = client
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, str]] = {}

    @override
    def get(self, name: str) -> str:
        with self._lock:
            now = self._elapsed()
            asked_at, value = self._kept.get(name, (0.0, ""))
            if not value or now - asked_at >= KEEP_SECONDS:
                value = self._ask(name)
                self._kept[name] = (now, value)
            return value

    def _ask(self, name: str) -> str:
        parameter = f"{self._prefix}/{name}"
        client = self._given or ssm_client()
        with aws_failures(f"Reading the parameter {parameter}"):
            try:
                value = client.get_parameter(Name=parameter, WithDecryption=True)["Parameter"]["Value"]
            except client.exceptions.ParameterNotFound as exc:
                raise self._missing(name, f"SSM has no parameter {parameter}") from exc
        if value == UNSET:
            raise self._missing(name, f"the parameter {parameter} was never set")
        return value

    def _missing(self, name: str, why: str) -> ConfigurationError:
        stage = self._prefix.rpartition("/")[2]
        return ConfigurationError(
            f"There is no secret {name}: {why}.", remedy=f"Set it: `make secret NAME={name} STAGE={stage}`."
        )


def set_secret(prefix: str, name: str, value: str, *, region: str, client: SSMClient | None = None) -> str:
    """Write a secret's value over the one before; return the parameter's name.

    Raises:
        ConfigurationError: The value is too long for a parameter.
        QualtricsEtlError: AWS refused it, or can't be reached; the text never holds the value.
    """
    parameter = f"{prefix}/{name}"
    size = len(value.encode())
    if size > VALUE_BYTES:
        raise ConfigurationError(
            f"The value has {size} bytes, and a parameter of SSM holds {VALUE_BYTES}; nothing was changed.",
            remedy="Is it the right file? Of keys, Ed25519 and RSA of 4096 bits fit.",
        )
    with aws_failures(f"Setting the parameter {parameter}"):
        (client or ssm_client_in(region)).put_parameter(
            Name=parameter, Value=value, Type="SecureString", Overwrite=True
        )
    return parameter
