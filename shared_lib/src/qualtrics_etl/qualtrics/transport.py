"""How bytes travel: the one seam between what is asked of Qualtrics and the network.

Everything above speaks in `Request` and `Response`; a test's server is a function from one to the other. Only this
module knows `requests`, and turns its exceptions into ours by a table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, urlsplit

from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError, RetryableError

if TYPE_CHECKING:
    import requests

CONNECT_TIMEOUT_SECONDS = 5.0
"""For name look-up, connection and TLS together."""

SLOWEST_UPLOAD_BYTES_PER_SECOND = 500_000
"""A body gets this much time to be sent, beside the time to connect."""

MAX_IDLE_SECONDS = 20.0
"""A kept connection that was idle for longer is not used again. A frozen function can't see that the other end has
closed it, and a POST that fails on it leaves its outcome unknown."""

MAX_ANSWER_BYTES = 64_000_000
"""An answer that is larger is none of those that we ask for."""

_CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. Headers hold the token and the body may hold personal data, so neither is shown.

    Attributes:
        method: HTTP method.
        url: Absolute, with the query.
        headers: Names as they are sent.
        body: Exact bytes; None where nothing is sent.
        timeout_seconds: How long to wait for the answer, once the request is sent.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    timeout_seconds: float = 5.0

    @property
    def path(self) -> str:
        """The path alone, as it is sent."""
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        """The query, decoded; of a repeated name the last value."""
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Response:
    """What was answered.

    Attributes:
        status: HTTP status.
        headers: Names in lower case.
        body: Decoded from any content encoding; may hold personal data, so it is not shown.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


class Transport(Protocol):
    """Sends one request and returns what is answered, whatever its status."""

    def send(self, request: Request) -> Response:
        """Send a request once; redirects are answers like any other.

        Raises:
            ConfigurationError: The host does not exist, or is not who it says it is; nothing was sent.
            RetryableError: No whole answer came. `call_made` is False only where nothing can have arrived.
        """


class RequestsTransport:
    """The real network: one kept-alive session, without proxies, .netrc or redirects."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._session: requests.Session | None = None
        self._last_used = 0.0

    def send(self, request: Request) -> Response:
        """Send a request once.

        Raises:
            ConfigurationError: See `Transport.send`.
            RetryableError: See `Transport.send`.
        """
        session = self._fresh_session()
        from urllib3.exceptions import HTTPError

        try:
            return self._exchange(session, request)
        except (OSError, ValueError, HTTPError) as exc:
            self.close()
            raise translate(exc, request) from exc

    def close(self) -> None:
        """Close every connection; the next send opens a new one."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _fresh_session(self) -> requests.Session:
        now = self._monotonic()
        if now - self._last_used > MAX_IDLE_SECONDS:
            self.close()
        self._last_used = now
        if self._session is None:
            self._session = _open_session()
        return self._session

    def _exchange(self, session: requests.Session, request: Request) -> Response:
        # The whole upload counts against the connect time-out, not only the connecting.
        upload_seconds = len(request.body or b"") / SLOWEST_UPLOAD_BYTES_PER_SECOND
        with session.request(
            request.method,
            request.url,
            data=request.body,
            headers=dict(request.headers),
            timeout=(CONNECT_TIMEOUT_SECONDS + upload_seconds, request.timeout_seconds),
            allow_redirects=False,
            stream=True,
        ) as answer:
            body = b"".join(self._chunks(answer, self._monotonic() + request.timeout_seconds))
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Response(answer.status_code, headers, body)

    def _chunks(self, answer: requests.Response, deadline: float) -> Iterator[bytes]:
        """Yield the body's pieces; an answer that drips or never ends is cut off."""
        size = 0
        while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=True):
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise _too_large(urlsplit(answer.url).hostname or "The address")
            if self._monotonic() > deadline:
                raise TimeoutError("the answer did not end")
            yield chunk


def _open_session() -> requests.Session:
    import requests

    session = requests.Session()
    session.trust_env = False
    session.headers.clear()
    session.headers.update({"User-Agent": "qualtrics-etl", "Accept-Encoding": "gzip, deflate"})
    return session


def _not_who_it_says(host: str) -> QualtricsEtlError:
    return ConfigurationError(
        f"{host} does not prove to be that host: its certificate is not valid here. Nothing was sent.",
        remedy="Check qualtrics.datacenter (or qualtrics.base_url) in config/<stage>.yml, and what stands between.",
    )


def _wrong_address(host: str) -> QualtricsEtlError:
    return ConfigurationError(
        f"{host} can't be called: the address is malformed. Nothing was sent.",
        remedy="Check qualtrics.datacenter (or qualtrics.base_url) in config/<stage>.yml.",
    )


def _unknown_host(host: str) -> QualtricsEtlError:
    return ConfigurationError(
        f"There is no host {host}. Nothing was sent.",
        remedy="Check qualtrics.datacenter in config/<stage>.yml: it is the first word of the address you log in at.",
    )


def _name_service_busy(host: str) -> QualtricsEtlError:
    return RetryableError(
        f"The name {host} could not be looked up just now. Nothing was sent.",
        remedy="If it lasts: check the network, then qualtrics.datacenter in config/<stage>.yml.",
        call_made=False,
    )


def _not_connected(host: str) -> QualtricsEtlError:
    return RetryableError(f"{host} did not take the connection. Nothing was sent.", call_made=False)


def _no_answer(host: str) -> QualtricsEtlError:
    return RetryableError(f"{host} did not answer in time.", call_made=True)


def _too_large(host: str) -> QualtricsEtlError:
    return RetryableError(
        f"The answer of {host} has more than {MAX_ANSWER_BYTES:,} bytes; it was not read to its end.",
        remedy="If it lasts: check qualtrics.datacenter (or qualtrics.base_url) in config/<stage>.yml, and what stands"
        " between.",
        call_made=True,
    )


def _cut_off(host: str) -> QualtricsEtlError:
    return RetryableError(f"The exchange with {host} was cut off before its answer was whole.", call_made=True)


# The first row wins that names the exception, a base of it or a cause of it. What was certainly not sent comes first,
# because the outer exceptions of requests are the same for both.
TRANSLATIONS: tuple[tuple[str, Callable[[str], QualtricsEtlError]], ...] = (
    ("SSLCertVerificationError", _not_who_it_says),
    ("TemporaryNameFailure", _name_service_busy),
    ("gaierror", _unknown_host),
    ("NewConnectionError", _not_connected),
    ("ConnectTimeout", _not_connected),
    ("InvalidProxyURL", _wrong_address),
    ("InvalidURL", _wrong_address),
    ("InvalidSchema", _wrong_address),
    ("MissingSchema", _wrong_address),
    ("URLRequired", _wrong_address),
    ("LocationValueError", _wrong_address),
    ("UnicodeError", _wrong_address),
    ("ReadTimeout", _no_answer),
    ("ReadTimeoutError", _no_answer),
    ("Timeout", _no_answer),
    ("ChunkedEncodingError", _cut_off),
    ("ContentDecodingError", _cut_off),
    ("SSLError", _cut_off),
    ("ProxyError", _cut_off),
    ("ConnectionError", _cut_off),
    ("InvalidHeader", _cut_off),
    ("HTTPError", _cut_off),
    ("InvalidJSONError", _cut_off),
    ("JSONDecodeError", _cut_off),
    ("RetryError", _cut_off),
    ("StreamConsumedError", _cut_off),
    ("TooManyRedirects", _cut_off),
    ("UnrewindableBodyError", _cut_off),
)
"""What an exception from below means, by its name: names, because importing `requests` takes 0.2 s of a cold start."""


def translate(exc: BaseException, request: Request) -> QualtricsEtlError:
    """Turn an exception from below into the one of ours that says what happens next."""
    host = urlsplit(request.url).hostname or "The address"
    names = {name for cause in _causes(exc) for name in _names(cause)}
    return next((build for name, build in TRANSLATIONS if name in names), _cut_off)(host)


def _names(exc: BaseException) -> Iterator[str]:
    import socket

    if isinstance(exc, socket.gaierror) and exc.errno == socket.EAI_AGAIN:
        yield "TemporaryNameFailure"
    yield from (cls.__name__ for cls in type(exc).__mro__)


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it was raised for, which urllib3 also puts into `reason` and `args`.

    `__context__` is left out: it may be an earlier call's failure, and would then say that this one sent nothing.
    """
    seen: set[int] = set()
    waiting: list[object] = [exc]
    while waiting:
        current = waiting.pop()
        if isinstance(current, BaseException) and id(current) not in seen:
            seen.add(id(current))
            yield current
            waiting += [current.__cause__, getattr(current, "reason", None), *current.args]
