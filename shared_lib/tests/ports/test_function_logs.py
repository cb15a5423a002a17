"""Logs of functions as a person reads them: merged, oldest first, one line an event."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qualtrics_etl.aws.access import StageAccess
from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.logs import LogReader, duration, parse
from qualtrics_etl.errors import ConfigurationError

ACCOUNT = "123456789012"
NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(hours=5)
RUN = "acme-etl-0123456789ab"


class Logs:
    """Log groups of two services."""

    def __init__(self, aws: AwsAccess) -> None:
        self.access = StageAccess(f"acme-{uuid.uuid4().hex[:8]}", "dev", ACCOUNT, aws)
        self.client = aws.client("logs")

    def group(self, service: str) -> str:
        """Return the name of a service's log group."""
        return f"/aws/lambda/{self.access.function_name(service)}"

    def write(self, service: str, *events: tuple[datetime, str | dict[str, Any]], stream: str = "one") -> None:
        """Write events into a stream of a service, made where it is not there."""
        where = {"logGroupName": self.group(service), "logStreamName": stream}
        for make, name in ((self.client.create_log_group, "logGroupName"), (self.client.create_log_stream, None)):
            with contextlib.suppress(self.client.exceptions.ResourceAlreadyExistsException):
                make(**({name: where[name]} if name else where))
        texts = [(at, text if isinstance(text, str) else json.dumps(text)) for at, text in events]
        self.client.put_log_events(
            **where, logEvents=[{"timestamp": int(at.timestamp() * 1000), "message": text} for at, text in texts]
        )

    def reader(self, *services: str, run: str | None = None, missing: list[str] | None = None) -> LogReader:
        """Return a reader of these services."""
        return LogReader(self.access, services, run, on_missing=(missing if missing is not None else []).append)


@pytest.fixture(params=["moto", "ministack"])
def logs(request: pytest.FixtureRequest) -> Iterator[Logs]:
    """Logs on each imitation of AWS."""
    if request.param == "ministack":
        yield Logs(AwsAccess("eu-west-1", request.getfixturevalue("emulator").url, (ACCOUNT, "test")))
        return
    import moto

    with moto.mock_aws():
        yield Logs(AwsAccess("eu-west-1", None, (ACCOUNT, "test")))


def event(message: str, **facts: object) -> dict[str, Any]:
    """Return a line as Lambda's JSON format writes it."""
    at = {"timestamp": "2026-03-01T08:00:00Z", "level": "INFO", "logger": "qualtrics_etl", "requestId": "r-1"}
    return at | {"message": message, "service": "parse_file"} | facts


def test_services_are_merged_by_time(logs: Logs) -> None:
    """Lines of all services and streams come oldest first, whichever was written first."""
    logs.write("b", (NOW - timedelta(seconds=10), event("second")), (NOW - timedelta(seconds=4), event("fourth")))
    logs.write("a", (NOW - timedelta(seconds=20), event("first")), (NOW - timedelta(seconds=2), event("fifth")))
    logs.write("a", (NOW - timedelta(seconds=6), event("third")), stream="two")
    lines = list(logs.reader("a", "b").read(LONG_AGO))
    assert [(line.service, line.message) for line in lines] == [
        ("a", "first"),
        ("b", "second"),
        ("a", "third"),
        ("b", "fourth"),
        ("a", "fifth"),
    ]


def test_only_the_time_that_was_asked_for(logs: Logs) -> None:
    """What is older is left out."""
    logs.write("a", (NOW - timedelta(minutes=20), event("old")), (NOW - timedelta(minutes=10), event("new")))
    assert [line.message for line in logs.reader("a").read(NOW - timedelta(minutes=15))] == ["new"]


def test_only_the_run_that_was_asked_for(logs: Logs) -> None:
    """With a run only its lines are shown, and none that merely mention it."""
    logs.write(
        "a",
        (NOW - timedelta(seconds=3), event("step_done", run=RUN, batch="1")),
        (NOW - timedelta(seconds=2), event("step_done", run=f"{RUN}c", batch="2")),
        (NOW - timedelta(seconds=1), event(f"of {RUN}", run="another")),
    )
    assert [line.fields["batch"] for line in logs.reader("a", run=RUN).read(LONG_AGO)] == ["1"]


def test_more_than_a_page_is_read(logs: Logs) -> None:
    """CloudWatch answers at most 10,000 events at once; all are shown."""
    for start in (0, 5000, 10000):
        at = NOW - timedelta(seconds=100 - start // 1000)
        logs.write("a", *((at, event(str(start + number))) for number in range(5000 if start < 10000 else 10)))
    messages = [line.message for line in logs.reader("a").read(LONG_AGO)]
    limit = 10000 if "127.0.0.1" in str(logs.access.aws.endpoint_url) else 10010  # the emulator knows no second page
    assert messages[:limit] == [str(number) for number in range(limit)]


def test_service_without_log_is_named_and_stage_without_any_is_refused(logs: Logs) -> None:
    """A new service that is not deployed yet is a note; when nothing is there, the command that mends it is named."""
    logs.write("a", (NOW, event("here")))
    missing: list[str] = []
    assert [line.message for line in logs.reader("a", "b", missing=missing).read(LONG_AGO)] == ["here"]
    assert missing == ["b"]
    with pytest.raises(ConfigurationError, match="make deploy STAGE=dev"):
        list(logs.reader("b").read(LONG_AGO))


def test_following_shows_each_line_once(logs: Logs) -> None:
    """Lines that come later are shown when they come, also such as arrive late; none is shown twice."""
    logs.write("a", (NOW - timedelta(seconds=30), event("first")))
    steps = [
        lambda: logs.write("a", (NOW - timedelta(seconds=20), event("second"))),
        lambda: logs.write("a", (NOW - timedelta(seconds=25), event("late")), stream="two"),
    ]

    def wait() -> None:
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    lines, shown = logs.reader("a").follow(LONG_AGO, wait), []
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            shown.append(next(lines).message)
    assert shown == ["first", "second", "late"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            json.dumps(
                event("step_dead_lettered", level="ERROR", run=RUN, batch="7", error="It broke.", remedy="Mend")
            ),
            f'parse_file ERROR step_dead_lettered run={RUN} batch=7 error="It broke." remedy=Mend',
        ),
        (
            json.dumps({"level": "ERROR", "errorType": "KeyError", "errorMessage": "'x'", "stackTrace": ["a", "b"]}),
            "parse_file ERROR KeyError: 'x'",
        ),
        (
            json.dumps({"type": "platform.report", "record": {"requestId": "r", "status": "timeout", "metrics": {}}}),
            "parse_file ERROR The function ran out of time: timeout_seconds in workflow.yml.",
        ),
        (
            json.dumps(
                {
                    "type": "platform.report",
                    "record": {
                        "status": "error",
                        "errorType": "Runtime.OutOfMemory",
                        "metrics": {"memorySizeMB": 256, "maxMemoryUsedMB": 256},
                    },
                }
            ),
            (
                "parse_file ERROR The function ran out of memory (Runtime.OutOfMemory): 256 of 256 MB were used,"
                " memory_mb in workflow.yml."
            ),
        ),
        (
            json.dumps({"type": "platform.report", "record": {"status": "error", "errorType": "Runtime.ExitError"}}),
            "parse_file ERROR The function broke off: error (Runtime.ExitError).",
        ),
        (
            "REPORT RequestId: r\tDuration: 3000 ms\tMemory Size: 256 MB\tMax Memory Used: 90 MB\tStatus: timeout",
            "parse_file ERROR The function ran out of time: timeout_seconds in workflow.yml.",
        ),
        (
            "2026-03-01 r Task timed out after 3.00 seconds",
            "parse_file ERROR 2026-03-01 r Task timed out after 3.00 seconds",
        ),
        ("printed\n  in two lines\x1b[31m\n", "parse_file - printed | in two lines [31m"),
        ('"only a text"', 'parse_file - "only a text"'),
    ],
)
def test_each_kind_of_line_is_readable(text: str, shown: str) -> None:
    """Lines of the functions, errors that left them, and what the platform says of a bad end, each in one line."""
    line = parse("parse_file", 1_772_352_000_000, text)
    assert line is not None
    assert line.text() == f"2026-03-01 08:00:00 {shown}"


@pytest.mark.parametrize(
    "text",
    [
        "START RequestId: r Version: $LATEST",
        "END RequestId: r",
        "INIT_START Runtime Version: python:3.13",
        "REPORT RequestId: r\tDuration: 3 ms\tBilled Duration: 3 ms\tMemory Size: 256 MB\tMax Memory Used: 90 MB",
        json.dumps({"type": "platform.start", "record": {"requestId": "r"}}),
        json.dumps({"type": "platform.report", "record": {"requestId": "r", "status": "success"}}),
        json.dumps({"type": "platform.runtimeDone", "record": {"status": "timeout"}}),
        "\n",
    ],
)
def test_what_the_platform_only_notes_is_left_out(text: str) -> None:
    """Beginnings, ends and reports of good calls are no news; a bad end is told once, by its report."""
    assert parse("parse_file", 0, text) is None


def test_lengths_of_time() -> None:
    """Seconds, minutes, hours and days are understood, and nothing else."""
    found = [duration(text) for text in ("90s", "15m", "2h", "7d")]
    assert found == [timedelta(seconds=90), timedelta(minutes=15), timedelta(hours=2), timedelta(days=7)]
    for text in ("", "15", "m", "1.5h", "15 m", "-1h"):
        with pytest.raises(ConfigurationError, match="no length of time"):
            duration(text)
