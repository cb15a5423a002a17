"""Stands between deployed functions and the AWS emulator of this machine, and lets calls go wrong as a plan says.

Each service's function has an address of its own, so that every call is known by who made it. Besides the faults, the
store's clock is another one than the functions': it is ahead, and it runs faster, so that leases and settle times, for
which it alone counts, are over sooner. What the queues are told to wait runs on the same fast time.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from typing_extensions import override

from qualtrics_etl.local.emulator import ACCESS_KEY, LOOPBACK
from qualtrics_etl.local.place import Place
from qualtrics_etl.testing.chaos_plan import SENT_TWICE, AwsCall, ChaosPlan, Mishap, stable_target
from qualtrics_etl.testing.chaos_workers import kill_worker

EMULATOR_SECONDS = 60
"""The longest silence of the emulator: a machine that is busy is no fault of ours."""
_HOP_HEADERS = frozenset({"connection", "transfer-encoding", "content-length", "date", "server", "last-modified"})
_OPERATIONS = {"GET": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject", "HEAD": "HeadObject"}


@dataclass(frozen=True, slots=True)
class StoreClock:
    """A clock that was ahead when it was made, and is more so with every second.

    Attributes:
        began: When it was made, on the machine's clock, in seconds since 1970.
        ahead_seconds: How far ahead it was then.
        speed: How many of its seconds pass in one of the machine's.
    """

    began: float
    ahead_seconds: float
    speed: float

    def at(self, moment: float) -> float:
        """Return what it shows at a moment of the machine's clock; what was before it was made is only shifted."""
        passed = moment - self.began
        return self.began + self.ahead_seconds + (passed * self.speed if passed > 0 else passed)


@dataclass(frozen=True, slots=True)
class Injected:
    """One call that something was done to."""

    kind: str
    call: AwsCall


@dataclass
class ChaosLog:
    """What was done, as it happened.

    Attributes:
        injected: Each call with what happened to it.
        calls: How many calls there were, tries of the same call counted once.
        killed: When each worker was killed, on the machine's clock, by its process id.
        serial: Of each serial service's queue, the messages in the order in which it took them.
    """

    injected: list[Injected] = field(default_factory=list)
    calls: int = 0
    killed: dict[int, float] = field(default_factory=dict)
    serial: dict[str, list[str]] = field(default_factory=dict)

    def counts(self) -> Counter[str]:
        """Return how often each kind was injected, of S3, SQS and SSM apart."""
        return Counter(f"{each.call.api}: {each.kind}" for each in self.injected)


class ChaosProxy:
    """The addresses that functions call instead of the emulator's.

    Attributes:
        log: What was done.
        clock: The store's.

    Args:
        place: Whose emulator and workers are behind it.
        plan: What goes wrong.
        clock: What the functions take for the store's time.
    """

    def __init__(self, place: Place, plan: ChaosPlan, clock: StoreClock) -> None:
        self.log = ChaosLog()
        self.clock = clock
        self._place = place
        self._plan = plan
        self._numbers: Counter[AwsCall] = Counter()
        self._decided: dict[str, tuple[Mishap | None, bool]] = {}
        self._lock = threading.Lock()
        self._serial = threading.Lock()
        self._is_calm = threading.Event()

    @contextmanager
    def serve(self, services: Sequence[str]) -> Iterator[Mapping[str, str]]:
        """Listen while the block runs; gives each service its address."""
        with ExitStack() as stack:
            yield {service: stack.enter_context(self._serve_one(service)) for service in services}

    def calm(self) -> None:
        """Let nothing go wrong any more; the clock stays as it is."""
        self._is_calm.set()

    @contextmanager
    def _serve_one(self, service: str) -> Iterator[str]:
        server = _Server(self, service)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name=f"chaos-{service}", daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, request: _Request) -> _Answer | None:
        """Return what the caller gets to see; None is a connection that is cut."""
        mishap, twice = self._decide(request)
        if mishap is not None and request.attempt > mishap.attempts:
            mishap = None
        twice = twice and request.attempt == 1
        if mishap is None:
            return self._forward(request, twice=twice)
        answer = self._forward(request, twice=twice) if mishap.has_effect else None
        if mishap.kills:
            self._kill(request)
            return None
        match mishap.answer:
            case "error":
                return _error(request.api, 500, "InternalError")
            case "throttled":
                return _error(request.api, *(_SLOW_DOWN if request.api == "s3" else _THROTTLED))
            case "half" if answer is not None:
                return replace(answer, sent=0.5)
        return None

    def _decide(self, request: _Request) -> tuple[Mishap | None, bool]:
        """Return what happens to a call, all its tries together, and whether its messages are sent twice."""
        with self._lock:
            if (known := self._decided.get(request.invocation)) is not None:
                return known
            unnumbered = AwsCall(request.service, request.api, request.operation, stable_target(request.target))
            self._numbers[unnumbered] += 1
            self.log.calls += 1
            call = replace(unnumbered, number=self._numbers[unnumbered])
            calm = self._is_calm.is_set()
            mishap = None if calm else self._plan.mishap(call)
            twice = not calm and self._plan.is_sent_twice(call) and not (mishap and not mishap.has_effect)
            if mishap is not None:
                self.log.injected.append(Injected(mishap.kind, call))
            if twice:
                self.log.injected.append(Injected(SENT_TWICE, call))
            self._decided[request.invocation] = mishap, twice
            return mishap, twice

    def _kill(self, request: _Request) -> None:
        pid = kill_worker(request.port, self._place.pid)
        if pid is not None:
            self.log.killed[pid] = time.time()

    def _forward(self, request: _Request, *, twice: bool) -> _Answer:
        sent = _on_fast_time(request, self.clock.speed)
        if request.operation.startswith("SendMessage") and request.target.endswith(".fifo"):
            with self._serial:
                answer = self._exchange(sent)
                self._note_order(request, answer)
        else:
            answer = self._exchange(sent)
        if twice:
            self._exchange(sent)
        return answer

    def _note_order(self, request: _Request, answer: _Answer) -> None:
        if answer.status == 200:
            bodies = [each["MessageBody"] for each in json.loads(request.body)["Entries"]]
            self.log.serial.setdefault(request.target, []).extend(bodies)

    def _exchange(self, request: _Request) -> _Answer:
        upstream = http.client.HTTPConnection(urlsplit(self._place.emulator_url).netloc, timeout=EMULATOR_SECONDS)
        try:
            upstream.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                upstream.putheader(name, value)
            upstream.endheaders(request.body or None)
            response = upstream.getresponse()
            body = response.read()
            headers = [(name, value) for name, value in response.getheaders() if name.lower() not in _HOP_HEADERS]
            now = time.time()
            if modified := response.getheader("Last-Modified"):
                # Whole seconds of the machine are several of the store's: the latest moment that it may have been.
                at = min(parsedate_to_datetime(modified).timestamp() + 1, now)
                headers.append(("Last-Modified", _http_date(self.clock.at(at))))
            headers.append(("Date", _http_date(self.clock.at(now))))
            length = int(response.getheader("Content-Length") or 0) if request.method == "HEAD" else len(body)
            return _Answer(response.status, tuple(headers), body, length)
        finally:
            upstream.close()


@dataclass(frozen=True, slots=True)
class _Request:
    service: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    port: int

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def api(self) -> str:
        return {"AmazonSQS": "sqs", "AmazonSSM": "ssm"}.get(self.header("x-amz-target").partition(".")[0], "s3")

    @property
    def operation(self) -> str:
        if self.api != "s3":
            return self.header("x-amz-target").rpartition(".")[2]
        parts = urlsplit(self.path)
        if self.method == "GET" and "list-type" in parse_qs(parts.query):
            return "ListObjectsV2"
        return _OPERATIONS.get(self.method, self.method)

    @property
    def target(self) -> str:
        """The key or prefix; the queue's name; of other calls nothing."""
        if self.api == "s3":
            parts = urlsplit(self.path)
            key = unquote(parts.path).lstrip("/").partition("/")[2]
            return key or parse_qs(parts.query).get("prefix", [""])[0]
        return str(json.loads(self.body or b"{}").get("QueueUrl", "")).rpartition("/")[2]

    @property
    def invocation(self) -> str:
        """What boto3 calls all its tries at one call."""
        return self.header("amz-sdk-invocation-id")

    @property
    def attempt(self) -> int:
        return int(self.header("amz-sdk-request").partition("attempt=")[2].partition(";")[0] or 1)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    length: int
    sent: float = 1.0


_SLOW_DOWN = (503, "SlowDown")
_THROTTLED = (400, "ThrottlingException")


def _error(api: str, status: int, code: str) -> _Answer:
    if api == "s3":
        text = f"<Error><Code>{code}</Code><Message>Injected.</Message></Error>".encode()
        return _Answer(status, (("Content-Type", "application/xml"),), text, len(text))
    text = json.dumps({"__type": code, "message": "Injected."}).encode()
    return _Answer(status, (("Content-Type", "application/x-amz-json-1.0"),), text, len(text))


def _on_fast_time(request: _Request, speed: float) -> _Request:
    """Return the request with its waiting times shortened; only these are signed anew, as the emulator's root."""
    if request.api != "sqs":
        return request
    asked: dict[str, Any] = json.loads(request.body)
    changed = False
    for part, name in [(asked, "VisibilityTimeout"), *((entry, "DelaySeconds") for entry in asked.get("Entries", []))]:
        if part.get(name):
            part[name] = round(part[name] / speed)
            changed = True
    return _signed(replace(request, body=json.dumps(asked).encode())) if changed else request


def _signed(request: _Request) -> _Request:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    unsigned = {"authorization", "x-amz-security-token", "x-amz-date", "content-length", "expect"}
    headers = {name: value for name, value in request.headers if name.lower() not in unsigned}
    region = request.header("authorization").partition("Credential=")[2].split("/")[2]
    made = AWSRequest(request.method, f"http://{request.header('host')}{request.path}", headers, request.body)
    SigV4Auth(Credentials(ACCESS_KEY, ACCESS_KEY), "sqs", region).add_auth(made)
    signed = [*made.headers.items(), ("Content-Length", str(len(request.body)))]
    return replace(request, headers=tuple((str(name), str(value)) for name, value in signed))


def _http_date(moment: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(moment), UTC), usegmt=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: ChaosProxy, service: str) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.proxy = proxy
        self.service = service

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a worker that is killed leaves its connections."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; without this, the second waits for the first one's acknowledgement (40 ms).
    disable_nagle_algorithm = True

    def _relay(self) -> None:
        assert isinstance(self.server, _Server)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = tuple((name, value) for name, value in self.headers.items() if name.lower() != "expect")
        request = _Request(self.server.service, self.command, self.path, headers, body, self.client_address[1])
        answer = self.server.proxy.answer(request)
        if answer is None or answer.sent < 1:
            self.close_connection = True
        if answer is not None:
            self._write(answer)
        if self.close_connection:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _write(self, answer: _Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(answer.length))
        self.end_headers()
        self.wfile.write(answer.body[: int(len(answer.body) * answer.sent)])

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _relay  # noqa: N815 - the base class's names

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the proxy has the log."""
