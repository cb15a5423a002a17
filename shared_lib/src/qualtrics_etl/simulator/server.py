"""The HTTP server: threads, kept-alive connections, and connections that are cut when a fault says so.

werkzeug's own handler closes a connection after each answer. This one reads every body whole before it answers, so the
next request on the connection starts where it should.
"""

from __future__ import annotations

import io
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from typing_extensions import override
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from qualtrics_etl.simulator.answers import Answer, answer_json
from qualtrics_etl.simulator.bodies import MOST_BODY_BYTES
from qualtrics_etl.simulator.errors import STATUS_TEXTS

Respond: TypeAlias = Callable[[dict[str, Any]], Answer]
"""From a request, as WSGI describes one, to its answer."""

HOST = "127.0.0.1"
"""Loopback only: whoever reaches the inspection API may do everything."""

MOST_READ_BYTES = 64_000_000
"""How much of a body that is too large is read away, so that the client gets to see the 413."""

_POLL_SECONDS = 0.005  # how long a stop may take; tests stop hundreds of servers


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; without this, the second waits for the first one's acknowledgement (40 ms).
    disable_nagle_algorithm = True

    @override
    def run_wsgi(self) -> None:
        self.environ = environ = self.make_environ()
        environ["CONTENT_TYPE"] = ",".join(self.headers.get_all("Content-Type", []))
        body = self._read_body()
        if body is None:
            self.close_connection = True
        environ["wsgi.input"] = io.BytesIO(body or b"")
        self._write(self._respond(environ))

    def _respond(self, environ: dict[str, Any]) -> Answer:
        assert isinstance(self.server, _Server)
        try:
            return self.server.respond(environ)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return answer_json(500, {"error": "The simulator itself failed; its output says why."})

    def _read_body(self) -> bytes | None:
        """Read the body; None when its length is not said, or too large to be read."""
        if "Transfer-Encoding" in self.headers:
            return None
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > MOST_READ_BYTES:
            return None
        if int(length) <= MOST_BODY_BYTES:
            return self.rfile.read(int(length))
        self._discard(int(length))
        return b""

    def _discard(self, length: int) -> None:
        while length > 0 and (chunk := self.rfile.read(min(length, 1_000_000))):
            length -= len(chunk)

    def _write(self, answer: Answer) -> None:
        kept = 0 if self.command == "HEAD" else len(answer.body)
        if answer.cut is not None:
            self.close_connection = True
            kept = int(kept * answer.cut)
        if answer.cut != 0.0:
            self._write_head(answer)
            self.wfile.write(answer.body[:kept])
        if answer.cut is not None:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _write_head(self, answer: Answer) -> None:
        self.send_response(answer.status, STATUS_TEXTS[answer.status])
        for name, value in answer.all_headers():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    @override
    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing: the inspection API has the log."""


class _Server(ThreadedWSGIServer):
    """Knows its open connections, so that a stop leaves none behind."""

    def __init__(self, listening: socket.socket, respond: Respond) -> None:
        self.respond = respond
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        port = listening.getsockname()[1]
        super().__init__(HOST, port, _unused, handler=_Handler, fd=listening.fileno())

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    @override
    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        """End every connection that is still open."""
        with self._open_lock:
            left = list(self._open)
        for connection in left:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _unused(environ: object, start_response: object) -> list[bytes]:
    raise NotImplementedError  # werkzeug wants an application; the handler asks `respond` instead


@contextmanager
def serving(respond: Respond, port: int) -> Iterator[str]:
    """Serve what `respond` answers on the loopback interface while the block runs; gives the base URL.

    Args:
        port: 0 takes a free one.

    Raises:
        OSError: The port is in use, or not allowed.
    """
    # Bound here, not in werkzeug, which would print and exit when the port is in use.
    with socket.create_server((HOST, port), backlog=128) as listening:
        server = _Server(listening, respond)
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="simulator", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.cut_connections()
