"""The client that every API area calls through: credentials, statuses, repeats, throttling, pages.

A call passes `call` (repeats what is safe to repeat), then `_once` (credentials), then the transport. It returns an
answer or raises one of our errors, with Qualtrics' request id where there is one.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from typing_extensions import override

from qualtrics_etl.errors import ConfigurationError, NotYetError, PermanentError, QualtricsEtlError, RetryableError
from qualtrics_etl.ports import Clock
from qualtrics_etl.qualtrics.credentials import ApiToken, AuthContext, Credentials, OAuthClientCredentials
from qualtrics_etl.qualtrics.envelope import Record, read_envelope
from qualtrics_etl.qualtrics.pacing import Pace, Unpaced
from qualtrics_etl.qualtrics.registry import MAX_BODY_BYTES, Endpoint
from qualtrics_etl.qualtrics.statuses import Attempt, error_for, presentable, retry_after
from qualtrics_etl.qualtrics.transport import (
    CONNECT_TIMEOUT_SECONDS,
    SLOWEST_UPLOAD_BYTES_PER_SECOND,
    Request,
    RequestsTransport,
    Response,
    Transport,
)

__all__ = [
    "Answer",
    "ApiToken",
    "Client",
    "Credentials",
    "OAuthClientCredentials",
    "Request",
    "RequestsTransport",
    "Response",
    "Transport",
    "base_url_of",
    "longest_call_seconds",
]

REPEAT_WAITS_SECONDS = (0.4, 1.2)
"""Longest waits before a safe call is made a second and a third time; each is cut by up to half, by chance."""

ANSWER_GRACE_SECONDS = 1.0
"""We wait this much longer than Qualtrics does: its own time-out comes with a request id, ours without."""

MIN_SECRET_LENGTH = 8
"""A shorter word of a header is none of the secret: `Bearer` is one."""

_log = logging.getLogger(__name__)

_DATACENTER = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*", re.ASCII)

# One expression for the whole address, and no character that two parsers read differently (a backslash ends the host
# for some): the token goes where this leads.
_PRINTABLE = r"[!-\[\]-~]*"
_QUALTRICS_PAGE = re.compile(rf"https://(?:[A-Za-z0-9-]+\.)+qualtrics\.com(?::443)?/{_PRINTABLE}", re.ASCII)


def base_url_of(datacenter: str) -> str:
    """Return a data center's address; `fra1` and brand-prefixed `brand.ca1` are both data centers.

    Raises:
        ConfigurationError: This is not the name of a data center.

    Source: Qualtrics API reference, page on base URLs and data center ids.
    """
    if not _DATACENTER.fullmatch(datacenter) or datacenter.endswith("qualtrics.com"):
        what = f"{datacenter[:60]!r} is not the name of a data center."
        raise ConfigurationError(what, remedy="Write it in qualtrics.datacenter in config/<stage>.yml, as in: fra1.")
    return f"https://{datacenter}.qualtrics.com"


def longest_call_seconds(endpoint: Endpoint, body_bytes: int = 0) -> float:
    """Return how long a call of an endpoint can last, repeats included: what a lease must outlast.

    Fetching an OAuth token comes on top, once.
    """
    once = CONNECT_TIMEOUT_SECONDS + body_bytes / SLOWEST_UPLOAD_BYTES_PER_SECOND
    once += 3 * (endpoint.timeout_seconds + ANSWER_GRACE_SECONDS)
    return once * (1 + len(REPEAT_WAITS_SECONDS)) + sum(REPEAT_WAITS_SECONDS) if endpoint.is_safe_to_repeat else once


@dataclass(frozen=True, slots=True)
class Answer:
    """A call that went well.

    Attributes:
        result: What stands under `result`; empty after a delete.
        document: The whole answer, for what lies beside `result`.
        request_id: Qualtrics' id of the request; None where it gave none.
        notice: Its remark, as that another data center would be faster; mostly empty.
    """

    result: Record
    document: Record = field(repr=False)
    request_id: str | None = None
    notice: str = ""


class Client:
    """Calls one data center with one set of credentials.

    Args:
        base_url: As `base_url_of` gives it; any other address is for tests and the local engine.
        transport: The network, unless a test stands in for it.
        stage: Named in the remedies, so that they can be pasted.
        clock: Tells the time and waits between repeats.
        pace: Asked before each request; without one, every request is sent at once.
        attempt: How often the message has tried, from 1: waits after a 429 grow with it.
        jitter: A number from 0 to 1, by chance.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        transport: Transport | None = None,
        *,
        stage: str,
        clock: Clock,
        pace: Pace | None = None,
        attempt: int = 1,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._base_url = _checked_base_url(base_url)
        self._credentials = credentials
        self._transport = transport or RequestsTransport()
        self._stage = stage
        self._clock = clock
        self._pace = pace or Unpaced()
        self._attempt = attempt
        self._jitter = jitter

    @override
    def __repr__(self) -> str:
        return f"Client({self._base_url!r}, stage={self._stage!r})"

    @property
    def stage(self) -> str:
        """The stage whose settings it was made from."""
        return self._stage

    def for_attempt(self, attempt: int) -> Client:
        """Return a client on the same connection for a message that tries for the `attempt`-th time, from 1."""
        return Client(
            self._base_url,
            self._credentials,
            self._transport,
            stage=self._stage,
            clock=self._clock,
            pace=self._pace,
            attempt=attempt,
            jitter=self._jitter,
        )

    def call(
        self,
        endpoint: Endpoint,
        ids: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        check: str = "",
    ) -> Answer:
        """Call an endpoint; what is safe to repeat is tried up to three times.

        Args:
            ids: What goes into the path.
            body: Exact bytes, JSON.
            check: The settings that a refusal points at; `<stage>` stands for the stage.

        Raises:
            ConfigurationError: Credentials, data center or an id of the settings is wrong; nothing was done.
            NotYetError: Throttled (429), or the minute has no request left for us; nothing was done.
            RetryableError: No answer, a 5xx, or an answer that can't be read.
            PermanentError: Qualtrics refuses the request as it is.
        """
        with _Stage(self._stage):
            url = self._base_url + endpoint.fill(ids or {}, check=check)
            return self._call(endpoint, f"{url}?{urlencode(query)}" if query else url, body, check)

    def pages(
        self, endpoint: Endpoint, ids: Mapping[str, str] | None = None, *, query: Mapping[str, str], check: str = ""
    ) -> Iterator[Record]:
        """Yield the elements of a list, page after page, each page when it is needed.

        Raises:
            PermanentError: The next page lies on a host that must not see the token.
            RetryableError: A page leads back to one that was read. What `call` raises besides.

        Source: Qualtrics API reference, page on pagination (`nextPage` is followed as it is).
        Observed: 2019, a proxied call whose `nextPage` points at another data center.
        """
        answer = self.call(endpoint, ids, query=query, check=check)
        read: set[str] = set()
        while True:
            yield from answer.result.records("elements")
            next_page = answer.result.text_or_none("nextPage")
            if not next_page:
                return
            if next_page in read:
                raise answer.result.malformed("leads in a circle: a page names one that was read as its next")
            read.add(next_page)
            with _Stage(self._stage):
                self._refuse_foreign(endpoint, next_page, answer.request_id)
                answer = self._call(endpoint, next_page, None, check)

    def _refuse_foreign(self, endpoint: Endpoint, url: str, request_id: str | None) -> None:
        same = url.startswith(self._base_url + "/") and re.fullmatch(_PRINTABLE, url)
        if not same and not _QUALTRICS_PAGE.fullmatch(url):
            what = f"{endpoint.name}: the next page is said to lie elsewhere than at Qualtrics; it was not read."
            remedy = "Check qualtrics.datacenter in config/<stage>.yml; if it is right, tell Qualtrics' support."
            raise PermanentError(what, remedy=remedy, request_id=request_id)

    def _call(self, endpoint: Endpoint, url: str, body: bytes | None, check: str) -> Answer:
        _refuse_large(endpoint, body)
        waits = list(REPEAT_WAITS_SECONDS) if endpoint.is_safe_to_repeat else []
        while True:
            try:
                return self._once(endpoint, url, body, check)
            except RetryableError as error:
                if not waits:
                    raise
                _log.info("qualtrics_call_repeated", extra={"endpoint": endpoint.name, "request_id": error.request_id})
            self._clock.sleep(waits.pop(0) * (1 - self._jitter() / 2))

    def _once(self, endpoint: Endpoint, url: str, body: bytes | None, check: str) -> Answer:
        proof = self._auth_headers()
        response = self._send(endpoint, url, body, proof)
        if response.status == 401 and self._credentials.renew():
            proof = self._auth_headers()
            response = self._send(endpoint, url, body, proof)
        envelope = read_envelope(_without_secrets(response.body, proof))
        _log.info(
            "qualtrics_called",
            extra={
                "endpoint": endpoint.name,
                "status": response.status,
                "request_id": envelope.request_id if envelope else None,
                "notice": presentable(envelope.notice)[:200] if envelope else "",
            },
        )
        if not 200 <= response.status < 300:
            error = error_for(response, envelope, self._described(endpoint, body, check))
            if isinstance(error, NotYetError):
                wait = self._pace.refused(endpoint, seconds=retry_after(response, self._clock.now()) or 0.0)
                error.delay_seconds = max(error.delay_seconds, wait)
            raise error
        if envelope is None:
            what = f"{endpoint.name}: status {response.status}, but the answer is not one of Qualtrics' API."
            remedy = "If it lasts: check qualtrics.datacenter (or qualtrics.base_url) in config/<stage>.yml."
            raise RetryableError(what, remedy=remedy, call_made=endpoint.has_effect)
        parts = (endpoint.name, endpoint.has_effect, envelope.request_id)
        result, document = Record(envelope.result, *parts), Record(envelope.document, *parts)
        return Answer(result, document, envelope.request_id, envelope.notice)

    def _send(self, endpoint: Endpoint, url: str, body: bytes | None, proof: Mapping[str, str]) -> Response:
        headers = {**proof, "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        timeout = endpoint.timeout_seconds + ANSWER_GRACE_SECONDS
        self._pace.take(endpoint)
        try:
            return self._transport.send(Request(endpoint.method, url, headers, body, timeout))
        except RetryableError as error:
            error.call_made = error.call_made and endpoint.has_effect
            error.what = f"{endpoint.name}: {error.what}"
            raise

    def _auth_headers(self) -> Mapping[str, str]:
        context = AuthContext(
            self._transport, self._base_url, self._clock.now(), self._attempt, self._jitter(), self._pace
        )
        try:
            return self._credentials.headers(context)
        except RetryableError as error:
            error.call_made = False
            raise

    def _described(self, endpoint: Endpoint, body: bytes | None, check: str) -> Attempt:
        return Attempt(
            endpoint, body, check, self._credentials.secret_names, self._attempt, self._clock.now(), self._jitter()
        )


class _Stage:
    """Writes the stage into the remedy of an error that passes."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, QualtricsEtlError):
            error.remedy = error.remedy.replace("<stage>", self._stage)


def _checked_base_url(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and not parts.query
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(_PRINTABLE, base_url):
        raise ConfigurationError(
            "The address of Qualtrics is not one that can be called.",
            remedy="Check qualtrics.datacenter or qualtrics.base_url in config/<stage>.yml, as in: https://fra1.qualtrics.com.",
        )
    return base_url.rstrip("/")


def _without_secrets(answer: bytes, proof: Mapping[str, str]) -> bytes:
    """Take out of an answer what the request proved itself with: what stands between may quote a request's headers."""
    words = (word for value in proof.values() for word in value.split() if len(word) >= MIN_SECRET_LENGTH)
    for word in words:
        for written in {word, word.replace("/", "\\/")}:
            answer = answer.replace(written.encode(), b"removed")
    return answer


def _refuse_large(endpoint: Endpoint, body: bytes | None) -> None:
    if body is not None and len(body) > MAX_BODY_BYTES:
        what = f"{endpoint.name}: the body has {len(body):,} bytes, more than Qualtrics takes. Nothing was sent."
        raise PermanentError(what, remedy="Lower rows_per_batch of parse_file in workflow.yml.")
