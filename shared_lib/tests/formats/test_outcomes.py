"""Outcomes are stored as they were, and what is none is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.formats.batches import Reject, encode_rejects, neutralise
from qualtrics_etl.formats.outcomes import (
    Fate,
    RowOutcome,
    decode_outcomes,
    decode_rejects,
    encode_outcomes,
    rejects_in,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
outcomes = st.lists(st.builds(RowOutcome, st.integers(1), st.sampled_from(Fate), texts, texts), max_size=5)


@given(outcomes)
def test_what_is_written_reads_back(rows: list[RowOutcome]) -> None:
    """Any field and reason, commas and line ends among them; only what a spreadsheet would run is changed, once."""
    safe = [RowOutcome(row.line, row.fate, neutralise(row.field), neutralise(row.reason)) for row in rows]
    stored = encode_outcomes(rows)
    assert decode_outcomes(stored) == safe
    assert encode_outcomes(decode_outcomes(stored)) == stored


HEAD = b"line,outcome,field,reason\r\n"


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"line,outcome\r\n", HEAD + b"x,sent,,\r\n", HEAD + b"2\r\n", HEAD + b"2,lost,,\r\n"]
)
def test_what_is_none_is_refused(body: bytes) -> None:
    """Another header, a line that is no number, an outcome that nobody knows."""
    with pytest.raises(PermanentError) as refused:
        decode_outcomes(body)
    assert refused.value.what == "The stored outcomes of a batch can't be read."


def test_rejected_rows_are_the_reject_file() -> None:
    """What is rejected goes there, and reads back from there; nothing else does."""
    rows = [RowOutcome(2, Fate.LOADED), RowOutcome(3, Fate.REJECTED, "email", "No."), RowOutcome(4, Fate.PENDING)]
    assert rejects_in(rows) == [Reject(3, "email", "No.", "")]
    assert decode_rejects(encode_rejects(rejects_in(rows))) == [rows[1]]
