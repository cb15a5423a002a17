"""The Qualtrics API as a list of answers, and a clock that only moves its hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from qualtrics_etl.qualtrics import ApiToken, Client, Credentials, Request, Response

TOKEN = "tOkEn5678901234567890123456789012345678"  # of the length that real ones have


class HandClock:
    """A clock that stands still but for the waits asked of it, which it keeps."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
        self.waits: list[float] = []

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += timedelta(seconds=seconds)


class Api:
    """A server that gives its answers in turn, and keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.clock = HandClock()
        self._answers: list[Response | Exception] = []
        self.client = self.client_with(ApiToken(TOKEN))

    def client_with(self, credentials: Credentials) -> Client:
        return Client(
            "https://fra1.qualtrics.com", credentials, self, stage="dev", clock=self.clock, jitter=lambda: 0.0
        )

    def send(self, request: Request) -> Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answers(self, result: object, *, status: int = 200, **headers: str) -> None:
        self.raw(status, orjson.dumps({"meta": {"httpStatus": f"{status}", "requestId": "r-1"}, "result": result}))

    def refuses(self, status: int, code: str = "", message: str = "", **headers: str) -> None:
        error = {"errorCode": code, "errorMessage": message}
        self.raw(status, orjson.dumps({"meta": {"requestId": "r-1", "error": error}}), **headers)

    def raw(self, status: int, body: bytes, **headers: str) -> None:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers.append(Response(status, names, body))

    def fails(self, error: Exception) -> None:
        self._answers.append(error)


@pytest.fixture(scope="session")
def new_api() -> Callable[[], Api]:
    """Make an API for each example of a property."""
    return Api


@pytest.fixture
def api() -> Api:
    """Make an API that waits for its answers."""
    return Api()
