"""What every request must look like, and what every answer looks like."""

from __future__ import annotations

import http.client
import re
import socket
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

LISTS = "/directories/POOL_ExampleDirector/mailinglists"


def test_answer_is_an_envelope_with_status_and_request_id(api: Any) -> None:
    """Every answer says in `meta` what its status is and which request it was."""
    meta = api.call("GET", "/whoami").json()["meta"]
    assert meta["httpStatus"] == "200 - OK"
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", meta["requestId"])


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nothing"), ("PATCH", "/whoami"), ("GET", "/directories/a/b/c/d/e/f")]
)
def test_unknown_address_is_404_without_request_id(api: Any, method: str, path: str) -> None:
    """An address or method that does not exist has the live service's words, no code and no request id."""
    response = api.call(method, path)
    assert response.status_code == 404
    assert response.json() == {
        "meta": {
            "httpStatus": "404 - Not Found",
            "error": {"errorMessage": "The requested resource does not exist."},
        }
    }


@pytest.mark.parametrize("path", ["/whoami/", "//whoami", "/whoami///"])
def test_slashes_too_many_do_no_harm(api: Any, path: str) -> None:
    """A slash at the end and doubled slashes are accepted."""
    assert api.result("GET", path)["brandId"] == "examplebrand"


def test_post_without_body_is_411(api: Any) -> None:
    """A POST must say how long its body is, and have one."""
    assert api.refusal("POST", LISTS)[0] == 411


def test_chunked_body_is_411(api: Any) -> None:
    """A body whose length is not said is refused, and the connection ends."""
    response = api.call("POST", LISTS, data=iter([b'{"name":', b'"x"}']), headers={"Content-Type": "application/json"})
    assert (response.status_code, response.headers["Connection"]) == (411, "close")


def test_body_above_five_megabytes_is_413(api: Any) -> None:
    """More than 5 MB are refused, however large; the client gets to see the answer."""
    headers = {"Content-Type": "application/json"}
    assert api.refusal("POST", LISTS, data=b" " * 5_000_001, headers=headers)[0] == 413
    assert api.refusal("POST", LISTS, data=b" " * 5_000_000, headers=headers)[0] == 400


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json, application/json"])
def test_wrong_content_type_is_415(api: Any, content_type: str | None) -> None:
    """A body must be declared as JSON, once."""
    refusal = api.refusal("POST", LISTS, data=b'{"name": "x"}', headers={"Content-Type": content_type})
    assert refusal == (415, None, "Invalid Content-Type. Expected application/json")


@pytest.mark.parametrize("body", [b"{", b"\xff{}", b'{"name": NaN}', b'{"name": 1e999}', b"[" * 100_000])
def test_body_that_is_no_json_is_400(api: Any, body: bytes) -> None:
    """Only strict JSON in UTF-8 is read."""
    refusal = api.refusal("POST", LISTS, data=body, headers={"Content-Type": "application/json"})
    assert refusal == (400, "QVAL_1", "The body is not JSON.")


def test_body_that_is_no_object_is_400(api: Any) -> None:
    """A list is not a body."""
    assert api.refusal("POST", LISTS, [{"name": "x"}]) == (400, "QVAL_1", "The body must be an object")


def test_content_type_sent_twice_is_415(api: Any) -> None:
    """Two equal headers are one too many."""
    connection = http.client.HTTPConnection(urlsplit(api.base_url).netloc, timeout=5)
    with closing(connection):
        connection.putrequest("POST", f"/API/v3{LISTS}")
        for name, value in [("X-API-TOKEN", api.session.headers["X-API-TOKEN"]), ("Content-Length", "13")]:
            connection.putheader(name, value)
        for _ in range(2):
            connection.putheader("Content-Type", "application/json")
        connection.endheaders(b'{"name": "x"}')
        assert connection.getresponse().status == 415


@pytest.mark.parametrize("query", ["pagesize=5", "pageSize=5&pageSize=6", "pageSize=0", "pageSize=101", "pageSize=x"])
def test_wrong_query_parameter_is_400(api: Any, query: str) -> None:
    """A parameter that is unknown, repeated or out of bounds is refused."""
    assert api.refusal("GET", f"{LISTS}?{query}")[0] == 400


@pytest.mark.parametrize("token", ["x", "LTU=", "9" * 40])
def test_skip_token_that_was_not_handed_out_is_400(api: Any, token: str) -> None:
    """A made-up skipToken is refused."""
    assert api.refusal("GET", LISTS, params={"skipToken": token}) == (400, "QVAL_1", "Invalid skipToken")


def test_get_with_a_body_is_400(api: Any) -> None:
    """A GET has no body."""
    assert api.refusal("GET", "/whoami", {"a": 1})[0] == 400


def test_many_requests_share_one_connection(api: Any) -> None:
    """A connection is kept after each answer, errors included."""
    address = urlsplit(api.base_url)
    request = b"GET /API/v3/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=5) as connection:
        connection.sendall(request * 3)
        received = b""
        while received.count(b"does not exist.") < 3:
            received += connection.recv(65536)
    assert received.count(b"HTTP/1.1 404") == 3


@pytest.mark.parametrize(("length", "status"), [("x", b"411"), ("-1", b"411"), ("999999999999", b"413")])
def test_content_length_that_makes_no_sense_ends_the_connection(api: Any, length: str, status: bytes) -> None:
    """What can't be read, or never will be, leaves nothing to be read after it."""
    address = urlsplit(api.base_url)
    head = f"POST /API/v3{LISTS} HTTP/1.1\r\nHost: localhost\r\nX-API-TOKEN: {api.session.headers['X-API-TOKEN']}\r\n"
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=5) as connection:
        connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 " + status)
