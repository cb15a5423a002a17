"""Events of Qualtrics: believed with their HMAC alone, whatever else is in them."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.channels.response_events import ResponseCompleted, read_response_event, sign_message
from qualtrics_etl.errors import RequestRefusedError

KEY = "the-shared-key-of-the-subscription"
FACTS = {
    "Status": "Complete",
    "SurveyID": "SV_0123456789abcde",
    "ResponseID": "R_0123456789abcde",
    "CompletedDate": "2026-11-30 07:58:25",
    "BrandID": "acme",
}
TOPIC = "acme.surveyengine.completedResponse.SV_0123456789abcde"


def form(message: str | bytes, *, topic: str = TOPIC, key: str = KEY) -> bytes:
    """Return an event as Qualtrics sends it."""
    content = message.encode() if isinstance(message, str) else message
    return urlencode({"Topic": topic, "MSG": content, "HMAC": sign_message(content, key)}).encode()


def test_event_is_read() -> None:
    """A signed event gives survey, response, date and brand; what else Qualtrics tells is left aside."""
    event = read_response_event(form(json.dumps(FACTS | {"RecipientID": "CID_1"})), KEY)
    assert event == ResponseCompleted("SV_0123456789abcde", "R_0123456789abcde", "2026-11-30 07:58:25", "acme")


def test_topic_may_stand_without_the_brand() -> None:
    """The topic is known with and without the brand in front."""
    assert read_response_event(form(json.dumps(FACTS), topic=TOPIC.partition(".")[2]), KEY).brand_id == "acme"


def test_hmac_is_over_the_bytes_of_the_message() -> None:
    """Plus signs, blanks and letters of any alphabet in MSG arrive as they were signed."""
    message = json.dumps(FACTS | {"Name": "Zoë + 1%"}, ensure_ascii=False)
    assert read_response_event(form(message), KEY).response_id == "R_0123456789abcde"


@given(st.integers(0, 10**9))
def test_any_bit_flipped_is_refused(at: int) -> None:
    """One bit changed anywhere in the form, and it is refused, or still says the same."""
    sent = bytearray(form(json.dumps(FACTS)))
    at %= 8 * len(sent)
    sent[at // 8] ^= 1 << at % 8
    try:
        outcome: object = read_response_event(bytes(sent), KEY)
    except RequestRefusedError as error:
        outcome = error.status
    # An escape may be written in small or capital letters: such a change changes nothing.
    assert outcome in (400, 401, read_response_event(form(json.dumps(FACTS)), KEY))


@given(st.binary(max_size=300))
def test_any_body_is_refused_without_the_key(body: bytes) -> None:
    """Whatever comes from somebody without the key is refused, and nothing else happens."""
    with pytest.raises(RequestRefusedError):
        read_response_event(body, KEY)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_any_signed_message_is_read_or_refused(content: object) -> None:
    """Even with the right HMAC, what is no event of a completed response is refused in words."""
    with pytest.raises(RequestRefusedError) as caught:
        read_response_event(form(json.dumps(content)), KEY)
    assert (caught.value.status, bool(caught.value.remedy)) == (400, True)
