"""What is stored of a file: batches, positions, rejects."""

from __future__ import annotations

import csv
import dataclasses
import io
from datetime import date
from decimal import Decimal
from typing import Any

import orjson
import pytest

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.formats.batches import (
    Batch,
    Position,
    Reject,
    decode_batch,
    encode_batch,
    encode_rejects,
    neutralise,
    rows_as_mappings,
)
from qualtrics_etl.formats.rows import Row, RowModel

DATA = b"email,first_name,visits,note\na@x.example,Ann,1,\nbad,Bob,2,\nc@x.example,Cem,3,hello\n"


class Paid(Row):
    paid_on: date
    amount: Decimal | None


@pytest.fixture
def batch(read: Any) -> Batch:
    """Two good rows, on lines 2 and 4, and a reject."""
    (only,) = read(DATA)
    assert isinstance(only, Batch)
    return only


def test_a_stored_batch_is_header_and_rows(batch: Batch) -> None:
    """What lies in the store is JSON that a person can read, with where the slice begins and ends."""
    stored = orjson.loads(encode_batch(batch))

    dialect = {"delimiter": ",", "encoding": "utf-8", "header": ["email", "first_name", "visits", "note"]}
    assert stored == {
        "version": 1,
        "number": 0,
        "is_last": True,
        "start": {"offset": 29, "line": 2, "batch": 0, "rows": 0, "rejected": 0, **dialect},
        "end": {"offset": len(DATA), "line": 5, "batch": 1, "rows": 3, "rejected": 1, **dialect},
        "header": ["email", "first_name", "visits", "note"],
        "lines": [2, 4],
        "rows": [["a@x.example", "Ann", 1, None], ["c@x.example", "Cem", 3, "hello"]],
    }


def test_a_stored_batch_reads_back(batch: Batch) -> None:
    """Everything but the rejects, which are stored apart, is read as it was."""
    assert decode_batch(encode_batch(batch)) == dataclasses.replace(batch, rejects=())


def test_a_batch_of_nothing_but_rejects_reads_back(read: Any) -> None:
    """A slice without a good row is a batch all the same, with no rows."""
    (empty,) = read(b"email,first_name,visits\nbad,Bob,2\n")

    assert decode_batch(encode_batch(empty)) == dataclasses.replace(empty, rejects=())
    assert (empty.rows(), empty.row_count) == ([], 0)


def test_the_same_rows_are_the_same_bytes(read: Any) -> None:
    """A batch's bytes are a pure function of the file, however often it is read."""
    assert encode_batch(read(DATA)[0]) == encode_batch(read(DATA)[0])


def test_hooks_see_rows_as_mappings_with_their_lines(batch: Batch, crm: RowModel) -> None:
    """A row is field to value, with the line where it begins in the file."""
    assert (
        list(rows_as_mappings(batch, crm))
        == list(rows_as_mappings(batch))
        == [
            (2, {"email": "a@x.example", "first_name": "Ann", "visits": 1, "note": None}),
            (4, {"email": "c@x.example", "first_name": "Cem", "visits": 3, "note": "hello"}),
        ]
    )


def test_hooks_see_the_declared_types(read: Any) -> None:
    """With the row model, what JSON made text of is what was declared."""
    (batch,) = read(b"paid_on;amount\n2026-11-22;1.10\n2026-11-23;\n", model=RowModel(Paid))

    restored = rows_as_mappings(decode_batch(encode_batch(batch)), RowModel(Paid))
    assert list(restored) == [
        (2, {"paid_on": date(2026, 11, 22), "amount": Decimal("1.10")}),
        (3, {"paid_on": date(2026, 11, 23), "amount": None}),
    ]


def test_rejects_are_a_file_that_a_spreadsheet_opens(batch: Batch) -> None:
    """Line, field, reason and the row as it was, under a header."""
    rows = list(csv.reader(io.StringIO(encode_rejects(batch.rejects).decode(), newline="")))

    assert rows == [
        ["line", "field", "reason", "raw"],
        ["3", "email", r"does not match the pattern ^[^@\s]+@[^@\s]+$", "bad,Bob,2,"],
    ]


def test_pieces_of_rejects_put_together_are_one_file() -> None:
    """The rejects of several batches, written one after the other, are the file of all of them."""
    rejects = [Reject(2, None, "is no good", "a\r\nb"), Reject(9, "x", "is blank", "")]

    pieces = encode_rejects(rejects[:1]) + encode_rejects(rejects[1:], with_header=False)
    assert pieces == encode_rejects(rejects)


@pytest.mark.parametrize("opening", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_formulas_are_neutralised(opening: str) -> None:
    """A cell that a spreadsheet would run is text for it, in every column of the reject file."""
    cell = f"{opening}cmd|' /C calc'!A0"
    written = encode_rejects([Reject(2, cell, cell, cell)], with_header=False)

    assert list(csv.reader(io.StringIO(written.decode(), newline=""))) == [["2", *[f"'{cell}"] * 3]]


def test_text_that_is_no_formula_stays_as_it_is() -> None:
    """Only where a cell could begin do these characters matter."""
    assert [neutralise("a=b"), neutralise(""), neutralise("1-2")] == ["a=b", "", "1-2"]


def test_formula_behind_another_separator_is_neutralised() -> None:
    """A spreadsheet that cuts at semicolons, or ends a cell at a quote, finds no formula within a row either."""
    assert neutralise("ann;=1+1") == "ann;'=1+1"
    assert neutralise('ann,"=1",x\n@y') == "ann,\"'=1\",x\n'@y"
    assert neutralise("\uff1d1") == "'\uff1d1"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b'{"header": 1}', b"\xff"])
def test_what_is_no_batch_is_refused(data: bytes) -> None:
    """A stored object of another kind or version is an error with a remedy, not a crash."""
    with pytest.raises(PermanentError, match="The stored batch can't be read"):
        decode_batch(data)
    with pytest.raises(PermanentError, match="The stored position can't be read"):
        Position.decode(data)
