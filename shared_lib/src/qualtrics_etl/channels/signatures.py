"""Signatures of what clients POST: who has the secret sent exactly this, for this service, just now.

    X-Signature: t=1764500000,v1=<hex>[,v1=<hex>]

`v1` is the HMAC-SHA256, in small hex digits, of these lines, each ended by a line feed, and the body behind them:

    the time `t`, in seconds since 1970
    POST /<service>
    the header Idempotency-Key
    the header X-File-Name, empty where there is none

All of it is checked before anything of the request is looked at more closely. While a secret is exchanged for another,
two are accepted, and a client may sign with both.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from qualtrics_etl.errors import ConfigurationError, RequestRefusedError

SIGNATURE_HEADER = "x-signature"
KEY_HEADER = "idempotency-key"
NAME_HEADER = "x-file-name"

SECRETS_AT_ONCE = 2
SHORTEST_SECRET = 32
"""Characters of a secret: `openssl rand -hex 32` makes 64."""
SIGNATURES_AT_ONCE = 4

_HEADER = re.compile(rf"t=([0-9]{{1,12}})((?:,v1=[0-9a-f]{{64}}){{1,{SIGNATURES_AT_ONCE}}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class SignedPost:
    """What a signature is about.

    Attributes:
        service: Which service it is sent to; a POST to one is worth nothing at another.
        idempotency_key: As it stands in its header.
        file_name: As it stands in its header; empty where there is none.
        body: As it was sent.
    """

    service: str
    idempotency_key: str
    file_name: str
    body: bytes = field(repr=False)


def signing_secrets(value: str) -> tuple[str, ...]:
    """Return the secrets that a stage accepts: the value of `post_signing_secret`, one or, for a change, two of them.

    Raises:
        ConfigurationError: There are none, too many, or one that can be guessed.
    """
    secrets = tuple(value.split())
    if not 1 <= len(secrets) <= SECRETS_AT_ONCE or any(len(each) < SHORTEST_SECRET for each in secrets):
        raise ConfigurationError(
            f"post_signing_secret holds {len(secrets)} secrets; the shortest has"
            f" {min(map(len, secrets), default=0)} characters.",
            remedy=f"Give one of at least {SHORTEST_SECRET} characters, as `openssl rand -hex 32` makes it; while it is"
            " exchanged, the new and the old one with a blank between them.",
        )
    return secrets


def sign_post(post: SignedPost, secret: str, at: datetime) -> str:
    """Return the value of `X-Signature`, signed at a time with one secret."""
    time = str(int(at.timestamp()))
    return f"t={time},v1={_digest(post, secret, time)}"


def post_headers(post: SignedPost, secret: str, at: datetime) -> dict[str, str]:
    """Return the headers of a POST that is signed at a time."""
    named = {"X-File-Name": post.file_name} if post.file_name else {}
    return {
        "Content-Type": "application/octet-stream",
        "Idempotency-Key": post.idempotency_key,
        "X-Signature": sign_post(post, secret, at),
        **named,
    }


def check_signature(
    header: str, post: SignedPost, *, secrets: Iterable[str], now: datetime, window_seconds: int
) -> None:
    """Let pass what was signed with one of the secrets, at most so long before or after now.

    An exact repeat within the window passes too: it names the same key, so it is the same run.

    Raises:
        RequestRefusedError: 401, for the header, the time, or the signature.
    """
    time, signatures = read_signature(header)
    seconds = int(time) - int(now.timestamp())
    if abs(seconds) > window_seconds:
        side = "after" if seconds > 0 else "before"
        raise RequestRefusedError(
            f"The signature's time lies {abs(seconds)} seconds {side} ours; {window_seconds} are allowed.",
            status=401,
            remedy="Sign each POST anew when it is sent, repeats too, and let a time server set your clock.",
        )
    wanted = [_digest(post, secret, time) for secret in secrets]
    # All pairs are compared, each in constant time: how long it takes tells nothing of where they differ.
    if not sum(hmac.compare_digest(one, other) for one in wanted for other in signatures):
        raise RequestRefusedError(
            "The signature does not fit this POST.",
            status=401,
            remedy="Sign time, service, key, file name and body, with the secret of this stage, as"
            " documented; send the body as `application/octet-stream`, which nothing on the way changes.",
        )


def read_signature(header: str) -> tuple[str, list[str]]:
    """Return the time and the signatures of a header, as they stand there.

    Raises:
        RequestRefusedError: 401: it is missing, of another form, or there are two of it.
    """
    match = _HEADER.fullmatch(header)
    if match is None:
        what = "has no `X-Signature`" if not header else "has an `X-Signature` of another form than is documented"
        raise RequestRefusedError(
            f"The POST {what}.", status=401, remedy="Send it once, as: X-Signature: t=<seconds since 1970>,v1=<hex>"
        )
    return match[1], [each.removeprefix("v1=") for each in match[2].split(",")[1:]]


def _digest(post: SignedPost, secret: str, time: str) -> str:
    lines = f"{time}\nPOST /{post.service}\n{post.idempotency_key}\n{post.file_name}\n"
    signed = hmac.new(secret.encode(), lines.encode("utf-8", "surrogatepass"), hashlib.sha256)
    signed.update(post.body)
    return signed.hexdigest()
