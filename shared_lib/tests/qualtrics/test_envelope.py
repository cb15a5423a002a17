"""The envelope: any bytes can be read, and what is missing is an error of ours."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.errors import RetryableError
from qualtrics_etl.qualtrics.envelope import Envelope, Record, read_envelope

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["meta", "result", "results", "error", "requestId", "errorCode", "errorMessage"]), inner
        )
    ),
)


def test_error_is_read_in_its_parts() -> None:
    """Code, words and request id are found where they have always been."""
    meta = {"requestId": "9f-1", "error": {"errorMessage": "Survey not found.", "errorCode": "GSI_2"}}
    envelope = read_envelope(orjson.dumps({"meta": meta}))
    assert envelope == Envelope({"meta": meta}, {}, "9f-1", "GSI_2", "Survey not found.", "")


def test_old_error_is_read_too() -> None:
    """Old services put the error into meta itself, with other names, and null where the result would be."""
    meta = {"status": "Error", "errorMessage": "gone", "internalErrorCode": "X_1", "errorId": "1"}
    envelope = read_envelope(orjson.dumps({"meta": meta, "result": None}))
    assert envelope is not None
    assert (envelope.error_code, envelope.error_message, envelope.request_id) == ("X_1", "gone", None)


def test_plural_result_is_a_result() -> None:
    """The report of an import says results."""
    envelope = read_envelope(b'{"results": {"a": 1}, "skipToken": "t"}')
    assert envelope == Envelope({"results": {"a": 1}, "skipToken": "t"}, {"a": 1})


def test_request_id_cannot_forge_a_log_line() -> None:
    """An id is letters and digits, and not long, whatever was answered."""
    envelope = read_envelope(orjson.dumps({"meta": {"requestId": "a\nERROR: b" + "c" * 200}}))
    assert envelope is not None
    assert envelope.request_id == ("aERROR:b" + "c" * 200)[:100]


@given(st.binary() | JSON.map(orjson.dumps))
def test_any_bytes_are_an_envelope_or_none(body: bytes) -> None:
    """Reading never raises, and what it gives has the types that it says."""
    envelope = read_envelope(body)
    if envelope is not None:
        assert isinstance(envelope.result, dict)
        assert envelope.request_id is None or 0 < len(envelope.request_id) <= 100
        assert {type(envelope.error_code), type(envelope.error_message), type(envelope.notice)} == {str}


def test_missing_id_is_an_error_that_names_the_call() -> None:
    """A null id is a failure, not an empty success."""
    record = Record({"id": None}, "create_mailing_list", call_made=True, request_id="r-1")
    with pytest.raises(RetryableError) as caught:
        record.text("id")
    assert str(caught.value) == "create_mailing_list: the answer of Qualtrics has no id. [request r-1]"
    assert caught.value.call_made is True


@pytest.mark.parametrize(
    "value",
    [1_795_338_000_000, "1795338000000", "2026-11-22T09:00:00Z", "2026-11-22T10:00:00+01:00", "2026-11-22 09:00:00"],
)
def test_times_are_read_in_every_form(value: object) -> None:
    """Milliseconds and ISO 8601, with and without a zone, are the same time."""
    assert Record({"at": value}).time_or_none("at") == datetime(2026, 11, 22, 9, tzinfo=UTC)


@given(JSON)
def test_any_value_can_be_looked_at(value: object) -> None:
    """A look into an answer gives the type that it names, or one of our errors."""
    record = Record({"x": value}, "somewhere")
    looks = (record.text, record.text_or_none, record.number, record.count, record.flag, record.time_or_none)
    for look in (*looks, record.record, lambda key: list(record.records(key))):
        with suppress(RetryableError):
            look("x")


def test_flag_is_true_only_for_true() -> None:
    """The text that some services write counts; nothing else does."""
    values = [True, "true", "TRUE", False, "false", "", None, 1, "0"]
    assert [Record({"x": value}).flag("x") for value in values] == [True] * 3 + [False] * 6
