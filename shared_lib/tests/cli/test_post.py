"""`qetl post`: what it refuses before anything is sent, and how it takes the answers that an API can give."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typing_extensions import override

from qualtrics_etl.aws.access import StageAccess
from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.http_api import address_in
from qualtrics_etl.channels.http_requests import MAX_BODY_BYTES
from qualtrics_etl.cli.access import OpenStage
from qualtrics_etl.cli.post import _content, _receiver, _send, post
from qualtrics_etl.errors import ConfigurationError, RetryableError
from qualtrics_etl.local.posts import check_accepted
from qualtrics_etl.settings import read_config
from qualtrics_etl.workflow import read_workflow

Make = Callable[..., Path]
REGION = "eu-west-1"


@contextmanager
def answering(status: int, body: bytes) -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """Serve an answer to every POST; give the address, and what came: path, key and body."""
    seen: list[tuple[str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Idempotency-Key"], content))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


def opened(root: Path) -> OpenStage:
    """Return a stage that nobody has to reach."""
    workflow, config = read_workflow(root), read_config(root, "local")
    return OpenStage(workflow, config, StageAccess(workflow.name, "local", config.aws_account_id, AwsAccess(REGION)))


@pytest.mark.parametrize(
    ("status", "body", "content"),
    [
        (202, b'{"run": "r"}', {"run": "r"}),
        (401, b'{"error": "e"}', {"error": "e"}),
        (500, b"<html>", {}),
        (503, b"1", {}),
    ],
)
def test_every_answer_is_read(status: int, body: bytes, content: dict[str, str]) -> None:
    """What is accepted, refused, or answered by something in between, is an answer; the body arrives as it is."""
    with answering(status, body) as (url, seen):
        assert _send(f"{url}/receive_post", {"Idempotency-Key": "k"}, b"a\r\n\x00") == (status, content)
    assert seen == [("/receive_post", "k", b"a\r\n\x00")]


def test_silence_asks_for_a_repeat() -> None:
    """Where nothing answers, the same command again is safe, and the text says so."""
    with answering(202, b"") as (url, _):
        pass
    with pytest.raises(RetryableError, match=r"did not answer. Send it again: the same file has the same key"):
        _send(url, {}, b"x")


@pytest.mark.parametrize("answer", [b"no HTTP\r\n\r\n", b"HTTP/1.1 202 OK\r\nContent-Length: 9\r\n\r\n{", b""])
def test_answer_that_breaks_off_asks_for_a_repeat(answer: bytes) -> None:
    """An answer that is none, or half of one, is no answer: nobody knows whether the file was taken."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            talking, _ = server.accept()
            with talking:
                talking.recv(65536)
                talking.sendall(answer)

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(RetryableError, match=r"did not answer. Send it again: the same file has the same key"):
            _send(f"http://127.0.0.1:{server.getsockname()[1]}", {}, b"x")
        thread.join()


def test_refusal_repeats_what_the_service_said() -> None:
    """The error and the remedy are the service's own; an answer without words is not passed over."""
    with pytest.raises(ConfigurationError) as caught:
        check_accepted("receive_post", 409, {"error": "The key was used before.", "remedy": "Take another."})
    assert str(caught.value) == "receive_post answered 409: The key was used before. Take another."
    with pytest.raises(ConfigurationError, match="receive_post answered 500: without a reason"):
        check_accepted("receive_post", 500, {})
    assert check_accepted("receive_post", 202, {"run": "acme-etl-0"}) == "acme-etl-0"


def test_file_must_be_there_and_fit(tmp_path: Path) -> None:
    """What is not there, or larger than a POST can be, is told before AWS is asked for anything."""
    with pytest.raises(ConfigurationError, match="there is no such file"):
        _content(tmp_path / "x.csv")
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(MAX_BODY_BYTES + 1)
    with pytest.raises(ConfigurationError, match=r"larger than 4500000 bytes. Send it in parts"):
        _content(large)


@pytest.mark.parametrize("value", ["März.csv", "Kontakte 名.csv", "a\nb.csv", " a.csv", "a.csv ", "\udce4.csv"])
@pytest.mark.parametrize("what", ["name", "key"])
def test_header_that_would_not_arrive_as_signed_is_refused(tmp_path: Path, what: str, value: str) -> None:
    """A name or key that a header can't carry, or that arrives otherwise, is told with what may stand there."""
    file = tmp_path / (value if what == "name" else "a.csv")
    file.write_bytes(b"x")
    with pytest.raises(ConfigurationError) as caught:
        post(file, stage="dev", key=value if what == "key" else None)
    called = {"name": "The file's name", "key": "--key"}[what]
    assert caught.value.what == f"{called} can't be sent as it is: {value!a}."
    assert caught.value.remedy == "Take letters without accents, digits and . _ - alone."


def test_receiver_is_the_one_or_is_named(make_post_repository: Make) -> None:
    """The only service that takes POSTs is meant without a word; another one is no choice."""
    stage = opened(make_post_repository())
    assert (_receiver(stage, None), _receiver(stage, "receive_post")) == ("receive_post", "receive_post")
    with pytest.raises(ConfigurationError, match=r"parse_file takes no POST. Services that take one: receive_post."):
        _receiver(stage, "parse_file")


def test_workflow_that_takes_files_takes_no_post(make_repository: Make) -> None:
    """Where contacts come in as files, there is nobody to POST to."""
    with pytest.raises(ConfigurationError, match=r"No service takes a POST. A chain begins with `receive_post`."):
        _receiver(opened(make_repository()), None)


def test_address_is_what_the_stack_says() -> None:
    """On AWS the address is an output of the stack, on the emulator a path of its only one; a stack may have none."""
    outputs = {"HttpApiId": "abc123", "HttpApiUrl": "https://abc123.execute-api.eu-west-1.amazonaws.com"}
    assert address_in(outputs, None) == outputs["HttpApiUrl"]
    assert address_in(outputs, "http://127.0.0.1:1") == "http://127.0.0.1:1/_aws/execute-api/abc123/%24default"
    assert address_in({"ServerlessDeploymentBucketName": "b"}, None) is None
