"""How a request proves who sends it: an API token, or OAuth client credentials.

Secrets are shown nowhere: not in a repr, not in an error, not in a log.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import urlencode

import orjson
from typing_extensions import override

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.qualtrics.envelope import Envelope, Record
from qualtrics_etl.qualtrics.pacing import Pace, Unpaced
from qualtrics_etl.qualtrics.registry import FETCH_TOKEN
from qualtrics_etl.qualtrics.statuses import Attempt, error_for, retry_after, set_secrets
from qualtrics_etl.qualtrics.transport import Request, Transport

RENEW_BEFORE = timedelta(seconds=60)
"""A token is renewed this long before it ends, so that none ends on its way."""

ASSUMED_LIFETIME_SECONDS = 600
"""Of a token whose answer does not say; the usual one is 3,600."""

LONGEST_LIFETIME_SECONDS = 86_400
"""No token is kept for longer, whatever its answer says."""


@dataclass(frozen=True, slots=True)
class AuthContext:
    """What credentials may need to make their headers.

    Attributes:
        transport: Where a token is fetched through.
        base_url: The data center's address; OAuth tokens are valid there only.
        now: The time.
        number: How often the message tried, from 1.
        jitter: 0 to 1, by chance.
        pace: Asked before a token is fetched: that is a request like any other.
    """

    transport: Transport
    base_url: str
    now: datetime
    number: int = 1
    jitter: float = 0.5
    pace: Pace = field(default_factory=Unpaced)


class Credentials(Protocol):
    """Makes the headers that a request is sent with."""

    @property
    def secret_names(self) -> tuple[str, ...]:
        """The secrets that these are made of, for a remedy."""

    def headers(self, context: AuthContext) -> Mapping[str, str]:
        """Return the headers, after fetching what they need.

        Raises:
            ConfigurationError: A secret is malformed, or Qualtrics does not know it.
            NotYetError: Throttled while fetching.
            RetryableError: Fetching failed.
        """

    def renew(self) -> bool:
        """Forget what was fetched, after a 401; True where another attempt can then differ."""


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A user's API token, sent in `X-API-TOKEN`. Blanks around it (a line break, mostly) are dropped.

    Source: Qualtrics API reference, page on authentication.
    """

    token: str = field(repr=False)

    @property
    def secret_names(self) -> tuple[str, ...]:
        """See `Credentials.secret_names`."""
        return ("qualtrics_api_token",)

    def headers(self, context: AuthContext) -> Mapping[str, str]:
        """See `Credentials.headers`."""
        return {"X-API-TOKEN": _usable(self.token, self.secret_names)}

    def renew(self) -> bool:
        """See `Credentials.renew`."""
        return False


class OAuthClientCredentials:
    """OAuth 2 client credentials; the token is fetched when first needed, kept, and renewed before it ends.

    Source: Qualtrics API reference, page on OAuth (client credentials).
    """

    def __init__(self, client_id: str, client_secret: str, scopes: Sequence[str]) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._scopes = tuple(scopes)
        self._token: tuple[str, datetime] | None = None

    @override
    def __repr__(self) -> str:
        return f"OAuthClientCredentials(scopes={self._scopes!r})"

    @property
    def secret_names(self) -> tuple[str, ...]:
        """See `Credentials.secret_names`."""
        return ("qualtrics_client_id", "qualtrics_client_secret")

    def headers(self, context: AuthContext) -> Mapping[str, str]:
        """See `Credentials.headers`."""
        if self._token is None or self._token[1] <= context.now:
            self._token = self._fetch(context)
        return {"Authorization": f"Bearer {self._token[0]}"}

    def renew(self) -> bool:
        """See `Credentials.renew`."""
        self._token = None
        return True

    def _fetch(self, context: AuthContext) -> tuple[str, datetime]:
        request = self._request(context)
        context.pace.take(FETCH_TOKEN)
        response = context.transport.send(request)
        if response.status == 429:
            context.pace.refused(FETCH_TOKEN, seconds=retry_after(response, context.now) or 0.0)
        attempt = Attempt(
            FETCH_TOKEN,
            None,
            "qualtrics.datacenter in config/<stage>.yml",
            self.secret_names,
            context.number,
            context.now,
            context.jitter,
        )
        answer = _token_answer(response.body)
        if response.status in (400, 401, 403):
            raise ConfigurationError(_refusal(response.status, answer), remedy=set_secrets(self.secret_names))
        if response.status != 200:
            raise error_for(response, Envelope({}, {}), attempt)
        record = Record(answer, FETCH_TOKEN.name)
        said = int(record.number_or_none("expires_in") or 0)
        lifetime = timedelta(seconds=min(said or ASSUMED_LIFETIME_SECONDS, LONGEST_LIFETIME_SECONDS))
        return _usable(record.text("access_token"), self.secret_names), context.now + lifetime - RENEW_BEFORE

    def _request(self, context: AuthContext) -> Request:
        pair = ":".join(_usable(part, self.secret_names) for part in (self._client_id, self._client_secret))
        form = {"grant_type": "client_credentials", "scope": " ".join(self._scopes)}
        headers = {
            "Authorization": f"Basic {b64encode(pair.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        url = context.base_url + FETCH_TOKEN.path
        return Request("POST", url, headers, urlencode(form).encode(), FETCH_TOKEN.timeout_seconds)


def _token_answer(body: bytes) -> Mapping[str, object]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _refusal(status: int, answer: Mapping[str, object]) -> str:
    # Only the code is shown: it is one of a few words, while a description is anybody's text.
    code = answer.get("error")
    known = f" {code}" if isinstance(code, str) and code.isascii() and code.isidentifier() else ""
    return f"{FETCH_TOKEN.name}: status {status}{known[:60]}."


def _usable(secret: str, names: tuple[str, ...]) -> str:
    stripped = secret.strip()
    if not stripped or not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        what = f"{' or '.join(names)} is empty, or has characters that can't stand in a header. Nothing was sent."
        raise ConfigurationError(what, remedy=set_secrets(names))
    return stripped
