"""What every answer is wrapped in, and a typed look into it.

`read_envelope` takes any bytes and never raises; a `Record` raises one of our errors for what is missing, so that no
bare dict travels further.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite

import orjson

from qualtrics_etl.errors import RetryableError
from qualtrics_etl.qualtrics.registry import ID

MAX_REQUEST_ID_LENGTH = 100

MAX_COUNT = 2**53 - 1
"""Largest whole number that JSON carries exactly."""

_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_.:-]")


@dataclass(frozen=True, slots=True)
class Envelope:
    """An answer's parts. Any of them may be missing, whatever the status.

    Attributes:
        document: The whole; what lies beside `result` (a skip token) is looked up here.
        result: `result`, or the plural that the import report uses; empty where there is none.
        request_id: Qualtrics' id of the request, for its support; None where it gave none.
        error_code: Its code, as in `RP_9`; empty where it gave none.
        error_message: Its words, unchanged: they may echo what was sent.
        notice: A remark on a call that went well, as that it was passed on to another data center.

    Source: Qualtrics API reference, page on responses.
    Observed: 2016-2025, recorded exchanges (a missing request id, `results`, the old error shape).
    """

    document: Mapping[str, object] = field(repr=False)
    result: Mapping[str, object] = field(repr=False)
    request_id: str | None = None
    error_code: str = ""
    error_message: str = field(default="", repr=False)
    notice: str = ""


def read_envelope(body: bytes) -> Envelope | None:
    """Read an answer; None when it is not JSON, or not of the shape that Qualtrics answers in."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or not document.keys() & {"result", "results", "meta"}:
        return None
    meta = _object(document.get("meta"))
    # Some old services put the error into meta itself.
    error = _object(meta.get("error")) or meta
    return Envelope(
        document=document,
        result=_object(document.get("result")) or _object(document.get("results")),
        request_id=_NOT_IN_AN_ID.sub("", _text(meta.get("requestId")))[:MAX_REQUEST_ID_LENGTH] or None,
        error_code=_NOT_IN_AN_ID.sub("", _text(error.get("errorCode") or error.get("internalErrorCode")))[:60],
        error_message=_text(error.get("errorMessage")),
        notice=_text(meta.get("notice")),
    )


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Record:
    """A typed look into a JSON object that Qualtrics answered.

    Attributes:
        content: The object; may hold personal data.
        where: The endpoint's name, for errors.
        call_made: What an error says about the call that this is the answer to.
        request_id: Qualtrics' id of the request.
    """

    content: Mapping[str, object] = field(repr=False)
    where: str = ""
    call_made: bool = False
    request_id: str | None = None

    def text(self, *keys: str) -> str:
        """Return the first of these that is a text with something in it.

        Raises:
            RetryableError: None of them is: the answer is not what the reference promises.
        """
        for key in keys:
            value = self.content.get(key)
            if isinstance(value, str) and value.strip():
                return value
        raise self.malformed(f"has no {' or '.join(keys)}")

    def identifier(self, *keys: str) -> str:
        """Return the first of these that is a text, if it looks like an id.

        An id is stored, logged, and put into the paths of later calls.

        Raises:
            RetryableError: None of them is a text, or it holds what no id holds.
        """
        text = self.text(*keys)
        if not ID.fullmatch(text):
            raise self.malformed(f"has in {' or '.join(keys)} what is not an id")
        return text

    def text_or_none(self, key: str) -> str | None:
        """Return a text; None where it is missing, null, or of another type."""
        value = self.content.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> float:
        """Return a number, also when it is written as a text.

        Raises:
            RetryableError: There is none.
        """
        number = self.number_or_none(key)
        if number is None:
            raise self.malformed(f"has no number {key}")
        return number

    def number_or_none(self, key: str) -> float | None:
        """Return a number, also when it is written as a text; None where there is none."""
        return _number(self.content.get(key))

    def count(self, key: str) -> int:
        """Return a count, 0 where it is missing.

        Raises:
            RetryableError: It is below 0, or larger than a count can be: sums with it would not balance.
        """
        number = self.number_or_none(key) or 0
        if not 0 <= number <= MAX_COUNT:
            raise self.malformed(f"has a {key} that is no count")
        return int(number)

    def flag(self, key: str) -> bool:
        """Return whether it is true; some services write `"true"`."""
        return str(self.content.get(key)).casefold() == "true"

    def time_or_none(self, key: str) -> datetime | None:
        """Return a time in UTC, from milliseconds since 1970 or from ISO 8601: endpoints differ."""
        value = self.content.get(key)
        try:
            if isinstance(value, str) and not value.isdigit():
                time = datetime.fromisoformat(value)
                return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
            milliseconds = _number(value)
            return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return None

    def record(self, key: str) -> Record:
        """Return the object under a key, empty where there is none."""
        return self._inside(_object(self.content.get(key)))

    def records(self, key: str) -> Iterator[Record]:
        """Yield the objects of a list.

        Raises:
            RetryableError: There is no such list, or it holds something else.
        """
        for item in self.items(key):
            if not isinstance(item, dict):
                raise self.malformed(f"holds in {key} what is not an object")
            yield self._inside(item)

    def items(self, key: str) -> list[object]:
        """Return a list as it is.

        Raises:
            RetryableError: There is none.
        """
        value = self.content.get(key)
        if not isinstance(value, list):
            raise self.malformed(f"has no list {key}")
        return value

    def malformed(self, why: str) -> RetryableError:
        """Build the error for an answer that breaks the reference's promise."""
        what = f"{self.where}: the answer of Qualtrics {why}."
        return RetryableError(what, call_made=self.call_made, request_id=self.request_id)

    def _inside(self, content: Mapping[str, object]) -> Record:
        return Record(content, self.where, self.call_made, self.request_id)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None
