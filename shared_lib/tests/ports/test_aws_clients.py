"""boto3 is loaded when it is first used, and what it raises is known."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from qualtrics_etl.aws.clients import make_config
from qualtrics_etl.aws.failures import translate
from qualtrics_etl.errors import ConfigurationError, PermanentError, RetryableError

USE = """
import json, sys
from qualtrics_etl.aws.objects import S3Objects
from qualtrics_etl.aws.queues import SqsQueues
from qualtrics_etl.aws.secrets import SsmSecrets
objects, secrets = S3Objects("no-such-bucket-here"), SsmSecrets("/acme/dev")
queue = SqsQueues({"step": "http://127.0.0.1/123456789012/step"}, {}).of("step")
before = sorted({"boto3", "botocore"} & sys.modules.keys())
said = []
for act in (lambda: objects.put("k", b""), lambda: queue.receive(), lambda: secrets.get("token")):
    try:
        act()
    except Exception as exc:
        said.append(f"{type(exc).__name__}: {exc.what.partition(' (AWS request')[0]}")
print(json.dumps([before, said]))
"""


def test_boto3_is_loaded_when_it_is_first_used(emulator) -> None:
    """A function that only answers a look pays nothing for AWS; then clients come from the environment alone."""
    done = _run(AWS_ENDPOINT_URL=emulator.url, AWS_DEFAULT_REGION="eu-west-1", **_KEYS)

    loaded_before, said = done
    assert loaded_before == []
    assert [text.partition(", ")[0] for text in said] == [
        "ConfigurationError: Writing s3://no-such-bucket-here/k failed: NoSuchBucket",
        "ConfigurationError: Receiving from step failed: AWS.SimpleQueueService.NonExistentQueue",
        "ConfigurationError: There is no secret token: SSM has no parameter /acme/dev/token.",
    ]


def test_missing_region_is_a_configuration_error() -> None:
    """Without a region nothing is tried, and the error says who was about to ask."""
    _, said = _run(**_KEYS)

    assert said[1:] == [
        "ConfigurationError: Making the SQS client failed: You must specify a region.",
        "ConfigurationError: Making the SSM client failed: You must specify a region.",
    ]


def test_every_connection_error_of_botocore_is_retryable() -> None:
    """Whatever goes wrong on the way, now or in a newer botocore, the message is delivered again."""
    from botocore import exceptions

    kinds = [*_below(exceptions.HTTPClientError), *_below(exceptions.ConnectionError)]
    made = [kind(error="e", endpoint_url="u", proxy_url="p") for kind in kinds]

    assert len(kinds) > 5
    assert {type(translate(exc, "Reading")) for exc in made} == {RetryableError}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("NoCredentialsError", ConfigurationError), ("ParamValidationError", PermanentError)],
)
def test_error_before_any_request_is_sorted(name: str, expected: type[Exception]) -> None:
    """What boto3 refuses by itself is a setting or the caller's fault, and no retry helps."""
    from botocore import exceptions

    assert type(translate(getattr(exceptions, name)(report="r"), "Reading")) is expected


def test_foreign_error_is_not_ours_to_translate() -> None:
    """A fault in the code stays what it is."""
    assert translate(KeyError("x"), "Reading") is None


def test_clients_wait_and_retry_as_decided() -> None:
    """Time-outs and retries are ours, not whatever boto3 has as default."""
    config = make_config(15)

    assert (config.connect_timeout, config.read_timeout, config.retries) == (
        3,
        15,
        {"mode": "standard", "total_max_attempts": 3},
    )


_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_CONFIG_FILE": "/dev/null"}


def _run(**environment: str) -> list[list[str]]:
    done = subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _below(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in _below(child))]
