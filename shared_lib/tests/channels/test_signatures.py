"""Signatures of POSTs: what the secret's owner sent just now passes, and nothing else does."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.channels.signatures import (
    SignedPost,
    check_signature,
    post_headers,
    read_signature,
    sign_post,
    signing_secrets,
)
from qualtrics_etl.errors import ConfigurationError, RequestRefusedError

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
WINDOW = 300
SECRET, OTHER = "s" * 40, "o" * 40
POST = SignedPost("receive_post", "contacts-2026-11-30", "contacts.csv", b"email\nana@client.example\n")

posts = st.builds(
    SignedPost,
    st.sampled_from(["receive_post", "receive_leads"]),
    st.text(max_size=40),
    st.text(max_size=20),
    st.binary(max_size=200),
)


def passes(header: str, post: SignedPost = POST, *, secrets: tuple[str, ...] = (SECRET,), now: datetime = NOW) -> bool:
    """Whether a POST passes; a refusal is 401, says what to do, and holds no secret."""
    refusals: list[RequestRefusedError] = []
    try:
        check_signature(header, post, secrets=secrets, now=now, window_seconds=WINDOW)
    except RequestRefusedError as error:
        refusals = [error]
    assert all(each.status == 401 and each.remedy for each in refusals)
    assert not any(secret in str(each) for each in refusals for secret in secrets)
    return not refusals


@given(posts)
def test_what_is_signed_passes(post: SignedPost) -> None:
    """Whatever key, name and body are, the signature over them fits."""
    assert passes(sign_post(post, SECRET, NOW), post)


@given(posts, st.data())
def test_any_bit_flipped_is_refused(post: SignedPost, data: st.DataObject) -> None:
    """One bit changed in the header or the body, and the POST is refused."""
    header = sign_post(post, SECRET, NOW)
    number = data.draw(st.integers(0, 8 * (len(header) + len(post.body)) - 1))
    changed = bytearray(header.encode() + post.body)
    changed[number // 8] ^= 1 << number % 8
    text, body = changed[: len(header)].decode("latin-1"), bytes(changed[len(header) :])
    assert not passes(text, replace(post, body=body))


@given(posts, posts)
def test_signature_of_another_post_is_refused(post: SignedPost, other: SignedPost) -> None:
    """A signature is worth nothing for another service, key, name or body, wherever their border lies."""
    assert passes(sign_post(post, SECRET, NOW), other) == (post == other)


@given(st.integers(-10_000, 10_000))
def test_window_ends_where_it_is_said(seconds: int) -> None:
    """The time may lie up to the window before or after ours, and not a second more."""
    assert passes(sign_post(POST, SECRET, NOW + timedelta(seconds=seconds))) == (abs(seconds) <= WINDOW)


def test_refusal_says_on_which_side_the_clocks_differ() -> None:
    """Whose clock is wrong can be read from the refusal."""
    header = sign_post(POST, SECRET, NOW - timedelta(seconds=301))
    with pytest.raises(RequestRefusedError, match="lies 301 seconds before ours; 300 are allowed"):
        check_signature(header, POST, secrets=(SECRET,), now=NOW, window_seconds=WINDOW)


def test_signature_of_another_secret_is_refused() -> None:
    """Who has not the secret can't sign."""
    assert not passes(sign_post(POST, OTHER, NOW))


@pytest.mark.parametrize("signed_with", [SECRET, OTHER])
def test_two_secrets_are_accepted_while_one_takes_the_others_place(signed_with: str) -> None:
    """The new secret and the old one both pass, until the old one is taken away."""
    header = sign_post(POST, signed_with, NOW)
    assert passes(header, secrets=(SECRET, OTHER))
    assert passes(header, secrets=(SECRET,)) == (signed_with == SECRET)


def test_one_of_several_signatures_is_enough() -> None:
    """A client that signs with both of its secrets passes wherever one of them is known."""
    other = sign_post(POST, OTHER, NOW).partition(",")[2]
    assert passes(f"{sign_post(POST, SECRET, NOW)},{other}")
    assert passes(sign_post(POST, SECRET, NOW).replace(",", f",{other},"))


def test_secrets_are_one_or_two_and_long() -> None:
    """What could be guessed is no secret; a third one is a mistake."""
    assert signing_secrets(f"{SECRET}\n") == (SECRET,)
    assert signing_secrets(f"{SECRET} {OTHER}") == (SECRET, OTHER)
    for value in ("", "short", f"{SECRET} short", f"{SECRET} {OTHER} {SECRET}"):
        with pytest.raises(ConfigurationError, match="openssl rand -hex 32") as caught:
            signing_secrets(value)
        assert "short" not in caught.value.what.replace("the shortest", "")


def test_headers_are_those_that_are_documented() -> None:
    """A signed POST has key, name and signature in its headers; the name may be left out."""
    headers = post_headers(POST, SECRET, NOW)
    assert headers == {
        "Content-Type": "application/octet-stream",
        "Idempotency-Key": "contacts-2026-11-30",
        "X-File-Name": "contacts.csv",
        "X-Signature": "t=1796040000,v1=b96bcfc285b3114afb212238460437e7cec18418547e2bfafd45ddded9415226",
    }
    assert "X-File-Name" not in post_headers(replace(POST, file_name=""), SECRET, NOW)


def test_page_signs_as_the_library_does(tmp_path: Path) -> None:
    """What the page shows clients, in Python and in the shell, makes the signature that is checked."""
    page = (Path(__file__).parents[3] / "docs" / "posts.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    time = int(NOW.timestamp())
    shown = names["sign"](SECRET, time, POST.idempotency_key, POST.file_name, POST.body)
    shell = page.partition("```bash\n")[2].partition("curl ")[0].replace("$(date +%s)", str(time))
    (tmp_path / "file").write_bytes(POST.body)
    variables = {"KEY": POST.idempotency_key, "NAME": POST.file_name, "FILE": str(tmp_path / "file"), "SECRET": SECRET}
    printed = subprocess.run(
        ["bash", "-c", f'{shell}\necho "t=$T,v1=$V1"'],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown == printed.stdout.strip() == sign_post(POST, SECRET, NOW)


@given(st.text(max_size=300))
def test_any_header_is_read_or_refused(header: str) -> None:
    """A header of another form is a 401, never anything else."""
    try:
        time, signatures = read_signature(header)
    except RequestRefusedError as error:
        outcome: object = error.status
    else:
        outcome = f"t={time},v1={',v1='.join(signatures)}"
    assert outcome in (401, header)
