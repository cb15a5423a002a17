"""What SQS refuses: the limits of a message and of a request, so that the double refuses it too."""

from __future__ import annotations

import re
from datetime import timedelta

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.ports import UNSENDABLE, Outgoing

MAX_MESSAGE_BYTES = 1_048_576
MAX_DELAY_SECONDS = 900
MAX_VISIBILITY_SECONDS = 43_200
MAX_ATTRIBUTES = 10
MAX_RECEIVED = 10
MAX_WAIT_SECONDS = 20
DEDUPLICATION_INTERVAL = timedelta(minutes=5)
"""Source of these limits: Amazon SQS developer guide, the pages on message quotas and on exactly-once processing."""

_ATTRIBUTE_NAME = re.compile(r"(?!(?i:aws|amazon)\.)(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_DEDUPLICATION_ID = re.compile(r"[!-~]{1,128}")


def find_problem(message: Outgoing, *, fifo: bool) -> str | None:
    """Say why SQS refuses a message; None when it takes it.

    Source: Amazon SQS API reference, the page on SendMessage.
    """
    return (
        _delay_problem(message.delay_seconds, fifo=fifo)
        or _deduplication_problem(message.deduplication_id, fifo=fifo)
        or _attribute_problem(message)
        or _content_problem(message)
    )


def check_range(name: str, value: int, lowest: int, highest: int) -> None:
    """Refuse a number that SQS refuses.

    Raises:
        PermanentError: It is out of range.
    """
    if not lowest <= value <= highest:
        raise PermanentError(f"{name} is {value}, and SQS allows {lowest} to {highest}.", remedy="Correct the caller.")


def _delay_problem(seconds: int, *, fifo: bool) -> str | None:
    if fifo and seconds:
        return "a FIFO queue knows no delay of a single message"
    if not 0 <= seconds <= MAX_DELAY_SECONDS:
        return f"a delay of {seconds} seconds is not between 0 and {MAX_DELAY_SECONDS}"
    return None


def _deduplication_problem(identity: str | None, *, fifo: bool) -> str | None:
    if fifo and not _DEDUPLICATION_ID.fullmatch(identity or ""):
        return "a FIFO queue wants a deduplication id of 1 to 128 letters, digits and punctuation marks"
    return None


def _attribute_problem(message: Outgoing) -> str | None:
    if len(message.attributes) > MAX_ATTRIBUTES:
        return f"it has {len(message.attributes)} attributes, and {MAX_ATTRIBUTES} are allowed"
    for name, value in message.attributes.items():
        if not _ATTRIBUTE_NAME.fullmatch(name):
            return f"the attribute name {name[:40]!r} is not allowed"
        if not value:
            return f"the attribute {name} is empty"
    return None


def _content_problem(message: Outgoing) -> str | None:
    if not message.body:
        return "the body is empty"
    if any(UNSENDABLE.search(text) for text in (message.body, *message.attributes.values())):
        return "it holds characters outside the allowed set"
    size = _size(message)
    return f"it has {size} bytes, and {MAX_MESSAGE_BYTES} are allowed" if size > MAX_MESSAGE_BYTES else None


def _size(message: Outgoing) -> int:
    """Count as SQS does: the body, and the name, type and value of each attribute."""
    attributes = sum(len(f"{name}String{value}".encode()) for name, value in message.attributes.items())
    return len(message.body.encode()) + attributes
