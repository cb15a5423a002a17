"""Batches: where they are cut, how reading goes on elsewhere, and what the client checks."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import orjson
import pytest

from qualtrics_etl.errors import InputError, RowRejectedError
from qualtrics_etl.formats.batches import Batch, Position
from qualtrics_etl.formats.csv_file import read_batches
from qualtrics_etl.formats.csv_header import CsvSpec
from qualtrics_etl.formats.rows import RowModel

HEADER = "email,first_name,visits\n"


def crm_file(rows: int) -> bytes:
    """Rows of every kind: plain, over two lines, and each tenth bad, in batches larger than a block."""
    kinds = ("p{i}@x.example,Ann,{i}\n", 'p{i}@x.example,"An\nn, Jr",{i}\n', "p{i}@x.example,Zoë,{i}\n")
    lines = ("p{i},Ann,{i}\n" if i % 10 == 9 else kinds[i % 3] for i in range(rows))
    return (HEADER + "".join(line.format(i=i) for i, line in enumerate(lines))).encode()


class Trickle:
    """A stream that answers with a few bytes at a time, as a network may, and can't seek."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data = memoryview(data)
        self._step = step

    def read(self, size: int, /) -> bytes:
        part, self._data = self._data[: self._step], self._data[self._step :]
        return bytes(part)


class Endless:
    """A header, then one line that does not end for a long while, made as it is read."""

    def __init__(self, chunks: int) -> None:
        self._chunks: Iterator[bytes] = iter([HEADER.encode(), *[b"x" * 65_536] * chunks])

    def read(self, size: int, /) -> bytes:
        return next(self._chunks, b"")


def values_of(batches: list[Batch]) -> list[Any]:
    """All good rows, whatever their batch."""
    return [row for batch in batches for row in batch.rows()]


def test_batches_cover_the_rows_asked_for(read: Any) -> None:
    """A batch covers `rows_per_batch` rows of the file, rejects included, and knows whether it is the last."""
    batches = read(crm_file(25), rows_per_batch=10)

    cuts = [(b.number, b.row_count, len(b.rejects), b.start.line, b.end.line, b.is_last) for b in batches]
    assert cuts == [(0, 9, 1, 2, 15, False), (1, 9, 1, 15, 28, False), (2, 5, 0, 28, 34, True)]


def test_positions_count_what_is_behind_them(read: Any) -> None:
    """The end of a batch says where reading goes on, and how many rows there were, good and rejected."""
    data = crm_file(25)
    end = read(data, rows_per_batch=20)[0].end

    assert end == Position(
        offset=len(crm_file(20)),
        line=28,
        batch=1,
        rows=20,
        rejected=2,
        delimiter=",",
        encoding="utf-8",
        header=("email", "first_name", "visits"),
    )
    assert (end.good_rows, end.reject_ratio) == (18, 0.1)


def test_blank_lines_at_the_end_make_no_batch(read: Any) -> None:
    """The batch before trailing blank lines is the last one."""
    batches = read(crm_file(10) + b"\n,,\n" * 40_000, rows_per_batch=10)

    assert [(batch.number, batch.is_last) for batch in batches] == [(0, True)]


def test_a_batch_weighs_no_more_than_asked(read: Any) -> None:
    """Rows as JSON with the names of the fields, as a request has them, stay within `max_batch_bytes`."""
    batches = read(crm_file(500), max_batch_bytes=2_000)

    weights = [
        sum(len(orjson.dumps(dict(zip(batch.header, row, strict=True)))) for row in batch.rows()) for batch in batches
    ]
    assert max(weights) <= 2_000
    assert min(weights[:-1]) > 1_500
    assert values_of(batches) == values_of(read(crm_file(500)))


def test_a_row_that_fits_no_request_is_rejected(read: Any) -> None:
    """A row heavier than a whole batch may be is put aside, and its neighbours go on."""
    data = (HEADER + "a@x.example,Ann,1\n" + "b@x.example," + "\x01" * 100 + ",2\n" + "c@x.example,Cem,3\n").encode()

    (batch,) = read(data, max_batch_bytes=450)

    assert [row[0] for row in batch.rows()] == ["a@x.example", "c@x.example"]
    assert [(r.line, r.reason) for r in batch.rejects] == [(3, "is longer than the 450 bytes of a request")]


def test_heavy_rejects_cut_a_batch_too(read: Any) -> None:
    """A file of bad rows does not gather them all in memory: their text counts as weight."""
    batches = read((HEADER + "x" * 5_000 + "\n").encode() * 100, max_batch_bytes=10_000)

    assert max(sum(len(r.raw) for r in batch.rejects) for batch in batches) <= 10_000
    assert sum(len(batch.rejects) for batch in batches) == 199


@pytest.mark.parametrize("limits", [{"rows_per_batch": 700}, {"max_batch_bytes": 40_000}])
def test_reading_goes_on_elsewhere_with_the_same_result(read: Any, crm: RowModel, limits: dict[str, Any]) -> None:
    """From the end of any batch, another process that sees only what is behind it makes the same batches."""
    data = crm_file(9_000)
    batches = read(data, **limits)

    assert len(batches) > 10
    for before, behind in pairwise([*batches, None]):
        position = Position.decode(before.end.encode())
        rest = io.BytesIO(data[position.offset :])
        assert next(read_batches(rest, CsvSpec(), crm, file="crm.csv", position=position, **limits), None) == behind


def test_how_the_stream_answers_makes_no_difference(read: Any, crm: RowModel) -> None:
    """Short reads, as a network gives them, make the same batches as a whole file."""
    data = crm_file(3_000)

    trickled = list(read_batches(Trickle(data, 997), CsvSpec(), crm, file="crm.csv", rows_per_batch=1_000))

    assert trickled == read(data, rows_per_batch=1_000)


def test_memory_does_not_grow_with_a_line(crm: RowModel) -> None:
    """A line of 200 MB that never ends costs no more memory than the longest row that is allowed."""
    tracemalloc.start()
    (batch,) = read_batches(Endless(3_000), CsvSpec(), crm, file="crm.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert [reject.line for reject in batch.rejects] == [2]
    assert peak < 10_000_000


def test_the_text_of_a_reject_is_kept_short(read: Any) -> None:
    """What is kept of a row is at most 2,000 characters, without NULs, its line end and the blank lines behind it."""
    (batch,) = read((HEADER + "a\0b\r\n\n,,\n" + "x" * 900_000 + "\n" + 'y,"z\nz"\n').encode())

    assert [reject.raw for reject in batch.rejects] == ["a\ufffdb", "x" * 2_000, 'y,"z\nz"']


def test_what_the_client_checks_rejects_a_row(read: Any) -> None:
    """A row that `check_row` refuses is a reject with the client's reason, under the file's name for the column."""

    def check(row: dict[str, Any], line: int) -> None:
        if row["visits"] > 1 and line > 2:
            raise RowRejectedError("visits more often than it may", field="visits")

    data = b"EMAIL,First Name,Visits\na@x.example,Ann,5\nb@x.example,Bob,5\nc@x.example,Cem,1\n"
    (batch,) = read(data, check_row=check)

    assert batch.lines == (2, 4)
    assert [(r.line, r.field, r.reason, r.raw) for r in batch.rejects] == [
        (3, "Visits", "visits more often than it may", "b@x.example,Bob,5")
    ]


def test_without_a_row_model_every_named_column_is_text(read: Any) -> None:
    """Columns keep the file's names, or the setting's; cells are stripped; a column without a name is dropped."""
    (batch,) = read(
        b"E-MAIL;Visits;\n a@x.example ;1;x\n;2;\n", model=RowModel(), spec=CsvSpec(columns={"e mail": "to"})
    )

    assert batch.header == ("to", "Visits")
    assert batch.rows() == [["a@x.example", "1"], ["", "2"]]


def test_without_names_there_is_nothing_to_call_a_cell(read: Any) -> None:
    """A file whose header is blank is refused where no row model says what the columns are."""
    with pytest.raises(InputError) as caught:
        read(b"\t,\t\n1,2\n", model=RowModel())

    assert caught.value.what == "No column of crm.csv has a name: its header (line 1) is blank."
