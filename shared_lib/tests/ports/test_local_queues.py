"""What the double of SQS promises beyond the contract: long times, pauses, and what a standard queue may do."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.clock import SystemClock
from qualtrics_etl.errors import ConfigurationError, PermanentError
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.queues import HeldMessage, LocalQueue, LocalQueues, QueueSettings
from qualtrics_etl.ports import Outgoing, QueueCounts

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
STANDARD = {"step": QueueSettings(visibility_seconds=60, max_receive_count=2)}
SERIAL = {"step": QueueSettings(visibility_seconds=60, max_receive_count=2, fifo=True)}


@pytest.fixture
def clock() -> VirtualClock:
    """A clock that stands still."""
    return VirtualClock(START)


def test_deduplication_ends_after_five_minutes(clock: VirtualClock) -> None:
    """An id counts from its first message, and is free again when five minutes are over."""
    queue = LocalQueues(SERIAL, clock).of("step")
    taken = []
    for seconds in (0, 299, 1, 299):
        clock.advance(seconds)
        queue.send([Outgoing("x", deduplication_id="same"), Outgoing("x", deduplication_id=f"other {seconds}"[:5])])
        taken.append(queue.counts().visible)

    assert taken == [2, 2, 4, 4]


def test_longest_delay_and_visibility_are_kept_to_the_second(clock: VirtualClock) -> None:
    """What is due in 15 minutes or in 12 hours is not visible a moment earlier."""
    queue = LocalQueues(STANDARD, clock).of("step")
    queue.send([Outgoing("x", delay_seconds=900)])
    seen = []
    for seconds in (899.999999, 0.000001):
        clock.advance(seconds)
        seen.append(queue.counts())
    queue.change_visibility(queue.receive()[0].receipt, 43_200)
    for seconds in (43_199.999999, 0.000001):
        clock.advance(seconds)
        seen.append(queue.counts())

    visible, in_flight, delayed = QueueCounts(1, 0, 0), QueueCounts(0, 1, 0), QueueCounts(0, 0, 1)
    assert seen == [delayed, visible, in_flight, visible]


def test_no_delivery_lasts_longer_than_twelve_hours(clock: VirtualClock) -> None:
    """Prolonging counts from the receive on, as on SQS."""
    queue = LocalQueues(STANDARD, clock).of("step")
    queue.send([Outgoing("x")])
    [received] = queue.receive()
    clock.advance(30)
    queue.change_visibility(received.receipt, 43_170)

    with pytest.raises(PermanentError, match="total visibility is 43201, and SQS allows 0 to 43200"):
        queue.change_visibility(received.receipt, 43_171)


def test_next_due_time_is_the_earliest(clock: VirtualClock) -> None:
    """An engine that skips to it finds something to do there, and dead letters keep nobody waiting."""
    queues = LocalQueues({**STANDARD, "other": STANDARD["step"]}, clock)
    found = [queues.next_due_at()]
    queues.of("step").send([Outgoing("a", delay_seconds=300), Outgoing("b", delay_seconds=200)])
    queues.dead_letters_of("step").send([Outgoing("c", delay_seconds=1)])
    found.append(queues.next_due_at())
    queues.of("other").send([Outgoing("d")])
    received = queues.of("other").receive()
    found.append(queues.next_due_at())
    queues.of("other").delete(received[0].receipt)
    found.append(queues.next_due_at())

    assert found == [None, *(START + timedelta(seconds=seconds) for seconds in (200, 60, 200))]


@given(st.floats(0, 10_000_000), st.integers(1, 900))
def test_skipping_to_the_next_due_time_makes_it_visible(start: float, delay: int) -> None:
    """Whatever the time is, no rounding leaves the engine a moment short of what is due."""
    clock = VirtualClock(START + timedelta(seconds=start))
    queue = LocalQueues(STANDARD, clock).of("step")
    queue.send([Outgoing("x", delay_seconds=delay)])

    due = queue.next_due_at()
    assert due is not None
    clock.advance((due - clock.now()).total_seconds())

    assert queue.counts().visible == 1


def test_messages_are_seen_without_receiving_them(clock: VirtualClock) -> None:
    """A summary looks at what waits where, and changes nothing."""
    queue = LocalQueues(STANDARD, clock).of("step")
    queue.send([Outgoing("a", attributes={"k": "v"}), Outgoing("b", delay_seconds=5), Outgoing("c")])
    received = queue.receive(max_messages=1)

    ids = [message.message_id for message in queue.messages()]
    assert (
        queue.messages()
        == queue.messages()
        == [
            HeldMessage(received[0].message_id, "a", {"k": "v"}, 1, "in_flight", START + timedelta(seconds=60)),
            HeldMessage(ids[1], "b", {}, 0, "delayed", START + timedelta(seconds=5)),
            HeldMessage(ids[2], "c", {}, 0, "visible", START),
        ]
    )


def test_paused_run_goes_on_after_json(clock: VirtualClock) -> None:
    """A snapshot holds messages, counts, times, dead letters and deduplication; a dead worker's message times out."""
    services = {"step": STANDARD["step"], "serial": SERIAL["step"]}
    old = LocalQueues(services, clock)
    old.of("step").send([Outgoing("late", delay_seconds=90), Outgoing("poison", attributes={"a": "b"})])
    old.of("serial").send([Outgoing("first", deduplication_id="1"), Outgoing("second", deduplication_id="2")])
    old.of("serial").receive(max_messages=1)
    old.dead_letters_of("step").send([Outgoing("dead")])

    new = LocalQueues(services, clock)
    new.restore(json.loads(json.dumps(old.snapshot())))

    assert new.snapshot() == old.snapshot()
    assert new.of("serial").receive() == []
    new.of("serial").send([Outgoing("first again", deduplication_id="1")])
    clock.advance(60)
    assert [(m.body, m.receive_count) for m in new.of("serial").receive()] == [("first", 2), ("second", 1)]


def test_paused_run_is_not_lost_to_a_changed_workflow(clock: VirtualClock) -> None:
    """Messages of a service that was removed are an error with a remedy; its empty queues are not."""
    old = LocalQueues({"removed": STANDARD["step"], "step": STANDARD["step"]}, clock)
    empty = old.snapshot()
    old.of("removed").send([Outgoing("x")])
    new = LocalQueues(STANDARD, clock)
    new.restore(empty)

    with pytest.raises(ConfigurationError) as caught:
        new.restore(old.snapshot())

    assert str(caught.value) == (
        "The paused run has messages in queues that the workflow no longer has: removed. "
        "Bring the services back into workflow.yml and resume, or start the run again."
    )


def test_seed_decides_the_order(clock: VirtualClock) -> None:
    """A seed gives an order that is not that of sending, and the same one again; FIFO queues keep theirs."""
    shuffled = [_bodies(LocalQueues(STANDARD, VirtualClock(START), seed=7).of("step"), 50) for _ in range(2)]
    plain = _bodies(LocalQueues(STANDARD, clock).of("step"), 50)
    serial = _bodies(LocalQueues(SERIAL, clock, seed=7).of("step"), 50)

    sent = [str(n) for n in range(50)]
    assert shuffled[0] == shuffled[1] != sent
    assert (sorted(shuffled[0], key=int), plain, serial) == (sent, sent, sent)


def test_duplicates_come_twice_and_no_more(clock: VirtualClock) -> None:
    """Every message of a standard queue is delivered a second time, although it was acknowledged; FIFO ones are not."""
    standard = _bodies(LocalQueues(STANDARD, clock, seed=1, duplicates=True).of("step"), 20)
    serial = _bodies(LocalQueues(SERIAL, clock, duplicates=True).of("step"), 20)

    assert Counter(standard) == {str(n): 2 for n in range(20)}
    assert Counter(serial) == {str(n): 1 for n in range(20)}


def test_text_sent_again_is_not_doubled_again(clock: VirtualClock) -> None:
    """What a doubled sender sends twice comes three times, not four: chains stay bounded."""
    queue = LocalQueues(STANDARD, clock, duplicates=True).of("step")
    queue.send([Outgoing("x"), Outgoing("x")])

    assert _drain(queue) == ["x"] * 3


def test_second_delivery_is_the_same_message(clock: VirtualClock) -> None:
    """Both deliveries bear the same id, are out at the same time, and one ends in the dead letters at most."""
    queues = LocalQueues(STANDARD, clock, duplicates=True)
    queues.of("step").send([Outgoing("x")])
    first, second = queues.of("step").receive(), queues.of("step").receive()
    for _ in range(3):
        clock.advance(60)
        queues.of("step").receive()

    assert [m.message_id for m in first] == [m.message_id for m in second]
    assert [m.message_id for m in queues.dead_letters_of("step").messages()] == [first[0].message_id]
    assert queues.of("step").counts() == QueueCounts(0, 0, 0)


def test_failing_does_not_breed_more_deliveries(clock: VirtualClock) -> None:
    """A message that is given back comes again as itself: two are out, never in one batch, and over a pause too."""
    settings = {"step": QueueSettings(visibility_seconds=60, max_receive_count=100)}
    queues = LocalQueues(settings, clock, duplicates=True)
    queues.of("step").send([Outgoing("x")])
    out = []
    for _ in range(4):
        out.append([len(queues.of("step").receive()) for _ in range(3)])
        clock.advance(60)
        snapshot = queues.snapshot()
        queues = LocalQueues(settings, clock, duplicates=True)
        queues.restore(snapshot)

    assert out == [[1, 1, 0]] * 4


def test_threads_share_the_messages() -> None:
    """Eight consumers at once get every message, each one once."""
    queue = LocalQueues(STANDARD, SystemClock()).of("step")
    queue.send([Outgoing(str(n)) for n in range(2_000)])
    gate = threading.Barrier(8)

    def consume(_: int) -> list[str]:
        gate.wait()
        return _drain(queue)

    with ThreadPoolExecutor(8) as pool:
        bodies = [body for taken in pool.map(consume, range(8)) for body in taken]

    assert (sorted(bodies, key=int), queue.counts()) == ([str(n) for n in range(2_000)], QueueCounts(0, 0, 0))


def test_refusal_says_what_is_wrong(clock: VirtualClock) -> None:
    """Whoever made a bad message reads how many were refused, and why the first one was."""
    with pytest.raises(PermanentError) as caught:
        LocalQueues(STANDARD, clock).of("step").send([Outgoing("x"), Outgoing("x", delay_seconds=901)])

    assert str(caught.value) == (
        "step refused 1 of 2 messages: a delay of 901 seconds is not between 0 and 900. "
        "Correct the step that makes the message."
    )


def _bodies(queue: LocalQueue, number: int) -> list[str]:
    queue.send([Outgoing(str(n), deduplication_id=str(n)) for n in range(number)])
    return _drain(queue)


def _drain(queue: LocalQueue) -> list[str]:
    bodies = []
    while batch := queue.receive():
        bodies += [message.body for message in batch]
        for message in batch:
            queue.delete(message.receipt)
    return bodies
