"""A scheduled service is started now, by the event that its schedule would send, and its end is told in words."""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from qualtrics_etl.aws.access import StageAccess
from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.functions import Answer, start_service
from qualtrics_etl.errors import ConfigurationError

ACCOUNT = "123456789012"
SERVICE = "fetch_sftp_file"
AT = datetime(2026, 3, 1, 8, 0, 7, tzinfo=UTC)
LOOK = "Look into its log: `make logs STAGE=dev SERVICE=fetch_sftp_file`."

Deploy = Callable[[str], StageAccess]


@pytest.fixture
def deploy(emulator) -> Deploy:
    """Deploy a function of this code to the emulator, under the service's name in a stage of its own."""

    def run(code: str) -> StageAccess:
        aws = AwsAccess("eu-west-1", emulator.url, (ACCOUNT, "test"))
        access = StageAccess(f"acme-{uuid.uuid4().hex[:8]}", "dev", ACCOUNT, aws)
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("handler.py", code)
        aws.client("lambda").create_function(
            FunctionName=access.function_name(SERVICE),
            Runtime="python3.13",
            Role=f"arn:aws:iam::{ACCOUNT}:role/any",
            Handler="handler.handler",
            Timeout=2,
            Code={"ZipFile": package.getvalue()},
        )
        return access

    return run


def start(access: StageAccess) -> Answer:
    """Start the service."""
    return start_service(access, SERVICE, at=AT, timeout_seconds=2)


def test_function_gets_the_event_of_its_schedule(deploy: Deploy) -> None:
    """The event is EventBridge's, with the time to the second: the run's name is made from it."""
    code = (
        "def handler(event, context):\n"
        "    assert event['source'] == 'aws.events' and event['time'] == '2026-03-01T08:00:07Z', event\n"
        "    assert event['detail-type'] == 'Scheduled Event' and event['account'] == '123456789012', event\n"
    )
    assert start(deploy(code)) == Answer()


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (
            "def handler(event, context):\n    raise KeyError('folder')\n",
            # On AWS, the class of the exception stands in the place of the emulator's own word.
            Answer("fetch_sftp_file failed: Runtime.HandlerError: 'folder'", LOOK),
        ),
        (
            "import time\ndef handler(event, context):\n    time.sleep(30)\n",
            Answer("fetch_sftp_file did not end in time.", f"Raise its timeout_seconds in workflow.yml, or: {LOOK}"),
        ),
    ],
)
def test_failure_is_told_in_words(deploy: Deploy, code: str, answer: Answer) -> None:
    """What the function raised, or that it came to no end, and where to look."""
    assert start(deploy(code)) == answer


def test_function_that_is_not_there_names_the_command(emulator) -> None:
    """Before the first deploy the error says what to run."""
    access = StageAccess("never-etl", "dev", ACCOUNT, AwsAccess("eu-west-1", emulator.url, (ACCOUNT, "test")))
    with pytest.raises(ConfigurationError) as caught:
        start(access)
    assert str(caught.value) == (
        "There is no function never-etl-dev-fetch-sftp-file in account 123456789012, eu-west-1: stage dev was not"
        " deployed, or not to its end. Deploy it: `make deploy STAGE=dev`."
    )
