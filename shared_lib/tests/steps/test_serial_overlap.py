"""Whether a service's workers are ever at Qualtrics at the same time: several threads that all want to be."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from qualtrics_etl.messages import FileParsed
from qualtrics_etl.qualtrics import Request, RequestsTransport, Response, Transport
from qualtrics_etl.steps.base import Delivery

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place

SERVICE = "create_mailing_list"
WORKERS = 4
MESSAGES = 12


class Meeting:
    """Notes who is inside a call, and keeps everybody there until all others have asked the queue for more.

    So an overlap that can happen does happen, however the threads are scheduled.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: set[int] = set()
        self._looks = [0] * WORKERS
        self._gone: set[int] = set()
        self._news = 0
        self.most = 0

    def news(self) -> int:
        """Return a number that is another one after each piece of news."""
        return self._news

    def look(self, worker: int, *, found: bool, seen: int) -> None:
        """Hear that a worker has asked its queue for a message; keep who found none until there is news."""
        with self._changed:
            self._looks[worker] += 1
            self._changed.notify_all()
            if not found:
                self._changed.wait_for(lambda: self._news != seen)

    def tell(self) -> None:
        """Hear that a message was settled: the one behind it may be there now."""
        with self._changed:
            self._news += 1
            self._changed.notify_all()

    def leave(self, worker: int) -> None:
        """Hear that a worker has gone home."""
        with self._changed:
            self._gone.add(worker)
            self._news += 1
            self._changed.notify_all()

    def inside(self, worker: int) -> None:
        """Stay until every other worker has asked for more, is inside too, or has gone home."""
        with self._changed:
            self._inside.add(worker)
            self.most = max(self.most, len(self._inside))
            self._news += 1
            self._changed.notify_all()
            before = list(self._looks)
            others = set(range(WORKERS)) - {worker}
            self._changed.wait_for(
                lambda: all(
                    each in self._inside or each in self._gone or self._looks[each] > before[each] for each in others
                )
            )
            self._inside.discard(worker)


class MeetingTransport(Transport):
    """One worker's way to Qualtrics, on which it may meet others."""

    def __init__(self, worker: int, meeting: Meeting) -> None:
        self._inner = RequestsTransport()
        self._worker = worker
        self._meeting = meeting

    @override
    def send(self, request: Request) -> Response:
        self._meeting.inside(self._worker)
        return self._inner.send(request)


def most_at_once(place: Place) -> int:
    """Let several workers work on all messages of a service; return how many were at Qualtrics at once."""
    meeting, queue = Meeting(), place.queues.of(SERVICE)
    for number in range(MESSAGES):
        parsed = FileParsed(1, "payloads/any/parse_file/batches", 1, 1, 0)
        place.send(place.message(SERVICE, parsed, run=f"acme-etl-{number:012}"))
        place.clock.advance(0.001)

    def work(worker: int) -> None:
        step = place.step(SERVICE, transport=MeetingTransport(worker, meeting))
        while len(place.lists()) < MESSAGES:
            seen = meeting.news()
            received = queue.receive(max_messages=1)
            meeting.look(worker, found=bool(received), seen=seen)
            for each in received:
                assert step.handle(Delivery(each, lambda: 60.0))
                queue.delete(each.receipt)
                meeting.tell()
        meeting.leave(worker)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads), "the workers never came to an end"
    return meeting.most


def test_serial_service_never_overlaps(place: Place) -> None:
    """Four workers ask for messages all the time, also while one is at Qualtrics: none joins it, and order is kept."""
    place.use(create_mailing_list={"concurrency": "serial"})
    assert most_at_once(place) == 1
    marks = [name.rpartition("[")[2].removesuffix("]") for name in place.lists()]
    assert marks == [f"{number:012}" for number in range(MESSAGES)]


def test_other_services_do_overlap(place: Place) -> None:
    """The same workers at an ordinary queue meet: the test above can fail."""
    place.use(create_mailing_list={"concurrency": WORKERS})
    assert most_at_once(place) > 1
    assert len(place.lists()) == MESSAGES


@pytest.mark.parametrize("scenario", ["throttle", "server_error"])
def test_message_that_must_wait_lets_none_pass(place: Place, scenario: str) -> None:
    """While a serial service's message waits or backs off, no worker gets the one behind it."""
    place.use(create_mailing_list={"concurrency": "serial"})
    place.fault(scenario, path="*/mailinglists", method="POST")
    place.order_list()
    place.clock.advance(1)
    place.send(place.message(SERVICE, batch="second"))
    assert place.deliver(SERVICE) == [False]
    assert [place.receive(SERVICE) for _ in range(WORKERS)] == [[]] * WORKERS
