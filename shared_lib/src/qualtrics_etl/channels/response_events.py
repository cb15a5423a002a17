"""What Qualtrics tells of a completed response: believed only with its HMAC, and read only then.

    Topic=<brand>.surveyengine.completedResponse.SV_...&MSG=<JSON>&HMAC=<hex>

An event has no time that its sender vouches for (`CompletedDate` is when the person finished), so no window can keep a
repeat out. None is needed: the response's id makes the run, and an event that comes twice is the same run.

Source: Qualtrics API, event subscriptions with a shared key (HMAC-SHA512 of the MSG bytes, in small hex digits, as a
form field). Observed: the fields of MSG, in clients that read them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from qualtrics_etl.errors import RequestRefusedError

MAX_EVENT_BYTES = 65_536
MAX_FIELDS = 20
TOPIC = "surveyengine.completedResponse"
COMPLETE = "Complete"

_FORMS: Mapping[str, re.Pattern[str]] = {
    "SurveyID": re.compile(r"SV_[0-9A-Za-z]{1,40}"),
    "ResponseID": re.compile(r"R_[0-9A-Za-z]{1,40}"),
    "CompletedDate": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"),
    "BrandID": re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,63}"),
}
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]+={0,2}\s*")
_RESEND = "It is not what Qualtrics sends for a completed response: look who sent it."


@dataclass(frozen=True, slots=True)
class ResponseCompleted:
    """Somebody finished a survey.

    Attributes:
        survey_id: `SV_...`.
        response_id: `R_...`: what the run is made from, so that a repeat is the same run.
        completed_date: `YYYY-MM-DD hh:mm:ss`, as Qualtrics gives it: in which time zone is not documented.
        brand_id: Whose response it is.
    """

    survey_id: str
    response_id: str
    completed_date: str
    brand_id: str


def read_response_event(body: bytes, shared_key: str) -> ResponseCompleted:
    """Check an event, then read it.

    Args:
        body: The form, as it was sent.
        shared_key: The subscription's `sharedKey`.

    Raises:
        RequestRefusedError: 401 where the HMAC is missing or does not fit; 413 where it is too large; else 400.
    """
    fields = _read_form(body)
    message = fields.get(b"MSG", b"")
    _check_hmac(message, fields.get(b"HMAC", b""), shared_key)
    event = _read_message(message)
    _check_topic(fields.get(b"Topic", b""), event)
    return event


def sign_message(message: bytes, shared_key: str) -> str:
    """Return the HMAC that Qualtrics sends along with a message."""
    return hmac.new(shared_key.encode(), message, hashlib.sha512).hexdigest()


def _read_form(body: bytes) -> dict[bytes, bytes]:
    """Return the fields, each as the bytes that were sent: the HMAC is over bytes, not over text."""
    if len(body) > MAX_EVENT_BYTES:
        raise RequestRefusedError(f"The event is larger than {MAX_EVENT_BYTES} bytes.", status=413, remedy=_RESEND)
    parts = body.split(b"&", MAX_FIELDS)
    if len(parts) > MAX_FIELDS:
        raise RequestRefusedError(f"The event has more than {MAX_FIELDS} fields.", status=400, remedy=_RESEND)
    fields: dict[bytes, bytes] = {}
    for part in parts:
        name, _, value = part.partition(b"=")
        if name in fields:
            raise RequestRefusedError("The event has a field twice.", status=400, remedy=_RESEND)
        fields[name] = unquote_to_bytes(value.replace(b"+", b" "))
    return fields


def _check_hmac(message: bytes, given: bytes, shared_key: str) -> None:
    if not message or not given:
        raise RequestRefusedError(
            "The event has no MSG with an HMAC: anybody could have sent it.",
            status=401,
            remedy="Subscribe with a `sharedKey`: Qualtrics then signs its events.",
        )
    if not shared_key or not hmac.compare_digest(given, sign_message(message, shared_key).encode()):
        raise RequestRefusedError(
            "The event's HMAC does not fit its MSG.",
            status=401,
            remedy="Set the secret to the `sharedKey` of the subscription, and subscribe with `encrypt: false`.",
        )


def _read_message(message: bytes) -> ResponseCompleted:
    try:
        raw: Any = json.loads(message, object_pairs_hook=_once)
    except (ValueError, RecursionError) as exc:
        if _BASE64.fullmatch(message):
            raise RequestRefusedError(
                "The event's MSG is encrypted.",
                status=400,
                remedy="Subscribe with `encrypt: false`: MSG is then JSON, and HTTPS keeps it from others.",
            ) from exc
        raise RequestRefusedError("The event's MSG is not JSON.", status=400, remedy=_RESEND) from exc
    if not isinstance(raw, dict):
        raise RequestRefusedError("The event's MSG is not an object.", status=400, remedy=_RESEND)
    if raw.get("Status") != COMPLETE:
        raise RequestRefusedError(
            f"The event's Status is not {COMPLETE}.",
            status=400,
            field="Status",
            remedy=f"Subscribe to `{TOPIC}`, not to partial responses.",
        )
    for name, form in _FORMS.items():
        if not isinstance(raw.get(name), str) or not form.fullmatch(raw[name]):
            raise _malformed(name)
    try:
        datetime.fromisoformat(raw["CompletedDate"])
    except ValueError as exc:
        raise _malformed("CompletedDate") from exc
    return ResponseCompleted(raw["SurveyID"], raw["ResponseID"], raw["CompletedDate"], raw["BrandID"])


def _check_topic(topic: bytes, event: ResponseCompleted) -> None:
    """Refuse a topic of something else: it stands outside of what the HMAC vouches for.

    Observed: the brand in front of a delivered topic, in clients that read it.
    """
    bare = f"{TOPIC}.{event.survey_id}"
    if topic.decode("utf-8", "replace") not in (bare, f"{event.brand_id}.{bare}"):
        raise RequestRefusedError(
            "The event's Topic is not that of its MSG.", status=400, field="Topic", remedy=_RESEND
        )


def _malformed(name: str) -> RequestRefusedError:
    return RequestRefusedError(f"The event's {name} is missing, or none.", status=400, field=name, remedy=_RESEND)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Read an object in which no key stands twice: which of the two was meant, nobody knows."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
