"""The envelope: what is written reads back, and what is not ours is refused with a reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.messages import (
    ContactsImported,
    FileFetched,
    FileParsed,
    MailingListCreated,
    Message,
)

EXPIRES = datetime(2027, 1, 1, tzinfo=UTC)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}", fullmatch=True)
services = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
counts = st.integers(min_value=0, max_value=2**53)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
facts = st.one_of(
    st.builds(FileFetched, name=texts, key=texts, size=counts, sha256=texts),
    st.builds(FileParsed, batches=counts, batches_at=texts, rows=counts, good_rows=counts, rejected_rows=counts),
    st.builds(MailingListCreated, mailing_list_id=texts, name=texts),
)
messages = st.builds(
    Message,
    workflow=names,
    run=names,
    service=services,
    batch=names,
    expires_at=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
        lambda time: time.replace(microsecond=0, tzinfo=UTC)
    ),
    generation=st.integers(0, 1000),
    looks=st.integers(0, 1000),
    context=st.lists(facts, unique_by=type, max_size=3).map(tuple),
)


def make_message() -> Message:
    """Return a message without facts."""
    return Message("acme-etl", "acme-etl-1", "import_contacts", "00007", EXPIRES)


@given(messages)
def test_what_is_written_reads_back(message: Message) -> None:
    """Any message survives the queue unchanged, and the same message is the same text."""
    assert Message.decode(message.encode()) == message
    assert Message.decode(message.encode()).encode() == message.encode()


@given(st.one_of(texts, st.recursive(st.none() | st.booleans() | counts | texts, st.lists).map(json.dumps)))
def test_foreign_text_is_refused_not_crashed_on(body: str) -> None:
    """Whatever reaches the queue from elsewhere is a permanent failure with a remedy, never another exception."""
    with pytest.raises(PermanentError) as caught:
        Message.decode(body)
    assert caught.value.remedy


@given(messages, st.data())
def test_message_with_one_broken_field_is_refused(message: Message, data: st.DataObject) -> None:
    """A field of another type than ours is told, by its name where it is one of the envelope's."""
    raw = json.loads(message.encode())
    field = data.draw(st.sampled_from(sorted(raw)))
    raw[field] = data.draw(st.sampled_from([None, -1, [], "../escape", {"X": {}}, 1.5, True]))
    with pytest.raises(PermanentError):
        Message.decode(json.dumps(raw))


@pytest.mark.parametrize("name", ["../x", "a/b", "", "x" * 200, "a\n"])
def test_names_cannot_leave_their_prefix(name: str) -> None:
    """Run and batch become object keys, so neither may hold a slash, dots alone, or an end of line."""
    for field in ("run", "batch"):
        raw = json.loads(make_message().encode()) | {field: name}
        with pytest.raises(PermanentError, match=f"`{field}` is missing or not a name"):
            Message.decode(json.dumps(raw))


def test_fact_of_another_library_version_is_told() -> None:
    """A fact that this version does not know is named, so that the on-call engineer sees the mismatch."""
    raw = json.loads(make_message().encode()) | {"context": {"MoonPhase": {}}}
    with pytest.raises(PermanentError, match="holds a fact this library does not know: 'MoonPhase'"):
        Message.decode(json.dumps(raw))


def test_missing_fact_names_what_to_do() -> None:
    """A step whose message lacks what it needs says so, instead of failing on None."""
    with pytest.raises(PermanentError) as caught:
        make_message().fact(MailingListCreated)
    assert str(caught.value) == (
        "The message for import_contacts (run acme-etl-1) holds no MailingListCreated. The workflow was changed while"
        " the run was under way. Have the client send the missing rows in a new file, then give this work up (make"
        " waive)."
    )


def test_following_message_starts_its_counters_anew() -> None:
    """What is handed on keeps the context, newest facts last and once, and none of the counters."""
    first = MailingListCreated("CG_1", "one")
    second = MailingListCreated("CG_2", "two")
    imported = ContactsImported("PGRS_1", 1, 0, 0, 0, 0)
    before = Message("acme-etl", "r", "a", "00001", EXPIRES, generation=2, looks=5, context=(first, imported))
    assert before.after("b", second, batch="all") == Message(
        "acme-etl", "r", "b", "all", EXPIRES, context=(imported, second)
    )


def test_deferred_message_counts_its_looks() -> None:
    """Being deferred raises the looks and changes nothing else."""
    message = make_message()
    assert message.looked().looks == 1
    assert message.looked().after("import_contacts", batch="00007") == message
