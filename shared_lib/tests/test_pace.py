"""Requests a minute are shared by all workers, and whatever happens to the store, nothing is lost but requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from typing_extensions import override

from qualtrics_etl.errors import NotYetError, PreconditionFailedError, RetryableError
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.objects import MemoryObjects
from qualtrics_etl.pace import MOST_MINUTES_SPENT, RACES, SPREAD_SECONDS, Slots, budget_of
from qualtrics_etl.ports import ObjectStore, PutResult, StoredObject
from qualtrics_etl.qualtrics.registry import (
    BRAND_REQUESTS_PER_MINUTE,
    CREATE_DISTRIBUTION,
    CREATE_MAILING_LIST,
    CREATE_REMINDER,
    ENDPOINTS,
    START_CONTACT_IMPORT,
    Endpoint,
)
from qualtrics_etl.testing.faults import ObjectsAround

START = datetime(2026, 11, 22, 9, 0, 20, tzinfo=UTC)
IMPORTS = START_CONTACT_IMPORT.requests_per_minute


class WatchedObjects(ObjectsAround):
    """A store that counts how often it is asked, and on which something may happen before a put."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.asked = 0
        self.before_put: Callable[[str], None] = lambda key: None

    @override
    def get(self, key: str) -> StoredObject | None:
        self.asked += 1
        return super().get(key)

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        self.asked += 1
        self.before_put(key)
        return super().put(key, body, if_none_match=if_none_match, if_match=if_match)


@pytest.fixture
def clock() -> VirtualClock:
    """The store's clock, and the workers' unless told otherwise."""
    return VirtualClock(START)


@pytest.fixture
def objects(clock: VirtualClock) -> WatchedObjects:
    """A store that all workers share."""
    return WatchedObjects(MemoryObjects(clock))


def taken(objects: ObjectStore, name: str, minute: str = "20261122T0900Z") -> int:
    """Return what the store says is taken of a minute."""
    found = objects.get(f"pace/{name}/{minute}")
    return int(orjson.loads(found.body)["taken"]) if found else 0


def take_all(*workers: Slots, endpoint: Endpoint = START_CONTACT_IMPORT, most: int = 5000) -> int:
    """Let workers take turns until each is refused; return how many requests they may send."""
    granted, left = 0, list(workers)
    while left and granted < most:
        for worker in list(left):
            try:
                worker.take(endpoint)
                granted += 1
            except NotYetError:
                left.remove(worker)
    return granted


def delay_of(worker: Slots, endpoint: Endpoint = START_CONTACT_IMPORT) -> float:
    """Return how long a message is told to wait."""
    with pytest.raises(NotYetError) as caught:
        worker.take(endpoint)
    assert not caught.value.call_made
    return caught.value.delay_seconds


@pytest.mark.parametrize("count", [1, 2, 16])
def test_workers_share_an_endpoints_minute(objects: WatchedObjects, clock: VirtualClock, count: int) -> None:
    """However many workers there are, they send exactly as many requests as the endpoint allows, and no more."""
    assert take_all(*(Slots(objects, clock) for _ in range(count))) == IMPORTS


@pytest.mark.parametrize("endpoint", [CREATE_DISTRIBUTION, CREATE_REMINDER], ids=lambda each: each.name)
def test_workers_share_the_brands_minute(objects: WatchedObjects, clock: VirtualClock, endpoint: Endpoint) -> None:
    """What has no limit of its own counts against the brand's."""
    assert take_all(*(Slots(objects, clock) for _ in range(16)), endpoint=endpoint) == BRAND_REQUESTS_PER_MINUTE


def test_brands_limit_holds_for_all_endpoints_together(objects: WatchedObjects, clock: VirtualClock) -> None:
    """What one endpoint takes of the brand's minute is missing at the others, whose own slots stay theirs."""
    lists, mails = Slots(objects, clock), Slots(objects, clock)
    granted = take_all(lists, endpoint=CREATE_MAILING_LIST, most=100)
    granted += take_all(mails, endpoint=CREATE_DISTRIBUTION)
    granted += take_all(lists, endpoint=CREATE_MAILING_LIST)
    assert granted == BRAND_REQUESTS_PER_MINUTE
    assert taken(objects, "create_mailing_list") < CREATE_MAILING_LIST.requests_per_minute


def test_every_minute_has_its_own_slots(objects: WatchedObjects, clock: VirtualClock) -> None:
    """In the next minute a worker has all of it again, and nothing of what it had kept."""
    worker = Slots(objects, clock)
    assert take_all(worker, most=60) == 60
    clock.advance(40)
    assert take_all(worker) == IMPORTS


def test_warm_worker_seldom_asks_the_store(objects: WatchedObjects, clock: VirtualClock) -> None:
    """A worker keeps what it took: a thousand requests need a few dozen calls of the store."""
    take_all(Slots(objects, clock), endpoint=CREATE_DISTRIBUTION, most=1000)
    assert objects.asked <= 60


def test_idle_worker_keeps_little(objects: WatchedObjects, clock: VirtualClock) -> None:
    """Who sends one request takes one slot: many functions that do little don't use up the brand's minute."""
    for _ in range(100):
        Slots(objects, clock).take(START_CONTACT_IMPORT)
    assert (taken(objects, "brand"), taken(objects, "start_contact_import")) == (100, 100)


@pytest.mark.parametrize(("limit", "share", "budget"), [(3000, 1.0, 3000), (3000, 0.5, 1500), (100, 0.001, 1)])
def test_share_is_of_each_limit(limit: int, share: float, budget: int) -> None:
    """A share is taken of each limit; a small one leaves one request a minute, since none would be for ever."""
    assert budget_of(limit, share) == budget


def test_share_is_all_that_is_taken(objects: WatchedObjects, clock: VirtualClock) -> None:
    """With a quarter of the limits, workers send a quarter."""
    assert take_all(Slots(objects, clock, share=0.25), Slots(objects, clock, share=0.25)) == IMPORTS // 4


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 41.0), (1.0, 41.0 + SPREAD_SECONDS)])
def test_who_gets_none_waits_for_the_next_minute(
    objects: WatchedObjects, clock: VirtualClock, jitter: float, seconds: float
) -> None:
    """At 20 seconds past, the wait is 40 seconds and more: spread, so that not all come in the first second."""
    take_all(Slots(objects, clock))
    assert delay_of(Slots(objects, clock, jitter=lambda: jitter)) == seconds


def test_many_that_wait_come_in_different_minutes(objects: WatchedObjects, clock: VirtualClock) -> None:
    """Each minute is promised to twice as many as fit, and no wait is longer than a queue's longest delay."""
    worker = Slots(objects, clock, jitter=lambda: 0.0)
    take_all(worker)  # whose last one was the first to be refused
    delays = [delay_of(worker) for _ in range(40 * IMPORTS)]
    assert [delays.count(41.0 + 60 * n) for n in range(4)] == [2 * IMPORTS - 1, *[2 * IMPORTS] * 3]
    assert max(delays) + SPREAD_SECONDS <= 900


def test_spent_minute_is_known_without_asking(objects: WatchedObjects, clock: VirtualClock) -> None:
    """A warm worker that found nothing left sends messages away without the store, before anything is prepared."""
    worker, other = Slots(objects, clock), Slots(objects, clock)
    take_all(worker)
    asked = objects.asked
    with pytest.raises(NotYetError):
        worker.check(START_CONTACT_IMPORT)
    delay_of(worker)
    other.check(START_CONTACT_IMPORT)  # knows nothing yet
    clock.advance(40)
    worker.check(START_CONTACT_IMPORT)
    assert objects.asked == asked


def test_reserved_request_needs_nobody_when_it_is_sent(objects: WatchedObjects, clock: VirtualClock) -> None:
    """Between the last look at the clock and the call the store is not asked, whatever minute it is; once."""
    worker = Slots(objects, clock)
    worker.reserve(START_CONTACT_IMPORT)
    worker.reserve(START_CONTACT_IMPORT)
    asked = objects.asked
    clock.advance(600)
    worker.take(START_CONTACT_IMPORT)
    assert (objects.asked, taken(objects, "start_contact_import")) == (asked, 1)
    worker.take(START_CONTACT_IMPORT)
    assert objects.asked > asked


# --- after a 429 ------------------------------------------------------------------------------------------------------


def test_one_refusal_stops_everybody_for_the_minute(objects: WatchedObjects, clock: VirtualClock) -> None:
    """After a 429 no worker gets a slot of that endpoint and minute; others go on, and the next minute is whole."""
    worker, other = Slots(objects, clock), Slots(objects, clock)
    worker.take(START_CONTACT_IMPORT)
    assert worker.refused(START_CONTACT_IMPORT, seconds=0) > 40
    assert take_all(worker, other, Slots(objects, clock)) == 0
    assert take_all(other, endpoint=CREATE_MAILING_LIST, most=10) == 10
    clock.advance(40)
    assert take_all(worker, other) == IMPORTS


def test_refusal_of_what_has_no_limit_of_its_own_stops_all(objects: WatchedObjects, clock: VirtualClock) -> None:
    """Where only the brand's limit can be meant, nobody asks for anything in that minute."""
    Slots(objects, clock).refused(CREATE_DISTRIBUTION, seconds=0)
    other = Slots(objects, clock)
    assert (take_all(other), take_all(other, endpoint=CREATE_REMINDER)) == (0, 0)


@pytest.mark.parametrize(("seconds", "minutes"), [(30, 1), (65, 1), (75, 2), (130, 2), (3600, MOST_MINUTES_SPENT)])
def test_long_retry_after_spends_further_minutes(
    objects: WatchedObjects, clock: VirtualClock, seconds: int, minutes: int
) -> None:
    """A minute is spent when the better part of it lies before the time that was named; a few minutes at most."""
    wait = Slots(objects, clock).refused(START_CONTACT_IMPORT, seconds=seconds)
    assert (wait >= seconds, len(list(objects.list("pace/start_contact_import/")))) == (True, minutes)


def test_refusal_that_comes_late_is_of_the_minute_before(objects: WatchedObjects, clock: VirtualClock) -> None:
    """Where the answer comes in the next minute, that one is not spent for it, and the wait is short."""
    worker = Slots(objects, clock, jitter=lambda: 0.0)
    worker.take(START_CONTACT_IMPORT)
    clock.advance(41)
    assert worker.refused(START_CONTACT_IMPORT, seconds=0) == 1
    assert take_all(worker) == IMPORTS


def test_refusal_counts_for_who_has_another_share(objects: WatchedObjects, clock: VirtualClock) -> None:
    """What is marked as spent is spent for a larger share too: a setting may change within the minute."""
    Slots(objects, clock, share=0.1).refused(START_CONTACT_IMPORT, seconds=0)
    assert take_all(Slots(objects, clock)) == 0


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-3600, -90, -5, 5, 45, 90, 3600])
def test_minute_is_the_stores(objects: WatchedObjects, clock: VirtualClock, ahead: float) -> None:
    """A worker whose clock is wrong takes slots of the same minute as the others; its first guess costs one."""
    wrong = Slots(objects, VirtualClock(START + timedelta(seconds=ahead)))
    right = Slots(objects, clock)
    assert IMPORTS - 1 <= take_all(wrong, right) <= IMPORTS
    assert taken(objects, "start_contact_import") == IMPORTS


# --- a store that fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["refused", "lost-answer"])
def test_store_that_fails_lets_requests_pass(
    objects: WatchedObjects, clock: VirtualClock, after: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Without an answer of the store the request is sent, and said so: at worst Qualtrics refuses it."""

    def fail(key: str) -> None:
        if after:
            objects.before_put = lambda key: None
            objects.put(key, b'{"taken":1}')
        raise RetryableError("The store did not answer.", call_made=False)

    objects.before_put = fail
    worker = Slots(objects, clock)
    worker.take(START_CONTACT_IMPORT)
    objects.before_put = fail
    assert worker.refused(START_CONTACT_IMPORT, seconds=0) > 40
    assert [record.message for record in caplog.records if record.name == "qualtrics_etl"] != []


def test_object_that_somebody_edited_stops_nothing(objects: WatchedObjects, clock: VirtualClock) -> None:
    """What can't be read is no reason to stand still."""
    objects.put("pace/start_contact_import/20261122T0900Z", b"none of ours")
    Slots(objects, clock).take(START_CONTACT_IMPORT)


def test_slots_that_a_dead_worker_took_are_lost_for_a_minute(objects: WatchedObjects, clock: VirtualClock) -> None:
    """Nobody gets them a second time, and the next minute knows nothing of them."""
    used = take_all(Slots(objects, clock), most=21)
    held = taken(objects, "start_contact_import")
    assert used < held
    assert take_all(Slots(objects, clock)) == IMPORTS - held
    clock.advance(40)
    assert take_all(Slots(objects, clock)) == IMPORTS


# --- races ------------------------------------------------------------------------------------------------------------


def test_loser_of_a_race_takes_other_slots(objects: WatchedObjects, clock: VirtualClock) -> None:
    """Who finds the object changed reads it again: no slot is given twice."""
    worker, other = Slots(objects, clock), Slots(objects, clock)

    def meanwhile(key: str) -> None:
        objects.before_put = lambda key: None
        other.take(START_CONTACT_IMPORT)

    objects.before_put = meanwhile
    worker.take(START_CONTACT_IMPORT)
    assert taken(objects, "start_contact_import") == 2


def test_loser_of_many_races_comes_again_soon(objects: WatchedObjects, clock: VirtualClock) -> None:
    """Who always comes too late waits a few seconds: that others take slots is no reason to send without one."""
    lost = []

    def lose(key: str) -> None:
        lost.append(key)
        raise PreconditionFailedError(f"There is already an object {key}.")

    objects.before_put = lose
    assert 1 <= delay_of(Slots(objects, clock)) <= 5
    assert len(lost) == RACES


def test_threads_never_get_more_than_there_is(clock: VirtualClock) -> None:
    """Workers at the same time: together they get what there is, less what is kept by who gave up early."""
    objects, begin = MemoryObjects(clock), threading.Barrier(8)
    granted: list[int] = []

    def work() -> None:
        worker = Slots(objects, clock)
        begin.wait()
        granted.append(take_all(worker, endpoint=CREATE_MAILING_LIST))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < sum(granted) <= CREATE_MAILING_LIST.requests_per_minute
    assert taken(objects, "create_mailing_list") >= sum(granted)


def test_every_kind_that_calls_names_an_endpoint() -> None:
    """The catalogue's endpoints are those of the registry, and every step that claims has one."""
    from qualtrics_etl.catalogue import KINDS

    calls = {kind.name: kind.calls for kind in KINDS.values() if kind.calls}
    assert set(calls) == {"create_mailing_list", "import_contacts", "schedule_distribution", "schedule_reminder"}
    assert set(calls.values()) <= set(ENDPOINTS)
