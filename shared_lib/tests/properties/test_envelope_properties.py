"""The envelope, for any message and any bytes."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.messages import Message
from qualtrics_etl.ports import UNSENDABLE

from .strategies import json_values, messages, names, outcome


def decoded(body: str) -> Message | None:
    """Decode a body; None where it is refused as it should be."""
    found = outcome(lambda: Message.decode(body), PermanentError)
    if isinstance(found, Message):
        return found
    assert found.remedy
    assert len(str(found)) < 400
    return None


@given(messages)
def test_any_message_survives_the_queue(message: Message) -> None:
    """Written and read back it is the same message, and the same text."""
    body = message.encode()
    assert Message.decode(body) == message
    assert Message.decode(body).encode() == body


@given(messages)
def test_what_is_sent_on_can_be_sent(message: Message) -> None:
    """A following and a deferred message are messages of ours too, and hold nothing that a queue refuses."""
    for each in (message.looked(), message.after("next_service", *message.context, batch="all")):
        assert Message.decode(each.encode()) == each
        # What is written as an escape is no character of the body.
        assert not UNSENDABLE.search(each.encode().replace("\x7f", "")) or any(
            UNSENDABLE.search(str(fact)) for fact in each.context
        )


@given(st.binary(max_size=200).map(lambda data: data.decode("utf-8", "surrogateescape")) | st.text(max_size=100))
def test_any_bytes_are_refused_and_nothing_else(body: str) -> None:
    """What reaches the queue from elsewhere is a permanent failure, never another exception and never a message."""
    assert decoded(body) is None


@given(
    messages,
    st.sampled_from(["version", "workflow", "run", "service", "batch", "generation", "looks", "context"]),
    json_values,
)
def test_any_value_in_a_field_is_taken_whole_or_refused(message: Message, field: str, value: object) -> None:
    """A message whose field was changed is refused, or is exactly what it says."""
    body = orjson.dumps(orjson.loads(message.encode()) | {field: value})
    found = decoded(body.decode())
    if found is not None:
        assert orjson.loads(found.encode()) == orjson.loads(body)


@given(messages, st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_damaged_message_is_refused_or_still_one(message: Message, at: int, damage: bytes) -> None:
    """Bytes that were overwritten on the way lead to a refusal, or to a message that reads back as itself."""
    body = bytearray(message.encode().encode())
    body[at : at + len(damage)] = damage
    found = decoded(body.decode("utf-8", "surrogateescape"))
    assert found is None or Message.decode(found.encode()) == found


@given(messages, names)
def test_key_given_twice_is_refused(message: Message, run: str) -> None:
    """Two readers of one message must not see two runs."""
    body = message.encode().replace('"run":', f'"run":"{run}","run":', 1)
    assert decoded(body) is None
