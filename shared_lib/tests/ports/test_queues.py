"""What every queue promises, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qualtrics_etl.errors import ConfigurationError, PermanentError, RetryableError
from qualtrics_etl.ports import Outgoing, Queue, QueueCounts, Queues, Received

WORLDS = ("local", "moto", "ministack")

_UNCHECKED = "takes it; SQS answers InvalidParameterValue"
_NO_EXPIRY = "knows no receipt that has expired; SQS refuses it on a FIFO queue"

DEVIATIONS = {
    "test_empty_body_is_refused": {"moto": _UNCHECKED},
    "test_characters_outside_the_set_are_refused": {"moto": "takes them; SQS answers InvalidMessageContents"},
    "test_refused_message_stops_no_other_of_its_batch": {"moto": "takes the refused one too"},
    "test_attributes_count_towards_the_size": {
        "moto": "counts the body alone; SQS counts names, types and values of attributes",
        "ministack": "counts the body alone; SQS counts names, types and values of attributes",
    },
    "test_more_than_ten_attributes_are_refused": {"moto": _UNCHECKED, "ministack": _UNCHECKED},
    "test_empty_attribute_is_refused": {"moto": _UNCHECKED, "ministack": _UNCHECKED},
    "test_attribute_name_with_a_blank_is_refused": {"ministack": _UNCHECKED},
    "test_delay_of_more_than_15_minutes_is_refused": {"ministack": _UNCHECKED},
    "test_visibility_of_more_than_12_hours_is_refused": {"ministack": _UNCHECKED},
    "test_fifo_remembers_the_deduplication_id_of_what_is_done": {"moto": "forgets the id with the message"},
    "test_long_deduplication_id_is_refused": {"moto": _UNCHECKED, "ministack": _UNCHECKED},
    "test_old_receipt_deletes_nothing": {
        "moto": "deletes by any receipt; SQS wants the last one",
        "ministack": "answers ReceiptHandleIsInvalid; SQS accepts and ignores it on a standard queue",
    },
    "test_second_delete_succeeds": {"ministack": "answers ReceiptHandleIsInvalid; SQS accepts it"},
    "test_visibility_of_a_visible_message_is_not_changed": {
        "moto": "hides the message; SQS answers MessageNotInflight",
        "ministack": "hides the message; SQS answers MessageNotInflight",
    },
    "test_fifo_receipt_expires_with_its_time_out": {"moto": _NO_EXPIRY, "ministack": _NO_EXPIRY},
}

LEFT_OUT: dict[str, dict[str, str]] = {}

MIB = 1_048_576

MakeQueues = Callable[..., Queues]


def test_message_arrives_as_it_was_sent(make_queues: MakeQueues) -> None:
    """Body and attributes arrive whole, and the first delivery counts as one."""
    queue = make_queues().of("step")
    queue.send([Outgoing('{"name": "Zoë 𝄞\t\n"}', attributes={"cause": "Größe\n2", "source": "q"})])

    [received] = queue.receive()

    assert received == Received(
        received.message_id, received.receipt, '{"name": "Zoë 𝄞\t\n"}', {"cause": "Größe\n2", "source": "q"}, 1
    )


def test_empty_queue_gives_nothing(make_queues: MakeQueues) -> None:
    """Receiving from an empty queue is an answer, not an error; so is sending nothing."""
    queue = make_queues().of("step")
    queue.send([])

    assert (queue.receive(), queue.counts()) == ([], QueueCounts(0, 0, 0))


def test_any_number_of_messages_is_sent(make_queues: MakeQueues) -> None:
    """More than ten go in several batches, and every one arrives once."""
    queue = make_queues().of("step")
    queue.send([Outgoing(f"message {n}") for n in range(25)])

    received = _drain(queue)

    assert sorted(message.body for message in received) == sorted(f"message {n}" for n in range(25))
    assert len({message.message_id for message in received}) == 25


def test_receive_gives_no_more_than_asked_for(make_queues: MakeQueues) -> None:
    """A consumer decides how much it takes at once."""
    queue = make_queues().of("step")
    queue.send([Outgoing(str(n)) for n in range(5)])

    assert (len(queue.receive(max_messages=2)), queue.counts()) == (2, QueueCounts(visible=3, in_flight=2, delayed=0))


def test_batches_keep_below_one_mebibyte(make_queues: MakeQueues) -> None:
    """Ten messages that are too long together are sent in more than one batch."""
    queue = make_queues().of("step")
    queue.send([Outgoing(str(n) * (MIB // 2 - 10)) for n in range(3)])

    assert sorted(message.body[0] for message in _drain(queue)) == ["0", "1", "2"]


def test_message_of_one_mebibyte_is_taken(make_queues: MakeQueues) -> None:
    """The limit itself is allowed; it counts bytes, not characters."""
    queue = make_queues().of("step")
    queue.send([Outgoing("é" * (MIB // 2))])

    assert [len(message.body) for message in _drain(queue)] == [MIB // 2]


def test_message_over_one_mebibyte_is_refused(make_queues: MakeQueues) -> None:
    """A message that no queue can hold fails for good, at the sender."""
    with pytest.raises(PermanentError):
        make_queues().of("step").send([Outgoing("x" * (MIB + 1))])


def test_attributes_count_towards_the_size(make_queues: MakeQueues) -> None:
    """Body and attributes share the mebibyte."""
    with pytest.raises(PermanentError):
        make_queues().of("step").send([Outgoing("x" * (MIB - 10), attributes={"cause": "12345"})])


def test_empty_body_is_refused(make_queues: MakeQueues) -> None:
    """A message says something."""
    with pytest.raises(PermanentError):
        make_queues().of("step").send([Outgoing("")])


def test_characters_outside_the_set_are_refused(make_queues: MakeQueues) -> None:
    """Control characters cannot travel, so they fail at the sender."""
    with pytest.raises(PermanentError):
        make_queues().of("step").send([Outgoing("a\x00b")])


def test_half_a_surrogate_pair_is_refused(make_queues: MakeQueues) -> None:
    """Text that no encoding can carry fails at the sender."""
    with pytest.raises(PermanentError):
        make_queues().of("step").send([Outgoing("a\ud800b")])


def test_refused_message_stops_no_other_of_its_batch(make_queues: MakeQueues) -> None:
    """The sender learns of the bad message, and the good ones of its batch arrive."""
    queue = make_queues().of("step")
    with pytest.raises(PermanentError):
        queue.send([Outgoing("one"), Outgoing("\x00"), Outgoing("two")])

    assert sorted(message.body for message in queue.receive()) == ["one", "two"]


def test_more_than_ten_attributes_are_refused(make_queues: MakeQueues) -> None:
    """A message has at most ten attributes."""
    with pytest.raises(PermanentError):
        make_queues().of("step").send([Outgoing("x", attributes={f"a{n}": "v" for n in range(11)})])


def test_empty_attribute_is_refused(make_queues: MakeQueues) -> None:
    """An attribute that says nothing is left out by the sender, not sent."""
    with pytest.raises(PermanentError):
        make_queues().of("step").send([Outgoing("x", attributes={"cause": ""})])


def test_attribute_name_with_a_blank_is_refused(make_queues: MakeQueues) -> None:
    """Names of attributes are letters, digits, underscore, hyphen and period."""
    with pytest.raises(PermanentError):
        make_queues().of("step").send([Outgoing("x", attributes={"the cause": "v"})])


def test_delay_of_more_than_15_minutes_is_refused(make_queues: MakeQueues) -> None:
    """Whoever wants to wait longer looks again."""
    with pytest.raises(PermanentError):
        make_queues().of("step").send([Outgoing("x", delay_seconds=901)])


def test_delayed_message_comes_when_it_is_due(make_queues: MakeQueues, wait: Callable[[float], None]) -> None:
    """A delayed message is counted apart and not delivered before its time."""
    queue = make_queues().of("step")
    queue.send([Outgoing("later", delay_seconds=1)])
    before = (queue.receive(), queue.counts())

    wait(1)

    assert (before, [m.body for m in queue.receive()]) == (([], QueueCounts(0, 0, 1)), ["later"])


def test_waiting_receive_gets_what_comes_meanwhile(make_queues: MakeQueues) -> None:
    """A receive that waits returns as soon as there is something."""
    queue = make_queues().of("step")
    queue.send([Outgoing("soon", delay_seconds=1)])

    assert [message.body for message in queue.receive(wait_seconds=5)] == ["soon"]


def test_received_message_is_invisible(make_queues: MakeQueues) -> None:
    """What somebody works on is not given to another, and is counted as in flight."""
    queue = make_queues().of("step")
    queue.send([Outgoing("x")])
    queue.receive()

    assert (queue.receive(), queue.counts()) == ([], QueueCounts(visible=0, in_flight=1, delayed=0))


def test_forgotten_message_comes_again(make_queues: MakeQueues, wait: Callable[[float], None]) -> None:
    """After the visibility time-out the same message is delivered again, counted, with another receipt."""
    queue = make_queues(visibility_seconds=1).of("step")
    queue.send([Outgoing("x", attributes={"a": "b"})])
    [first] = queue.receive()

    wait(1)
    [second] = queue.receive()

    assert second == Received(first.message_id, second.receipt, "x", {"a": "b"}, 2)
    assert second.receipt != first.receipt


def test_deleted_message_is_gone(make_queues: MakeQueues) -> None:
    """An acknowledged message is nowhere in the queue any more."""
    queue = make_queues().of("step")
    queue.send([Outgoing("x")])
    queue.delete(queue.receive()[0].receipt)

    assert (queue.receive(), queue.counts()) == ([], QueueCounts(0, 0, 0))


def test_second_delete_succeeds(make_queues: MakeQueues) -> None:
    """Acknowledging twice does no harm."""
    queue = make_queues().of("step")
    queue.send([Outgoing("x")])
    [received] = queue.receive()
    queue.delete(received.receipt)
    queue.delete(received.receipt)

    assert queue.counts() == QueueCounts(0, 0, 0)


def test_old_receipt_deletes_nothing(make_queues: MakeQueues) -> None:
    """Who was too slow does not take the message from who works on it now."""
    queue = make_queues().of("step")
    queue.send([Outgoing("x")])
    [first] = queue.receive()
    queue.change_visibility(first.receipt, 0)
    queue.receive()

    queue.delete(first.receipt)

    assert queue.counts() == QueueCounts(visible=0, in_flight=1, delayed=0)


def test_junk_is_no_receipt(make_queues: MakeQueues) -> None:
    """A receipt that no queue gave is an error, not a success."""
    queue = make_queues().of("step")
    with pytest.raises(RetryableError):
        queue.delete("junk")


def test_visibility_of_zero_gives_a_message_back(make_queues: MakeQueues) -> None:
    """A consumer that cannot work on a message returns it at once."""
    queue = make_queues().of("step")
    queue.send([Outgoing("x")])
    [first] = queue.receive()

    queue.change_visibility(first.receipt, 0)

    assert [message.receive_count for message in queue.receive()] == [2]


def test_longer_visibility_keeps_a_message_away(make_queues: MakeQueues, wait: Callable[[float], None]) -> None:
    """A consumer that needs longer, or backs off, says so."""
    queue = make_queues(visibility_seconds=1).of("step")
    queue.send([Outgoing("x")])
    queue.change_visibility(queue.receive()[0].receipt, 600)

    wait(1)

    assert (queue.receive(), queue.counts()) == ([], QueueCounts(visible=0, in_flight=1, delayed=0))


def test_visibility_of_a_deleted_message_is_not_changed(make_queues: MakeQueues) -> None:
    """Backing off from what is done is told, not swallowed."""
    queue = make_queues().of("step")
    queue.send([Outgoing("x")])
    [received] = queue.receive()
    queue.delete(received.receipt)

    with pytest.raises(RetryableError):
        queue.change_visibility(received.receipt, 5)


def test_visibility_of_a_visible_message_is_not_changed(make_queues: MakeQueues) -> None:
    """Who gave a message back cannot hide it from others."""
    queue = make_queues().of("step")
    queue.send([Outgoing("x")])
    [received] = queue.receive()
    queue.change_visibility(received.receipt, 0)

    with pytest.raises(RetryableError):
        queue.change_visibility(received.receipt, 5)


def test_visibility_of_more_than_12_hours_is_refused(make_queues: MakeQueues) -> None:
    """No message stays away longer than SQS allows."""
    queue = make_queues().of("step")
    queue.send([Outgoing("x")])
    [received] = queue.receive()

    with pytest.raises(PermanentError):
        queue.change_visibility(received.receipt, 43_201)


@pytest.mark.parametrize("max_messages", [0, 11])
def test_receive_of_no_or_too_many_is_refused(make_queues: MakeQueues, max_messages: int) -> None:
    """One receive gives one to ten messages."""
    with pytest.raises(PermanentError):
        make_queues().of("step").receive(max_messages=max_messages)


def test_message_received_too_often_goes_to_the_dead_letters(make_queues: MakeQueues) -> None:
    """After `max_receive_count` deliveries it waits there: same id, body and attributes, and its count goes on."""
    queues = make_queues(max_receive_count=2)
    queue = queues.of("step")
    queue.send([Outgoing("poison", attributes={"run": "r1"})])
    [first] = _fail(queue, times=2)

    assert queue.receive() == []
    [dead] = queues.dead_letters_of("step").receive(wait_seconds=1)
    assert dead == Received(first.message_id, dead.receipt, "poison", {"run": "r1"}, 3)
    assert queue.counts() == QueueCounts(0, 0, 0)


def test_standard_queue_takes_no_notice_of_deduplication_ids(make_queues: MakeQueues) -> None:
    """A sender need not know what kind of queue it sends to."""
    queue = make_queues().of("step")
    queue.send([Outgoing("a", deduplication_id="same"), Outgoing("b", deduplication_id="same")])

    assert sorted(message.body for message in queue.receive()) == ["a", "b"]


def test_queue_knows_its_kind_and_name(make_queues: MakeQueues) -> None:
    """FIFO queues say so, as do their dead-letter queues, and their names end in `.fifo`."""
    queues = [make_queues(fifo=True), make_queues()]

    found = [(q.fifo, q.name.endswith(".fifo")) for each in queues for q in _both(each)]

    assert found == [(True, True), (True, True), (False, False), (False, False)]
    assert all("-dlq" in each.dead_letters_of("step").name for each in queues)


def test_unknown_service_is_a_configuration_error(make_queues: MakeQueues) -> None:
    """A service that the workflow does not have is named, for its queue and its dead-letter queue."""
    queues = make_queues()
    with pytest.raises(ConfigurationError, match="parse_fiel"):
        queues.of("parse_fiel")
    with pytest.raises(ConfigurationError, match="parse_fiel"):
        queues.dead_letters_of("parse_fiel")


def test_fifo_delivers_in_order(make_queues: MakeQueues) -> None:
    """Messages come in the order of sending, over batches of sending and of receiving."""
    queue = make_queues(fifo=True).of("step")
    queue.send([_numbered(n) for n in range(13)])

    assert [message.body for message in _drain(queue)] == [str(n) for n in range(13)]


def test_fifo_has_one_batch_out_at_a_time(make_queues: MakeQueues) -> None:
    """While a message is being worked on, the next one waits."""
    queue = make_queues(fifo=True).of("step")
    queue.send([_numbered(1), _numbered(2)])
    [first] = queue.receive(max_messages=1)

    blocked = queue.receive()
    queue.delete(first.receipt)

    assert (first.body, blocked, [message.body for message in queue.receive()]) == ("1", [], ["2"])


def test_fifo_message_given_back_comes_first(make_queues: MakeQueues) -> None:
    """Failing does not change the order."""
    queue = make_queues(fifo=True).of("step")
    queue.send([_numbered(1), _numbered(2)])
    queue.change_visibility(queue.receive(max_messages=1)[0].receipt, 0)

    assert [(m.body, m.receive_count) for m in queue.receive()] == [("1", 2), ("2", 1)]


def test_fifo_waits_for_the_whole_batch(make_queues: MakeQueues) -> None:
    """A message given back is not delivered while another of its batch is still being worked on."""
    queue = make_queues(fifo=True).of("step")
    queue.send([_numbered(1), _numbered(2)])
    first, second = queue.receive()
    queue.change_visibility(first.receipt, 0)

    blocked = queue.receive()
    queue.change_visibility(second.receipt, 0)

    assert (blocked, [message.body for message in queue.receive()]) == ([], ["1", "2"])


def test_fifo_drops_a_repeated_deduplication_id(make_queues: MakeQueues) -> None:
    """Within five minutes the second message of an id is taken and dropped."""
    queue = make_queues(fifo=True).of("step")
    queue.send([_numbered(1), _numbered(1), _numbered(2)])
    queue.send([_numbered(1)])

    assert [message.body for message in _drain(queue)] == ["1", "2"]


def test_fifo_remembers_the_deduplication_id_of_what_is_done(make_queues: MakeQueues) -> None:
    """A repeated message is dropped even when the first one was received and deleted."""
    queue = make_queues(fifo=True).of("step")
    queue.send([_numbered(1)])
    _drain(queue)
    queue.send([_numbered(1)])

    assert (queue.receive(), queue.counts()) == ([], QueueCounts(0, 0, 0))


def test_fifo_knows_no_delay_of_a_message(make_queues: MakeQueues) -> None:
    """Delaying one message would break the order, so it is refused."""
    with pytest.raises(PermanentError):
        make_queues(fifo=True).of("step").send([Outgoing("x", delay_seconds=5, deduplication_id="1")])


def test_fifo_wants_a_deduplication_id(make_queues: MakeQueues) -> None:
    """A message without an identity is refused."""
    with pytest.raises(PermanentError):
        make_queues(fifo=True).of("step").send([Outgoing("x")])


def test_long_deduplication_id_is_refused(make_queues: MakeQueues) -> None:
    """An identity has at most 128 characters."""
    with pytest.raises(PermanentError):
        make_queues(fifo=True).of("step").send([Outgoing("x", deduplication_id="d" * 129)])


def test_fifo_poison_makes_way_for_the_next(make_queues: MakeQueues) -> None:
    """A message that went to the dead letters no longer blocks those behind it."""
    queues = make_queues(fifo=True, max_receive_count=2)
    queue = queues.of("step")
    queue.send([_numbered(1), _numbered(2)])
    _fail(queue, times=2)

    assert [message.body for message in queue.receive(wait_seconds=1)] == ["2"]
    assert [message.body for message in queues.dead_letters_of("step").receive(wait_seconds=1)] == ["1"]


def test_fifo_receipt_expires_with_its_time_out(make_queues: MakeQueues, wait: Callable[[float], None]) -> None:
    """Who was too slow is told that the message comes again."""
    queue = make_queues(fifo=True, visibility_seconds=1).of("step")
    queue.send([_numbered(1)])
    [received] = queue.receive()
    wait(1)

    with pytest.raises(RetryableError):
        queue.delete(received.receipt)


def _numbered(number: int) -> Outgoing:
    return Outgoing(str(number), deduplication_id=f"id-{number}")


def _drain(queue: Queue) -> list[Received]:
    """Receive and acknowledge until nothing comes any more."""
    received: list[Received] = []
    while batch := queue.receive():
        received += batch
        for message in batch:
            queue.delete(message.receipt)
    return received


def _fail(queue: Queue, *, times: int) -> list[Received]:
    """Receive the first message that often, giving it back each time; return its last delivery."""
    received: list[Received] = []
    for _ in range(times):
        received = queue.receive(max_messages=1)
        queue.change_visibility(received[0].receipt, 0)
    return received


def _both(queues: Queues) -> tuple[Queue, Queue]:
    return queues.of("step"), queues.dead_letters_of("step")
