"""The logs of a stage's functions as one stream of readable lines, oldest first."""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from qualtrics_etl.aws.access import StageAccess, stage_failures
from qualtrics_etl.errors import ConfigurationError

FOLLOW_OVERLAP = timedelta(seconds=60)
"""How far each look of `follow` reaches back: lines reach CloudWatch some seconds after their time."""

SHOWN_FIELDS = ("run", "batch", "skipped", "delay_seconds", "receive", "error", "remedy")
"""What is shown of a line beside time, level and message, in this order."""

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

_PLATFORM_TEXT = re.compile(r"(START|END|REPORT|INIT_START|INIT_REPORT|XRAY|EXTENSION|LOGS)\b")
_FAILED_REPORT = re.compile(r"\tStatus: (?!success)(\w+)(?:\tError Type: (\S+))?")
_MEMORY = re.compile(r"Memory Size: (\d+) MB\tMax Memory Used: (\d+) MB")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One event of a log.

    Attributes:
        at: When, UTC.
        message: What the event says, in one line.
        fields: Those of `SHOWN_FIELDS` that it has.
    """

    at: datetime
    service: str
    level: str
    message: str
    fields: Mapping[str, str]

    def text(self) -> str:
        """Return the line as it is shown: time, service, level, message, fields."""
        shown = [f"{name}={_quoted(value)}" for name, value in self.fields.items()]
        return " ".join([f"{self.at:%Y-%m-%d %H:%M:%S}", self.service, self.level, self.message, *shown])


@dataclass(frozen=True, slots=True)
class _Raw:
    """An event as CloudWatch keeps it: its id, its time in milliseconds since 1970, and its text."""

    id: str
    at: int
    text: str


@dataclass(frozen=True, slots=True)
class LogReader:
    """Reads the logs of some services of a stage.

    Attributes:
        services: Whose logs.
        run: Only lines of this run; None for all.
        on_missing: Called with a service that has no log group while others have.
    """

    access: StageAccess
    services: tuple[str, ...]
    run: str | None = None
    on_missing: Callable[[str], None] = lambda service: None

    def read(self, since: datetime) -> Iterator[LogLine]:
        """Yield every line since then, oldest first.

        Raises:
            ConfigurationError: None of the services has a log group: the stage was not deployed.
        """
        for _, line in self._read(since):
            yield line

    def follow(self, since: datetime, wait: Callable[[], None]) -> Iterator[LogLine]:
        """Yield every line since then, and go on with those that come, each once.

        Args:
            wait: Called between two looks; what it raises ends the following.
        """
        seen: dict[str, datetime] = {}
        while True:
            for event, line in self._read(since):
                if event.id not in seen:
                    seen[event.id] = line.at
                    yield line
            since = max([since, *(at - FOLLOW_OVERLAP for at in seen.values())])
            seen = {name: at for name, at in seen.items() if at >= since}
            wait()

    def _read(self, since: datetime) -> Iterator[tuple[_Raw, LogLine]]:
        client, start = self.access.aws.client("logs"), int(since.timestamp() * 1000)
        groups = {service: f"/aws/lambda/{self.access.function_name(service)}" for service in self._present(client)}
        logs = [self._events(client, service, group, start) for service, group in groups.items()]
        for service, event in heapq.merge(*logs, key=lambda each: each[1].at):
            line = parse(service, event.at, event.text)
            if line is not None and (self.run is None or line.fields.get("run") == self.run):
                yield event, line

    def _present(self, client: Any) -> list[str]:
        """Return the services that have a log group."""
        names = {service: f"/aws/lambda/{self.access.function_name(service)}" for service in self.services}
        with stage_failures("Listing the log groups"):
            pages = client.get_paginator("describe_log_groups").paginate(
                logGroupNamePrefix=f"/aws/lambda/{self.access.slug}-{self.access.stage}-"
            )
            found = {group.get("logGroupName") for page in pages for group in page["logGroups"]}
        present = [service for service, name in names.items() if name in found]
        if not present:
            raise self.access.not_deployed(f"log group {next(iter(names.values()))}")
        for service in names.keys() - set(present):
            self.on_missing(service)
        return present

    def _events(self, client: Any, service: str, group: str, start: int) -> Iterator[tuple[str, _Raw]]:
        asked: dict[str, Any] = {"logGroupName": group, "startTime": start}
        if self.run is not None:
            asked["filterPattern"] = f'"{check_run(self.run)}"'
        with stage_failures(f"Reading the log {group}"):
            for page in client.get_paginator("filter_log_events").paginate(**asked):
                # CloudWatch merges the streams of a group, but a page may come in the order of its streams.
                for event in sorted(map(_raw, page["events"]), key=lambda each: each.at):
                    yield service, event


def _raw(event: Mapping[str, Any]) -> _Raw:
    """Take an event as CloudWatch gives it; the emulator gives no id, but a stream, a time and a text."""
    at, text = event["timestamp"], event["message"]
    return _Raw(event.get("eventId") or f"{event.get('logStreamName')} {at} {text}", at, text)


def check_run(run: str) -> str:
    """Return a run's id, which goes into a search pattern.

    Raises:
        ConfigurationError: It is none.
    """
    if not _RUN.fullmatch(run):
        raise ConfigurationError(
            f"{run!r:.60} is not the id of a run.", remedy="It stands in every line of the log: run=..."
        )
    return run


def duration(text: str) -> timedelta:
    """Read how far back: a number and s, m, h or d.

    Raises:
        ConfigurationError: It is none.
    """
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise ConfigurationError(f"{text!r:.40} is no length of time.", remedy="Write 90s, 15m, 2h or 7d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def parse(service: str, at: int, text: str) -> LogLine | None:
    """Read one event; None for what the platform only notes.

    Args:
        at: Its time, milliseconds since 1970.
        text: A line of the function's (JSON, or text where somebody printed), or one of the platform's in either form.

    Source: AWS Lambda developer guide, log formats; the platform's events are those of the telemetry API.
    """
    time = datetime.fromtimestamp(at / 1000, UTC)
    try:
        event = json.loads(text)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        return _plain(service, time, text)
    if str(event.get("type", "")).startswith("platform."):
        told = _platform(event["type"], event.get("record"))
        return LogLine(time, service, "ERROR", told, {}) if told else None
    fields = {name: _one_line(event[name]) for name in SHOWN_FIELDS if event.get(name) not in (None, "")}
    return LogLine(time, service, _one_line(event.get("level", "INFO")), _message(event), fields)


def _message(event: Mapping[str, Any]) -> str:
    """Return what a line says; for an exception that left the function, its class and text."""
    if "errorType" in event and not event.get("message"):
        return _one_line(f"{event['errorType']}: {event.get('errorMessage', '')}")
    return _one_line(event.get("message", ""))


def _platform(kind: str, record: object) -> str | None:
    """Say how a call ended when it did not end well; None for everything else the platform notes."""
    facts = record if isinstance(record, dict) else {}
    if kind not in ("platform.report", "platform.initReport") or facts.get("status", "success") == "success":
        return None
    used = facts.get("metrics", {})
    return _ended(facts["status"], facts.get("errorType", ""), used.get("memorySizeMB"), used.get("maxMemoryUsedMB"))


def _plain(service: str, at: datetime, text: str) -> LogLine | None:
    """Read a line that is no JSON."""
    report = _FAILED_REPORT.search(text)
    memory = _MEMORY.search(text)
    size, used = (int(memory[1]), int(memory[2])) if memory else (None, None)
    if text.startswith("REPORT") and report:
        return LogLine(at, service, "ERROR", _ended(report[1], report[2] or "", size, used), {})
    if not text.strip() or _PLATFORM_TEXT.match(text):
        return None
    is_error = any(words in text for words in ("Task timed out", "Runtime exited", "[ERROR]", "Traceback"))
    return LogLine(at, service, "ERROR" if is_error else "-", _one_line(text), {})


def _ended(status: object, kind: object, size: int | None, used: int | None) -> str:
    why = f" ({_one_line(kind)})" if kind else ""
    if status == "timeout":
        return "The function ran out of time: timeout_seconds in workflow.yml."
    if kind == "Runtime.OutOfMemory" or (size is not None and used is not None and used >= size):
        return f"The function ran out of memory{why}: {used} of {size} MB were used, memory_mb in workflow.yml."
    return f"The function broke off: {_one_line(status)}{why}."


def _one_line(value: object) -> str:
    """Return a value as it can be shown: in one line, and without what a terminal would obey."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    lines = " | ".join(line.strip() for line in text.strip().splitlines())
    return "".join(letter if letter.isprintable() else " " for letter in lines)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r'[\s"]', value) else value
