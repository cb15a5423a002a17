"""The real network: a small server on the loopback that answers, stalls, cuts and refuses."""

from __future__ import annotations

import gzip
import inspect
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from typing_extensions import override

from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError, RetryableError
from qualtrics_etl.qualtrics import Request, RequestsTransport, Response
from qualtrics_etl.qualtrics.transport import MAX_IDLE_SECONDS, TRANSLATIONS, translate

Behaviour = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """Does with each request what the test says, and counts connections."""

    daemon_threads = False  # so that closing waits for them, and nothing outlives its test

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), _handler(self, behaviour))
        self.connections: list[socket.socket] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.over.set()
        self.shutdown()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


def _handler(server: Server, behaviour: Behaviour) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        @override
        def setup(self) -> None:
            super().setup()
            server.connections.append(self.connection)

        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            self.received = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            behaviour(self)

        do_GET = do_POST  # noqa: N815 # the name is http.server's

    return Handler


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], Server]]:
    """Start servers, and stop them after the test."""
    servers: list[tuple[Server, threading.Thread]] = []

    def start(behaviour: Behaviour) -> Server:
        server = Server(behaviour)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return server

    yield start
    for server, thread in servers:
        server.stop()
        thread.join()


@pytest.fixture
def transport() -> Iterator[RequestsTransport]:
    """Make a transport, and close it before the servers stop."""
    transport = RequestsTransport()
    yield transport
    transport.close()


def answer(handler: BaseHTTPRequestHandler, body: bytes = b"{}", status: int = 200, **headers: str) -> None:
    """Answer as a server should."""
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def test_request_arrives_as_it_is(serve: Callable[[Behaviour], Server], transport: RequestsTransport) -> None:
    """Method, address, headers and bytes arrive unchanged, with nothing of this machine added."""
    seen: list[object] = []

    def keep(handler: BaseHTTPRequestHandler) -> None:
        names = sorted(name for name in handler.headers if name not in ("Host", "Content-Length"))
        seen.extend([handler.command, handler.path, names, handler.received])  # type: ignore[attr-defined]
        answer(handler, b'{"a":1}', 202, Retry_After="7")

    url = serve(keep).url + "/API/v3/x?skipToken=a%2Bb%3D"
    response = transport.send(Request("POST", url, {"X-API-TOKEN": "t"}, b"\x00body", 1.0))
    assert seen == [
        "POST",
        "/API/v3/x?skipToken=a%2Bb%3D",
        ["Accept-Encoding", "User-Agent", "X-API-TOKEN"],
        b"\x00body",
    ]
    assert (response.status, response.body, response.headers["retry-after"]) == (202, b'{"a":1}', "7")


def test_connection_is_kept_until_it_was_idle(serve: Callable[[Behaviour], Server]) -> None:
    """Calls share a connection; one that may have died while the function was frozen is not used again."""
    server, now = serve(answer), [100.0]
    transport = RequestsTransport(monotonic=lambda: now[0])
    counts = []
    for waited in (0.0, 1.0, MAX_IDLE_SECONDS, MAX_IDLE_SECONDS + 1):
        now[0] += waited
        transport.send(Request("GET", server.url))
        counts.append(len(server.connections))
    transport.close()
    assert counts == [1, 1, 1, 2]


def test_redirect_is_an_answer(serve: Callable[[Behaviour], Server], transport: RequestsTransport) -> None:
    """Nothing is sent to where a redirect leads."""
    server = serve(lambda handler: answer(handler, b"", 307, Location="/elsewhere"))
    response = transport.send(Request("POST", server.url + "/x", {}, b"b"))
    assert (response.status, response.headers["location"]) == (307, "/elsewhere")


def test_packed_answer_is_unpacked(serve: Callable[[Behaviour], Server], transport: RequestsTransport) -> None:
    """An answer may come packed."""
    server = serve(lambda handler: answer(handler, gzip.compress(b'{"a":1}'), Content_Encoding="gzip"))
    assert transport.send(Request("GET", server.url)).body == b'{"a":1}'


def cut_before_the_answer(handler: BaseHTTPRequestHandler) -> None:
    """Hang up without a word."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut_within_the_answer(handler: BaseHTTPRequestHandler) -> None:
    """Promise more than comes."""
    answer(handler, b'{"resu', Content_Length="100")
    handler.close_connection = True


def cut_within_a_chunk(handler: BaseHTTPRequestHandler) -> None:
    """Promise a longer chunk than comes."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"40\r\nabc")
    handler.close_connection = True


def answer_what_cannot_be_unpacked(handler: BaseHTTPRequestHandler) -> None:
    """Promise a packed answer."""
    answer(handler, b"not packed", Content_Encoding="gzip")


def speak_no_http(handler: BaseHTTPRequestHandler) -> None:
    """Greet as another kind of server."""
    handler.wfile.write(b"220 mail server ready\r\n")
    handler.close_connection = True


@pytest.mark.parametrize(
    "behaviour",
    [
        cut_before_the_answer,
        cut_within_the_answer,
        cut_within_a_chunk,
        answer_what_cannot_be_unpacked,
        speak_no_http,
    ],
)
def test_cut_exchange_may_have_had_its_effect(
    serve: Callable[[Behaviour], Server], transport: RequestsTransport, behaviour: Behaviour
) -> None:
    """Once a request is sent, only a whole answer says what became of it."""
    with pytest.raises(RetryableError) as caught:
        transport.send(Request("POST", serve(behaviour).url, {}, b"b", 1.0))
    assert str(caught.value) == "The exchange with 127.0.0.1 was cut off before its answer was whole."
    assert caught.value.call_made is True


def test_slow_answer_is_given_up(serve: Callable[[Behaviour], Server], transport: RequestsTransport) -> None:
    """A call ends at its time-out, and may have had its effect."""
    server = serve(lambda handler: server.over.wait(5) and None)
    with pytest.raises(RetryableError) as caught:
        transport.send(Request("POST", server.url, {}, b"b", 0.05))
    assert (str(caught.value), caught.value.call_made) == ("127.0.0.1 did not answer in time.", True)


def test_dripping_answer_is_given_up(serve: Callable[[Behaviour], Server], transport: RequestsTransport) -> None:
    """An answer that comes byte by byte does not hold a function beyond its time."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        answer(handler, b"", Content_Length="1000000")
        while not server.over.wait(0.01):
            with suppress(OSError):
                handler.wfile.write(b" ")

    server = serve(drip)
    with pytest.raises(RetryableError) as caught:
        transport.send(Request("GET", server.url, {}, None, 0.1))
    assert caught.value.call_made is True


def test_refused_connection_sent_nothing(transport: RequestsTransport) -> None:
    """A port where nobody listens was certainly not told anything."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(RetryableError) as caught:
            transport.send(Request("POST", url, {}, b"b", 1.0))
    assert str(caught.value) == "127.0.0.1 did not take the connection. Nothing was sent."
    assert caught.value.call_made is False


def test_failed_exchange_does_not_spoil_the_next(
    serve: Callable[[Behaviour], Server], transport: RequestsTransport
) -> None:
    """After a cut the next call opens a connection of its own."""
    behaviours = [cut_within_the_answer, answer]
    server = serve(lambda handler: behaviours.pop(0)(handler))
    with pytest.raises(RetryableError):
        transport.send(Request("GET", server.url))
    assert transport.send(Request("GET", server.url)).body == b"{}"


@pytest.mark.parametrize("url", ["fra1/x", "ftp://fra1/x", "http://", "http://a..b/x", "http://*.x/"])
def test_malformed_address_is_a_wrong_setting(transport: RequestsTransport, url: str) -> None:
    """An address that can't be called is not tried again and again."""
    with pytest.raises(ConfigurationError) as caught:
        transport.send(Request("GET", url))
    assert "qualtrics.datacenter" in caught.value.remedy


@pytest.mark.parametrize(
    ("cause", "error", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), ConfigurationError, "There is no host xx1.qualtrics.com."),
        (socket.gaierror(socket.EAI_AGAIN, "later"), RetryableError, "could not be looked up just now"),
        (ssl.SSLCertVerificationError("self-signed"), ConfigurationError, "does not prove to be that host"),
        (ssl.SSLEOFError("eof"), RetryableError, "was cut off"),
    ],
)
def test_cause_of_a_failed_connection_decides(cause: Exception, error: type[QualtricsEtlError], words: str) -> None:
    """A host that does not exist is a wrong setting; a name service that is busy is not."""
    outer = requests.exceptions.ConnectionError(cause)
    translated = translate(outer, Request("GET", "https://xx1.qualtrics.com/x"))
    assert type(translated) is error
    assert words in translated.what
    assert ("qualtrics.datacenter" in translated.remedy) is ("EOF" not in type(cause).__name__)
    assert getattr(translated, "call_made", False) is ("EOF" in type(cause).__name__)


def test_earlier_failure_does_not_explain_a_later_one() -> None:
    """A call that fails while an earlier failure is handled is judged by its own causes."""
    late = requests.exceptions.ReadTimeout("slow")
    late.__context__ = requests.exceptions.ConnectTimeout("earlier")
    translated = translate(late, Request("POST", "https://fra1.qualtrics.com/x"))
    assert isinstance(translated, RetryableError)
    assert translated.call_made is True


def test_malformed_header_of_an_answer_is_no_wrong_setting() -> None:
    """Requests has one name for a bad header of ours and of the answer; an answer means that something was sent."""
    translated = translate(requests.exceptions.InvalidHeader("2, 3"), Request("POST", "https://fra1.qualtrics.com/x"))
    assert isinstance(translated, RetryableError)
    assert translated.call_made is True


def test_every_exception_of_requests_has_a_row() -> None:
    """A new release's new exception is noticed here, before it means the wrong thing in a queue."""
    base = requests.exceptions.RequestException
    known = {name for name, cls in inspect.getmembers(requests.exceptions, inspect.isclass) if issubclass(cls, base)}
    assert known - {name for name, _ in TRANSLATIONS} == {"RequestException"}


def test_requests_and_responses_hide_what_is_secret_or_personal() -> None:
    """Neither a token nor a person's data shows in a representation."""
    shown = repr(Request("POST", "https://h/x", {"X-API-TOKEN": "secret"}, b"anna")) + repr(Response(200, {}, b"anna"))
    assert shown == ("Request(method='POST', url='https://h/x', timeout_seconds=5.0)Response(status=200, headers={})")


def test_request_names_its_path_and_query() -> None:
    """A server in a test reads both without parsing."""
    request = Request("GET", "https://h/API/v3/x?a=1&b=&c=%2B")
    assert (request.path, request.query) == ("/API/v3/x", {"a": "1", "b": "", "c": "+"})
