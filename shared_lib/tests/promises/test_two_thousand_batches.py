"""A run of two thousand batches, sixteen at a time in as many threads: it goes on once, when the last one is in."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from qualtrics_etl.ledger import State
from qualtrics_etl.messages import Message
from qualtrics_etl.ports import Outgoing, Received
from qualtrics_etl.qualtrics import RequestsTransport
from qualtrics_etl.qualtrics.pacing import Unpaced
from qualtrics_etl.steps.base import Delivery
from qualtrics_etl.summary import done_by_service

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place

RUN = "acme-etl-0123456789ab"
"""Of all that the place begins."""
BATCHES = 2_000
WORKERS = {"create_mailing_list": 2, "import_contacts": 16, "schedule_distribution": 4, "schedule_reminder": 2}
IDLE_SECONDS = 0.002
COPIED = 20
"""Of the imports' messages every so-manieth comes twice, of the others each: a copy of all would be copied along."""
LOOKS = 20
"""How many deliveries of the fan-in's message are looked at."""
MOST_DELIVERIES = 20 * BATCHES
"""Many times as many as there are."""
EVERYBODY = {f"p{number}@client.example" for number in range(BATCHES)}


class Crew:
    """Workers in threads, each warm and with a connection of its own; time passes only when nobody has work."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._errors: list[BaseException] = []
        self._stop = threading.Event()
        self.most_at_once: Counter[str] = Counter()
        self.missing_at_fan_in: list[set[str]] = []
        self.deliveries = 0
        self._copied: set[str] = set()

    def work(self) -> None:
        """Work until nothing is left but dead letters.

        Raises:
            BaseException: What a worker's thread ended with.
        """
        self._stop.clear()
        threads = [
            threading.Thread(target=self._serve, args=(service,), daemon=True)
            for service, count in WORKERS.items()
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        while not self._errors and self._goes_on():
            time.sleep(IDLE_SECONDS)
        self._stop.set()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _serve(self, service: str) -> None:
        try:
            step = self._place.step(service, transport=RequestsTransport(), pace=Unpaced())
            queue = self._place.queues.of(service)
            while not self._stop.is_set():
                # Nothing is received while somebody looks whether anything is left.
                with self._lock:
                    received = queue.receive(max_messages=1)
                    self._begin(service, len(received))
                    for each in received:
                        self._copy(service, each)
                for each in received:
                    if step.handle(Delivery(each, lambda: 60.0)):
                        queue.delete(each.receipt)
                    with self._lock:
                        self._busy[service] -= 1
                if not received:
                    time.sleep(IDLE_SECONDS)
        except BaseException as error:
            self._errors.append(error)

    def _begin(self, service: str, count: int) -> None:
        if service == "schedule_distribution" and count and len(self.missing_at_fan_in) < LOOKS:
            self.missing_at_fan_in.append(waited_for(self._place))
        self.deliveries += count
        assert self.deliveries <= MOST_DELIVERIES, "It never comes to an end."
        self._busy[service] += count
        self.most_at_once[service] = max(self.most_at_once[service], self._busy[service])

    def _copy(self, service: str, received: Received) -> None:
        """Let a message come to another worker too, at the same time."""
        chosen = service != "import_contacts" or self.deliveries % COPIED == 0
        if chosen and received.body not in self._copied:
            self._copied.add(received.body)
            self._place.queues.of(service).send([Outgoing(received.body)])

    def _goes_on(self) -> bool:
        """Whether there is work; where all of it is yet to come, time passes until the first of it is due."""
        with self._lock:
            queues = self._place.queues
            if self._busy.total() or any(queues.of(each).counts().visible for each in WORKERS):
                return True
            due = queues.next_due_at()
            if due is not None:
                self._place.clock.advance(max(0.0, (due - self._place.clock.now()).total_seconds()))
            return due is not None


def begin(place: Place, content: bytes) -> Crew:
    """Return a crew whose file is parsed: a batch for each row."""
    chain = ("fetch_sftp_file", "parse_file", *WORKERS)
    place.use(*chain, parse_file={"settings": {"rows_per_batch": 1}}, import_contacts={"concurrency": 16})
    place.begin(content)
    place.run_only("parse_file")
    return Crew(place)


def invited(place: Place) -> Counter[str]:
    """Let everything go out; return how often each person is mailed, by kind of mail."""
    place.simulator.advance(400 * 86_400)
    mails: Counter[str] = Counter()
    for person in place.simulator.mailings()["sent"]:
        mails.update(f"{mail['kind']} {person['email']}" for mail in person["by"])
    return mails


def once_each(*kinds: str) -> Counter[str]:
    """Return one mail of each kind to everybody."""
    return Counter({f"{kind} {email}": 1 for kind in kinds for email in EVERYBODY})


def test_fan_in_of_two_thousand_batches_fires_once(place: Place, contacts: Callable[..., bytes]) -> None:
    """With messages that come twice: nobody goes on before all are in; one list, one invitation, one reminder."""
    crew = begin(place, contacts(BATCHES))
    crew.work()
    assert crew.most_at_once["import_contacts"] == 16
    assert crew.missing_at_fan_in
    assert set().union(*crew.missing_at_fan_in) == set()
    assert [len(each.members) for each in place.simulator.state.mailing_lists.values()] == [BATCHES]
    assert sorted(place.scheduled()) == ["Invite", "Reminder"]
    assert invited(place) == once_each("Invite", "Reminder")
    assert [place.letters(service) for service in WORKERS] == [[], [], [], []]
    assert done(place) == {**dict.fromkeys(WORKERS, 1), "import_contacts": BATCHES}


def test_run_waits_for_the_one_batch_that_failed_and_ends_after_it_is_sent_back(
    place: Place, contacts: Callable[..., bytes]
) -> None:
    """One batch is a dead letter: nobody is invited, and it shows for what the run waits; sent back, it ends."""
    crew = begin(place, contacts(BATCHES))
    place.fault("failed_job", skip=1_234)
    crew.work()
    batch, *copies = {Message.decode(letter.body).batch for letter in place.letters("import_contacts")}
    assert copies == []
    assert place.scheduled() == []
    assert done(place) == {**dict.fromkeys(WORKERS, 0), "create_mailing_list": 1, "import_contacts": BATCHES - 1}
    assert waited_for(place) == {batch}
    failed = place.entry("import_contacts", batch)
    assert failed is not None
    assert failed.state is State.FAILED

    assert failed.cause is not None
    assert "has failed" in failed.cause.what
    place.redrive("import_contacts")
    crew.work()
    assert waited_for(place) == set()
    assert sorted(place.scheduled()) == ["Invite", "Reminder"]
    assert invited(place) == once_each("Invite", "Reminder")
    assert [place.letters(service) for service in WORKERS] == [[], [], [], []]


def done(place: Place) -> dict[str, int]:
    """Return how many pieces of work the services behind `parse_file` have done."""
    counts = done_by_service(place.workflow, place.bucket)
    return {service: counts[service] for service in WORKERS}


def waited_for(place: Place) -> set[str]:
    """Return the batches of which the invitation's fan-in has no mark."""
    marks = {key.rpartition("/")[2] for key in place.keys(f"ledger/{RUN}/schedule_distribution/arrived/")}
    return {f"{number:05}" for number in range(BATCHES)} - marks
