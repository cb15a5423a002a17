"""The ledger: one writer wins, an unanswered put is settled by reading back, leases are on the store's clock."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from typing_extensions import override

from qualtrics_etl.errors import LostClaimError, PermanentError, PreconditionFailedError, RetryableError
from qualtrics_etl.ledger import Cause, Entry, How, Ledger, Output, State, entry_key
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.objects import MemoryObjects
from qualtrics_etl.messages import MailingListCreated
from qualtrics_etl.ports import ObjectStore, PutResult
from qualtrics_etl.testing.faults import ObjectsAround

KEY = entry_key("acme-1", "create_mailing_list", "all")
INTENT = Entry(State.INTENT, lease_seconds=120, call_possible=True)
START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


class UnansweredObjects(ObjectsAround):
    """Another store, some of whose puts go unanswered; by turn `""` works, `lost` has no effect, `late` has one."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.turns: list[str] = []
        self.puts = 0

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        self.puts += 1
        turn = self.turns.pop(0) if self.turns else ""
        if turn != "lost":
            result = super().put(key, body, if_none_match=if_none_match, if_match=if_match)
            if not turn:
                return result
        raise PreconditionFailedError("412") if turn == "refused" else RetryableError("no answer")


@pytest.fixture
def clock() -> VirtualClock:
    """The store's clock."""
    return VirtualClock(START)


@pytest.fixture
def objects(clock: VirtualClock) -> UnansweredObjects:
    """A store that can go silent."""
    return UnansweredObjects(MemoryObjects(clock))


@pytest.fixture
def ledger(objects: UnansweredObjects) -> Ledger:
    """A worker's ledger."""
    numbers = itertools.count(1)
    return Ledger(objects, new_nonce=lambda: f"nonce-{next(numbers)}")


def test_entry_reads_back_as_it_was_written() -> None:
    """Every field of an entry survives the store."""
    entry = Entry(
        State.DONE,
        generation=2,
        attempt=3,
        nonce="n",
        lease_seconds=4,
        failures=5,
        call_possible=True,
        quiet_since=START,
        absent_looks=1,
        request_key="payloads/x",
        request_sha256="0" * 64,
        rows_key="payloads/y",
        notes={"sent": 1},
        job_id="PGRS_1",
        fact=MailingListCreated("CG_1", "contacts"),
        skipped="why",
        outputs=(Output(How.EACH_BATCH, "{}", 5, ("schedule_distribution",)),),
        cause=Cause.of(PermanentError("what", remedy="remedy", request_id="r-1")),
    )
    assert Entry.decode(entry.encode()) == entry


def test_first_claim_wins(ledger: Ledger) -> None:
    """Of two claims one is fresh; the other is told what stands there."""
    first, second = ledger.claim(KEY, INTENT), ledger.claim(KEY, INTENT)
    assert (first.fresh, second.fresh, second.entry) == (True, False, first.entry)


@pytest.mark.parametrize("turn", ["late", "refused"])
def test_own_put_that_got_through_is_recognised(ledger: Ledger, objects: UnansweredObjects, turn: str) -> None:
    """A claim or change that went unanswered, or met itself as a 412, is ours when our bytes stand there."""
    objects.turns = [turn]
    held = ledger.claim(KEY, INTENT)
    objects.turns = [turn]
    done = ledger.change(held, replace(held.entry, state=State.DONE))
    assert (held.fresh, done.fresh, done.entry.state) == (True, True, State.DONE)


def test_put_without_effect_is_made_again(ledger: Ledger, objects: UnansweredObjects) -> None:
    """A change that the store lost is written again, so that what was just done is not forgotten."""
    held = ledger.claim(KEY, INTENT)
    objects.turns = ["lost"]
    assert ledger.change(held, replace(held.entry, state=State.STARTED, job_id="PGRS_1")).entry.job_id == "PGRS_1"


def test_store_that_stays_silent_is_no_lost_claim(ledger: Ledger, objects: UnansweredObjects) -> None:
    """When nothing could be written, the error says so, and nobody else is blamed."""
    held = ledger.claim(KEY, INTENT)
    objects.turns = ["lost", "lost"]
    with pytest.raises(
        RetryableError, match=r"^ledger/acme-1/create_mailing_list/all could not be written\.$"
    ) as caught:
        ledger.change(held, INTENT)
    assert not isinstance(caught.value, LostClaimError)
    assert ledger.read(KEY).entry == held.entry  # type: ignore[union-attr]


def test_change_under_a_worker_is_noticed(ledger: Ledger) -> None:
    """Who holds an old version can't record over a newer one."""
    held = ledger.claim(KEY, INTENT)
    ledger.take_over(held, lease_seconds=120)
    with pytest.raises(LostClaimError):
        ledger.change(held, replace(held.entry, state=State.DONE))


def test_lease_lives_by_the_clock_of_the_store(ledger: Ledger, clock: VirtualClock) -> None:
    """What is left of a lease is what the store's times say when the entry is read."""
    ledger.claim(KEY, INTENT)
    clock.advance(100)
    assert ledger.read(KEY).lease_left == 20  # type: ignore[union-attr]
    clock.advance(30)
    assert ledger.read(KEY).lease_left == -10  # type: ignore[union-attr]


def test_call_of_a_dead_worker_may_last_as_long_as_its_lease(ledger: Ledger, clock: VirtualClock) -> None:
    """After a worker that vanished, it is quiet from the end of its lease on."""
    held = ledger.claim(KEY, INTENT)
    clock.advance(500)
    taken = ledger.take_over(held, lease_seconds=120)
    assert (taken.entry.attempt, taken.entry.quiet_since) == (2, START + timedelta(seconds=120))


def test_quiet_begins_when_a_worker_lets_go(ledger: Ledger, clock: VirtualClock) -> None:
    """After a worker that let go of a possible call it is quiet from then on, however often it is taken over."""
    held = ledger.claim(KEY, INTENT)
    clock.advance(10)
    held = ledger.let_go(held, call_possible=True, failed=True)
    clock.advance(50)
    held = ledger.take_over(held, lease_seconds=120)
    clock.advance(500)
    again = ledger.take_over(held, lease_seconds=120)
    assert (again.entry.quiet_since, again.entry.failures) == (START + timedelta(seconds=10), 1)


def test_call_that_was_not_made_leaves_nothing_to_look_for(ledger: Ledger) -> None:
    """After a worker that made no call the next may call at once, and says so."""
    held = ledger.take_over(ledger.let_go(ledger.claim(KEY, INTENT), call_possible=False), lease_seconds=120)
    assert (held.entry.quiet_since, held.entry.call_possible) == (None, True)


def test_call_again_forgets_what_was_seen_before(ledger: Ledger) -> None:
    """Once the call may happen again, nothing is quiet and no look counts."""
    held = ledger.let_go(ledger.claim(KEY, INTENT), call_possible=True, absent_looks=2)
    held = ledger.call_again(ledger.take_over(held, lease_seconds=120))
    assert (held.entry.quiet_since, held.entry.absent_looks, held.entry.call_possible) == (None, 0, True)


def test_end_that_stands_is_kept(ledger: Ledger) -> None:
    """Work that is done twice has one end: the first; a waiver stands too."""
    for state in (State.DONE, State.WAIVED):
        key = entry_key("acme-1", "parse_file", state.value)
        ledger.settle(key, Entry(state, skipped="first"))
        assert ledger.settle(key, Entry(State.DONE, skipped="second")).entry.skipped == "first"
        assert ledger.settle(key, Entry(State.FAILED)).entry.state is state


def test_failure_gives_way_to_what_came_later(ledger: Ledger) -> None:
    """A recorded failure is replaced by a success, which keeps the higher generation."""
    ledger.settle(KEY, Entry(State.FAILED, generation=1, cause=Cause("why")))
    held = ledger.settle(KEY, Entry(State.DONE, generation=0))
    assert (held.entry.state, held.entry.generation) == (State.DONE, 1)
