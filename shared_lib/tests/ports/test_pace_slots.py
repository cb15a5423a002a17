"""A minute's requests are shared on every store, by its own conditional puts and its own clock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import orjson

from qualtrics_etl.clock import SystemClock
from qualtrics_etl.errors import NotYetError
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.pace import Slots, pace_key
from qualtrics_etl.ports import ObjectStore
from qualtrics_etl.qualtrics.registry import START_CONTACT_IMPORT

WORLDS = ("memory", "folder", "moto", "ministack")

DEVIATIONS: dict[str, dict[str, str]] = {}

LEFT_OUT = {
    "test_workers_at_once_share_a_minute": {"moto": "looks and writes in two steps, so two threads may both succeed"},
}

BUDGET = 20
SHARE = BUDGET / START_CONTACT_IMPORT.requests_per_minute


def take_all(worker: Slots) -> int:
    """Take requests until there is none left; return how many it were."""
    for granted in range(10 * BUDGET):
        try:
            worker.take(START_CONTACT_IMPORT)
        except NotYetError:
            return granted
    return 10 * BUDGET


def taken(objects: ObjectStore) -> list[int]:
    """Return what is taken of each minute: of one, or of two where it turned meanwhile."""
    bodies = [objects.get(each.key) for each in objects.list("pace/start_contact_import/")]
    return [orjson.loads(found.body)["taken"] for found in bodies if found is not None]


def test_workers_in_turn_share_a_minute(objects: ObjectStore) -> None:
    """What one left is what the next one gets."""
    granted = sum(take_all(Slots(objects, SystemClock(), share=SHARE)) for _ in range(3))
    assert (granted, max(taken(objects))) == (BUDGET * taken(objects).count(BUDGET), BUDGET)


def test_workers_at_once_share_a_minute(objects: ObjectStore) -> None:
    """However they race, no slot is given twice."""
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(take_all, Slots(objects, SystemClock(), share=SHARE)) for _ in range(4)]
        granted = sum(future.result() for future in futures)
    assert 0 < granted <= sum(taken(objects))
    assert max(taken(objects)) <= BUDGET


def test_minute_is_that_of_the_stores_answers(objects: ObjectStore) -> None:
    """A worker whose clock is an hour fast takes its slots from the store's minute, save the first guess."""
    fast = VirtualClock(SystemClock().now() + timedelta(hours=1))
    assert take_all(Slots(objects, fast, share=SHARE)) >= BUDGET
    *_, guess = (each.key for each in objects.list("pace/start_contact_import/"))
    assert guess == pace_key("start_contact_import", fast.now())
    assert sorted(taken(objects)) == [1, *[BUDGET] * (len(taken(objects)) - 1)]
