"""Events that Qualtrics did not send, or not for a completed response. Expected: 401, 400 or 413, and words."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from qualtrics_etl.channels.response_events import MAX_EVENT_BYTES, read_response_event, sign_message
from qualtrics_etl.errors import RequestRefusedError

from .case import Act, Arena, Case

KEY = "the-shared-key-of-the-subscription"
FACTS: dict[str, Any] = {
    "Status": "Complete",
    "SurveyID": "SV_0123456789abcde",
    "ResponseID": "R_0123456789abcde",
    "CompletedDate": "2026-11-22 07:58:25",
    "BrandID": "acme",
}
TOPIC = "acme.surveyengine.completedResponse.SV_0123456789abcde"


def event(name: str, body: bytes, *says: str) -> Case:
    """Return an event that is refused."""

    def act(_: Arena) -> object:
        return read_response_event(body, KEY)

    keep: Act = act
    return Case(f"event_{name}", keep, RequestRefusedError, says)


def form(message: bytes, *, topic: str = TOPIC, key: str = KEY) -> bytes:
    """Return a signed event."""
    return urlencode({"Topic": topic, "MSG": message, "HMAC": sign_message(message, key)}).encode()


def signed(name: str, message: bytes, *says: str) -> Case:
    """Return a refused event of somebody who has the key."""
    return event(name, form(message), *says)


def changed(name: str, field: str, value: object) -> Case:
    """Return a signed event with one field of another form."""
    return signed(name, json.dumps(FACTS | {field: value}).encode(), f"{field} is missing, or none")


MESSAGE = json.dumps(FACTS).encode()
DIGEST = sign_message(MESSAGE, KEY)

CASES = [
    event("form_empty", b"", "has no MSG with an HMAC"),
    event("form_without_an_hmac", urlencode({"Topic": TOPIC, "MSG": MESSAGE}).encode(), "Subscribe with a `sharedKey`"),
    event("form_of_a_subscription_without_a_key", urlencode({"Topic": TOPIC, **FACTS}).encode(), "anybody could"),
    event("hmac_of_another_key", form(MESSAGE, key="another key"), "HMAC does not fit"),
    event("hmac_in_capitals", urlencode({"MSG": MESSAGE, "HMAC": DIGEST.upper()}).encode(), "HMAC does not fit"),
    event("hmac_cut_off", urlencode({"MSG": MESSAGE, "HMAC": DIGEST[:-1]}).encode(), "HMAC does not fit"),
    event("hmac_of_another_message", urlencode({"MSG": b"{}", "HMAC": DIGEST}).encode(), "HMAC does not fit"),
    event("message_twice", form(MESSAGE) + b"&MSG=%7B%7D", "a field twice"),
    event("thousand_fields", b"&".join(b"f%d=" % number for number in range(1000)), "more than 20 fields"),
    event("too_large", b"x" * (MAX_EVENT_BYTES + 1), f"larger than {MAX_EVENT_BYTES} bytes"),
    event("topic_of_another_survey", form(MESSAGE, topic=TOPIC[:-1] + "x"), "Topic is not that of its MSG"),
    event("topic_of_another_brand", form(MESSAGE, topic="x" + TOPIC), "Topic is not that of its MSG"),
    signed("message_encrypted", b"U2FsdGVkX18xMjM0NTY3ODkwMTIzNDU2Nzg5MA==", "encrypted", "`encrypt: false`"),
    signed("message_no_json", b"{", "MSG is not JSON"),
    signed("message_not_utf8", b"{\xff}", "MSG is not JSON"),
    signed("message_nested_without_end", b"[" * 15_000, "MSG is not JSON"),
    signed("message_number_without_end", b'{"a": ' + b"9" * 10_000 + b"}", "MSG is not JSON"),
    signed("message_key_twice", b'{"Status": "Complete", "Status": "Complete"}', "MSG is not JSON"),
    signed("message_list", b"[1]", "MSG is not an object"),
    signed("message_of_a_partial_response", json.dumps(FACTS | {"Status": "Partial"}).encode(), "Status is not"),
    changed("survey_that_climbs", "SurveyID", "SV_../../x"),
    changed("survey_without_end", "SurveyID", "SV_" + "a" * 1000),
    changed("response_number", "ResponseID", 5),
    changed("response_with_a_line_feed", "ResponseID", "R_0123456789abcde\n"),
    changed("date_that_is_none", "CompletedDate", "2026-02-30 07:58:25"),
    changed("date_of_another_form", "CompletedDate", "yesterday"),
    changed("brand_that_climbs", "BrandID", "../acme"),
]
