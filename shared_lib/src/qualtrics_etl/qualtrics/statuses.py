"""What an answer's status means for the message: the one place that turns it into an error.

The HTTP status decides, never `meta.httpStatus`, which can disagree with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite

import orjson

from qualtrics_etl.errors import (
    ConfigurationError,
    ContentRefusedError,
    NotYetError,
    PermanentError,
    QualtricsEtlError,
    RetryableError,
)
from qualtrics_etl.qualtrics.envelope import Envelope
from qualtrics_etl.qualtrics.registry import Endpoint
from qualtrics_etl.qualtrics.transport import Response

MAX_MESSAGE_LENGTH = 300
"""Of Qualtrics' own words in an error, in characters."""

MAX_DELAY_SECONDS = 3_600.0
"""A `Retry-After` beyond this is taken as this: the next call tells."""

THROTTLED_BASE_SECONDS = 8.0
"""First wait after a 429 that names none; each further one is twice as long."""

THROTTLED_LONGEST_SECONDS = 300.0
"""Limits count a minute, so longer waits only leave the budget unused."""

MISSING_CREDENTIALS_CODES = frozenset({"ATP_2", "ATC_1"})
"""Codes of a 400 that means: no credentials arrived.

Observed: 2026-09-22 (`ATP_2`); `ATC_1` is its older text.
"""

CONTENT_STATUSES = frozenset({400, 413, 422})
"""What a request is refused with for what it holds.

Source: Qualtrics API reference, page on errors and status codes (400, and 413 for what is too large).
"""

# Such words are about where a request goes: then each part of it would be refused too.
_ABOUT_THE_PLACE = re.compile(r"mailing[ _-]?list|director(?:y|ies)\b|\b(?:POOL|CG)_|transactionMeta|\bbatch", re.I)
_EMAIL = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")
_LONG_NUMBER = re.compile(r"(?<![\w-])\+?\d(?:[\s./()-]*\d){5,}(?![\w-])")
_WORD = re.compile(r"[^\s,;:.!?'\"()\[\]{}<>=/-]+")
_REMOVED = "<removed>"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known about a call when its answer comes.

    Attributes:
        endpoint: What was called.
        body: What was sent; its values are taken out of error texts where they are personal.
        check: The settings that a refusal points at, in words; `<stage>` stands for the stage.
        secret_names: The secrets that the credentials are made of.
        number: How often the message tried, from 1.
        now: The time, for a `Retry-After` that is a date.
        jitter: 0 to 1, by chance.
    """

    endpoint: Endpoint
    body: bytes | None
    check: str
    secret_names: tuple[str, ...]
    number: int
    now: datetime
    jitter: float


def error_for(response: Response, envelope: Envelope | None, attempt: Attempt) -> QualtricsEtlError:
    """Return the error that a status other than success means.

    Source: Qualtrics API reference, page on errors and status codes.
    """
    envelope = envelope or Envelope({}, {})
    what = f"{attempt.endpoint.name}: {describe(response, envelope, attempt)}"
    request_id, status = envelope.request_id, response.status
    if status == 429:
        return NotYetError(what, delay_seconds=delay_after(response, attempt), request_id=request_id)
    if status == 401 or (status == 400 and envelope.error_code in MISSING_CREDENTIALS_CODES):
        return ConfigurationError(what, remedy=set_secrets(attempt.secret_names), request_id=request_id)
    if 300 <= status < 400:
        remedy = "Check qualtrics.datacenter in config/<stage>.yml: this host does not speak the API."
        return ConfigurationError(what, remedy=remedy, request_id=request_id)
    if status in CONTENT_STATUSES and _is_about_content(envelope):
        return ContentRefusedError(what, remedy=_remedy(status, attempt), request_id=request_id)
    if 400 <= status < 500 and status != 408:
        return PermanentError(what, remedy=_remedy(status, attempt), request_id=request_id)
    return RetryableError(what, call_made=attempt.endpoint.has_effect, request_id=request_id)


def _is_about_content(envelope: Envelope) -> bool:
    """Whether it may be what the request holds that was refused: then a part of it may pass.

    An answer without words may be of somebody between us and Qualtrics, who never looked into it.
    """
    has_words = bool(envelope.error_code or envelope.error_message)
    return has_words and not _ABOUT_THE_PLACE.search(envelope.error_message)


def set_secrets(names: tuple[str, ...]) -> str:
    """Return the remedy for credentials that Qualtrics does not know."""
    commands = " and ".join(f"`make secret NAME={name} STAGE=<stage>`" for name in names)
    them = "it" if len(names) == 1 else "them"
    where = "qualtrics.datacenter in config/<stage>.yml: each data center knows its own only"
    return f"Set {them} anew with {commands}, or check {where}."


def _remedy(status: int, attempt: Attempt) -> str:
    if status == 413:
        return "Lower rows_per_batch of parse_file in workflow.yml."
    rights = " and that the user of the credentials may use it" if status in (403, 404) else ""
    return f"Check {attempt.check or 'the settings of the service in config/<stage>.yml'}{rights}."


def describe(response: Response, envelope: Envelope, attempt: Attempt) -> str:
    """Return status, code and words of an answer, short, and without personal data."""
    body = attempt.body if attempt.endpoint.carries_persons else None
    parts = [f"status {response.status}", envelope.error_code, presentable(envelope.error_message, body)]
    return " ".join(part for part in parts if part)


def presentable(message: str, body: bytes | None = None) -> str:
    """Return Qualtrics' words without control characters and personal data, cut to `MAX_MESSAGE_LENGTH`.

    Args:
        body: What was sent, where it holds personal data: a refusal may echo a name.
    """
    printable = "".join(char if char.isprintable() else " " for char in message[: 4 * MAX_MESSAGE_LENGTH])
    text = _LONG_NUMBER.sub(_REMOVED, _EMAIL.sub(_REMOVED, " ".join(printable.split())))
    if body and text:
        text = _without_sent_values(text, body)
    return text if len(text) <= MAX_MESSAGE_LENGTH else text[: MAX_MESSAGE_LENGTH - 1] + "…"


def _without_sent_values(text: str, body: bytes) -> str:
    """Take out every word that also stands in a value of the body."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    sent = {word.casefold() for value in _values(document) for word in _WORD.findall(value)}
    return _WORD.sub(lambda word: _REMOVED if word[0].casefold() in sent else word[0], text)


def _values(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        for value in document.values():
            yield from _values(value)
    elif isinstance(document, list):
        for value in document:
            yield from _values(value)
    elif isinstance(document, str | int | float) and not isinstance(document, bool):
        yield str(document)


def delay_after(response: Response, attempt: Attempt) -> float:
    """Return how long to wait after a 429: as it says, in seconds or as a date; else longer each time, with jitter."""
    said = retry_after(response, attempt.now)
    if said is not None:
        return said
    longest: float = min(THROTTLED_BASE_SECONDS * 2.0 ** min(attempt.number - 1, 10), THROTTLED_LONGEST_SECONDS)
    return longest * (0.5 + attempt.jitter / 2)


def retry_after(response: Response, now: datetime) -> float | None:
    """Return for how many seconds `Retry-After` says to stay away, within reason; None where it says nothing."""
    said = _retry_after_seconds(response.headers.get("retry-after", "").strip(), now)
    return None if said is None else min(max(said, 1.0), MAX_DELAY_SECONDS)


def _retry_after_seconds(header: str, now: datetime) -> float | None:
    try:
        seconds = float(header)
        return seconds if isfinite(seconds) else None
    except ValueError:
        pass
    from email.utils import parsedate_to_datetime

    try:
        at = parsedate_to_datetime(header)
        return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    except (ValueError, OverflowError):
        return None
