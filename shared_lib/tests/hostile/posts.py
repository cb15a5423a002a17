"""POSTs without the secret, or with it and nonsense. Expected: a status and words; nothing is kept, no run begins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from qualtrics_etl.channels.http_requests import MAX_BODY_BYTES, http_event
from qualtrics_etl.channels.signatures import SignedPost, post_headers

from .case import Act, Arena, Case

CONTENT = b"email\nana@client.example\n"
KEY = "contacts-2026-11-22"
WRONG_SECRET = "w" * 40
DIGITS = "0" * 64
EPOCH = datetime.fromtimestamp(0, UTC)

Change = Callable[[dict[str, Any]], object]


def posted(change: Change, *, content: bytes = CONTENT, key: str = KEY, name: str = "contacts.csv") -> Act:
    """POST a well-signed content, with the event changed on its way; nothing may be kept or sent."""

    def act(arena: Arena) -> object:
        poster = arena.poster
        event = http_event("POST", "/receive_post", poster.headers(content, key, name=name), content)
        change(event)
        status, answer = poster.send(event) or (0, {})
        place = arena.place
        assert (place.keys(""), place.waiting("receive_post"), place.letters("receive_post")) == ([], [], [])
        assert answer["remedy"]
        return f"{status}: {answer['error']}"

    return act


def header(name: str, value: str | None) -> Change:
    """Set a header, or take it away."""

    def change(event: dict[str, Any]) -> None:
        event["headers"].pop(name, None)
        if value is not None:
            event["headers"][name] = value

    return change


def unsigned(name: str, value: str | None, *says: str) -> Case:
    """Return a POST whose signature header is something else."""
    return Case(f"post_{name}", posted(header("x-signature", value)), says=("401: ", *says))


def signed(name: str, /, *says: str, **post: Any) -> Case:
    """Return a POST of somebody who has the secret."""
    return Case(f"post_{name}", posted(lambda event: None, **post), says=says)


def with_wrong_secret(event: dict[str, Any]) -> None:
    """Sign with another secret, at the right time."""
    time = event["headers"]["x-signature"].partition(",")[0]
    other = post_headers(SignedPost("receive_post", KEY, "contacts.csv", CONTENT), WRONG_SECRET, EPOCH)
    event["headers"]["x-signature"] = f"{time},{other['X-Signature'].partition(',')[2]}"


def doubled(event: dict[str, Any]) -> None:
    """Send the signature twice, as an HTTP API joins the two."""
    event["headers"]["x-signature"] += "," + event["headers"]["x-signature"]


def in_two_cases(event: dict[str, Any]) -> None:
    """Give the key twice, in small and in capital letters."""
    event["headers"]["IDEMPOTENCY-KEY"] = "another-key-2026"


FORM = "another form than is documented"

CASES = [
    unsigned("without_a_signature", None, "has no `X-Signature`"),
    unsigned("signature_empty", "", "has no `X-Signature`"),
    unsigned("signature_without_a_time", f"v1={DIGITS}", FORM),
    unsigned("signature_of_a_scheme_of_old", f"t=1796040000,v0={DIGITS}", FORM),
    unsigned("signature_in_capitals", f"t=1796040000,v1={'A' * 64}", FORM),
    unsigned("signature_of_a_negative_time", f"t=-1,v1={DIGITS}", FORM),
    unsigned("signature_of_a_time_in_other_digits", f"t=\u0661\u0662,v1={DIGITS}", FORM),
    unsigned("signature_of_a_time_without_end", f"t={'9' * 5000},v1={DIGITS}", FORM),
    unsigned("signature_of_the_year_zero", f"t=0,v1={DIGITS}", "seconds before ours; 300 are allowed"),
    unsigned("signature_of_far_ahead", f"t=999999999999,v1={DIGITS}", "seconds after ours; 300 are allowed"),
    unsigned("signatures_by_the_hundred", "t=1796040000" + f",v1={DIGITS}" * 100, FORM),
    unsigned("signature_with_a_line_feed", f"t=1796040000,v1={DIGITS}\n", FORM),
    Case("post_signature_twice", posted(doubled), says=("401: ", FORM)),
    Case("post_signed_with_another_secret", posted(with_wrong_secret), says=("401: The signature does not fit",)),
    Case("post_body_exchanged", posted(lambda event: event.update(body="eA==")), says=("401: ", "does not fit")),
    Case("post_key_exchanged", posted(header("idempotency-key", "another-key-2026")), says=("401: ", "does not fit")),
    Case("post_name_exchanged", posted(header("x-file-name", "x.csv")), says=("401: ", "does not fit")),
    Case("post_key_in_two_cases", posted(in_two_cases), says=("431: The request has a header twice",)),
    Case(
        "post_of_a_thousand_headers",
        posted(lambda event: event["headers"].update({f"x-{number}": "" for number in range(1000)})),
        says=("431: The request has more than 100 headers",),
    ),
    Case(
        "post_of_endless_headers",
        posted(header("x-filler", "x" * 20_000)),
        says=("431: The request has more than 10240 characters",),
    ),
    Case("post_headers_no_object", posted(lambda event: event.update(headers=["x"])), says=("431: ",)),
    Case("post_header_no_text", posted(lambda event: event["headers"].update(x=1)), says=("431: ", "no text")),
    Case("post_by_get", posted(lambda event: event["requestContext"]["http"].update(method="GET")), says=("405: ",)),
    Case("post_without_a_method", posted(lambda event: event["requestContext"]["http"].clear()), says=("400: ",)),
    Case("post_body_no_base64", posted(lambda event: event.update(body="***")), says=("400: The body did not arrive",)),
    Case(
        "post_body_no_text", posted(lambda event: event.update(body={"a": 1})), says=("400: The body did not arrive",)
    ),
    Case(
        "post_body_half_a_character",
        posted(lambda event: event.update(body="\ud800", isBase64Encoded=False)),
        says=("400: The body did not arrive",),
    ),
    Case(
        "post_body_too_large",
        posted(lambda event: event.update(body="A" * (2 * MAX_BODY_BYTES))),
        says=(f"413: The body is larger than {MAX_BODY_BYTES} bytes",),
    ),
    Case(
        "post_body_one_byte_too_large",
        posted(lambda event: event.update(body="A" * (MAX_BODY_BYTES + 1), isBase64Encoded=False)),
        says=(f"413: The body is larger than {MAX_BODY_BYTES} bytes",),
    ),
    signed("signed_without_a_key", "400: The POST has no `Idempotency-Key`", key=""),
    signed("key_too_short", "400: ", key="1"),
    signed("key_too_long", "400: ", key="k" * 129),
    signed("key_of_two", "400: ", key="first-key-1,second-key-2"),
    signed("key_that_climbs", "400: ", key="../../../files"),
    signed("name_that_climbs", "400: The `X-File-Name` can't be used", name="../../etc/passwd"),
    signed("name_hidden", "400: ", name=".htaccess"),
    signed("name_with_a_line_feed", "400: ", name="a\nb.csv"),
    signed("name_without_end", "400: ", name="n" * 4000),
    signed("signed_and_empty", "400: The POST is empty", content=b""),
    Case("post_as_a_form", posted(header("content-type", "multipart/form-data; boundary=x")), says=("415: ",)),
]
