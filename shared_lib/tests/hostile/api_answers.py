"""Answers that Qualtrics, or what stands between, should never give. Expected: an error that names the endpoint."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import orjson
from typing_extensions import override

from qualtrics_etl.errors import ConfigurationError, ContentRefusedError, NotYetError, PermanentError, RetryableError
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.qualtrics import (
    ApiToken,
    Client,
    Request,
    RequestsTransport,
    Response,
    contact_imports,
    mailing_lists,
)
from qualtrics_etl.qualtrics.transport import MAX_ANSWER_BYTES

from .case import Act, Arena, Case

if TYPE_CHECKING:
    from collections.abc import Iterator

LIST, DIRECTORY = "CG_000000000000001", "POOL_0000000000000001"


class Api:
    """Answers every request alike."""

    def __init__(self, answer: Response) -> None:
        self._answer = answer

    def send(self, request: Request) -> Response:
        """Answer."""
        return self._answer


Ask = Callable[[Client], Any]


def create(client: Client) -> object:
    """Create a mailing list."""
    return mailing_lists.create(client, DIRECTORY, b"{}")


def find(client: Client) -> object:
    """List the mailing lists."""
    return list(mailing_lists.list_all(client, DIRECTORY))


def start(client: Client) -> object:
    """Start an import."""
    return contact_imports.start(client, DIRECTORY, LIST, b"{}")


def look(client: Client) -> object:
    """Look at an import."""
    return contact_imports.look(client, DIRECTORY, LIST, "PGRS_1", contacts_sent=2)


def answered(ask: Ask, body: bytes, status: int = 200, **headers: str) -> Act:
    """Ask an API that answers with these bytes."""

    def act(_: Arena) -> object:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        clock = VirtualClock(datetime(2026, 11, 22, tzinfo=UTC))
        transport = Api(Response(status, names, body))
        return ask(Client("https://fra1.qualtrics.com", ApiToken("t" * 40), transport, stage="dev", clock=clock))

    return act


def result(ask: Ask, content: object) -> Act:
    """Ask an API that answers with this result."""
    return answered(ask, orjson.dumps({"meta": {"requestId": "r-1"}, "result": content}))


def counts(**content: object) -> Act:
    """Look at an import with these counts."""
    usual = {"added": 1, "updated": 1, "failed": 0}
    return result(look, {"status": "complete", "percentComplete": 100, "contacts": {"count": usual | content}})


@contextmanager
def served(write: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serve an answer on the loopback; give the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            with suppress(OSError):
                write(self)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sent(write: Callable[[BaseHTTPRequestHandler], None]) -> Act:
    """Fetch over the real network what a server writes."""

    def act(_: Arena) -> int:
        transport = RequestsTransport()
        try:
            with served(write) as url:
                return len(transport.send(Request("GET", url, timeout_seconds=60)).body)
        finally:
            transport.close()

    return act


def endless_chunks(handler: BaseHTTPRequestHandler) -> None:
    """Write pieces until nobody reads them."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    piece = b"x" * 1_000_000
    for _ in range(1_000):
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))


def gzip_bomb(handler: BaseHTTPRequestHandler) -> None:
    """Write a few bytes that unpack to more than any answer has."""
    body = gzip.compress(b"\0" * (MAX_ANSWER_BYTES + 1))
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def cut_off(handler: BaseHTTPRequestHandler) -> None:
    """Write less than was promised."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")


def no_http(handler: BaseHTTPRequestHandler) -> None:
    """Write what is no answer."""
    handler.wfile.write(b"\0\xff" * 1_000)


PAGE = b"<!DOCTYPE html><html><body>Log in: ann@x.example</body></html>"
NOT_THE_API = ("the answer is not one of Qualtrics' API", "qualtrics.datacenter")
NO_ID = "what is not an id"


def refused(name: str, act: Act, *says: str, needs_remedy: bool = False) -> Case:
    """Return an answer after which the call is tried again, and its effect looked for."""
    return Case(name, act, RetryableError, says, needs_remedy=needs_remedy)


CASES = [
    refused(
        "answer_web_page_with_200", answered(create, PAGE, content_type="text/html"), *NOT_THE_API, needs_remedy=True
    ),
    refused("answer_empty_with_200", answered(create, b""), *NOT_THE_API, needs_remedy=True),
    refused("answer_binary", answered(create, bytes(range(256))), *NOT_THE_API, needs_remedy=True),
    refused("answer_list", answered(create, b"[1]"), *NOT_THE_API, needs_remedy=True),
    refused("answer_nested_deep", answered(create, b'{"result":' * 100_000), *NOT_THE_API, needs_remedy=True),
    refused("answer_with_nan", answered(create, b'{"result": {"id": NaN}}'), *NOT_THE_API, needs_remedy=True),
    refused("answer_of_ten_megabytes", answered(create, b"x" * 10_000_000), *NOT_THE_API, needs_remedy=True),
    refused("answer_result_list", result(create, []), "create_mailing_list", "has no id"),
    refused("answer_result_null", result(create, None), "create_mailing_list", "has no id"),
    refused("answer_id_number", result(create, {"id": 7}), "create_mailing_list", "has no id"),
    refused("answer_id_blank", result(create, {"id": "  "}), "create_mailing_list", "has no id"),
    refused("answer_id_path_pieces", result(create, {"id": "../../whoami"}), "create_mailing_list", NO_ID),
    refused("answer_id_with_a_query", result(start, {"id": "PGRS_1?x=1"}), "start_contact_import", NO_ID),
    refused(
        "answer_id_control_characters", result(start, {"id": "PGRS_1\r\nX-API-TOKEN: x"}), "start_contact_import", NO_ID
    ),
    refused("answer_id_of_a_megabyte", result(create, {"id": "C" * 1_000_000}), NO_ID),
    refused("answer_id_in_a_list", result(find, {"elements": [{"mailingListId": "a/b"}]}), "list_mailing_lists", NO_ID),
    refused("answer_elements_object", result(find, {"elements": {}}), "list_mailing_lists", "has no list elements"),
    refused("answer_elements_of_texts", result(find, {"elements": ["CG_1"]}), "not an object"),
    refused("answer_count_negative", counts(added=-5), "look_at_contact_import", "added that is no count"),
    refused("answer_count_huge", counts(failed=1e300), "failed that is no count"),
    refused(
        "answer_percent_text", result(look, {"status": "x", "percentComplete": "soon"}), "has no number percentComplete"
    ),
    Case(
        "answer_next_page_elsewhere",
        result(find, {"elements": [], "nextPage": "https://qualtrics.com.evil.example/x"}),
        PermanentError,
        ("list_mailing_lists", "elsewhere than at Qualtrics"),
    ),
    Case(
        "answer_refusal_with_personal_data",
        answered(create, orjson.dumps({"meta": {"error": {"errorMessage": "ann@x.example\r\n" * 9_000}}}), 400),
        ContentRefusedError,
        ("create_mailing_list", "status 400", "<removed>"),
    ),
    Case("answer_redirect", answered(create, b"", 302, location="http://evil.example/"), ConfigurationError, ("302",)),
    Case(
        "answer_retry_after_for_ever",
        answered(create, b"{}", 429, retry_after="9" * 400),
        NotYetError,
        ("429",),
        needs_remedy=False,
    ),
    Case(
        "answer_retry_after_nonsense",
        answered(create, b"{}", 429, retry_after="\0soon"),
        NotYetError,
        ("429",),
        needs_remedy=False,
    ),
    refused("answer_endless_chunks", sent(endless_chunks), "64,000,000", needs_remedy=True),
    refused("answer_gzip_bomb", sent(gzip_bomb), "64,000,000", needs_remedy=True),
    refused("answer_cut_off", sent(cut_off), "cut off"),
    refused("answer_that_is_no_http", sent(no_http), "127.0.0.1"),
    Case(
        "answer_json_of_another_content_type",
        answered(create, b'{"meta": {}, "result": {"id": "CG_1"}}', content_type="image/png"),
        gives="CG_1",
    ),
]
