"""What holds for any file, looked for with files that nobody would write."""

from __future__ import annotations

import csv
import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qualtrics_etl.formats.csv_header import CsvSpec
from qualtrics_etl.formats.csv_rows import read_block
from qualtrics_etl.formats.lines import ByteWindow, Encoding
from qualtrics_etl.formats.rows import RowModel

HEADER = b"email,first_name,visits\n"

PIECES = (
    b'"',
    b'"',
    b",",
    b"\n",
    b"\r",
    b"\r\n",
    b" ",
    b"a@b",
    b"7",
    b"\xc3\xa9",
    b"\xe9",
    b"\0",
    b"=",
    b";",
    b"a@b,A,7\n",
)
files = st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join) | st.binary(max_size=60)
cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)

# No deadline: the machines that run this are shared.
thorough = settings(deadline=None, max_examples=100)


@thorough
@given(
    rows=st.lists(st.lists(cells, min_size=3, max_size=3), max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_is_written_reads_back(
    read: Any, rows: list[list[str]], delimiter: str, line_end: str, encoding: str
) -> None:
    """Any cells, quoted as the standard library quotes them, are read as they were, but for blanks around them."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b", "c"], *rows])

    batches = read(out.getvalue().encode(encoding), spec=CsvSpec(delimiter), model=RowModel())

    assert [row for batch in batches for row in batch.rows()] == [[c.strip() for c in row] for row in rows if any(row)]
    assert [reject for batch in batches for reject in batch.rejects] == []


@thorough
@given(data=files)
def test_rows_and_rejects_add_up_for_any_bytes(read: Any, data: bytes) -> None:
    """Behind a good header no bytes raise an error; every row is counted once, and all bytes are used."""
    batches = read(HEADER + data, rows_per_batch=3)

    lines = sorted(line for b in batches for line in [*b.lines, *(r.line for r in b.rejects)])
    assert lines == sorted(set(lines))
    assert [b.number for b in batches] == list(range(len(batches)))
    if batches:
        end = batches[-1].end
        assert (end.rows, end.rejected) == (len(lines), sum(len(b.rejects) for b in batches))
        assert (end.offset, batches[-1].is_last) == (len(HEADER + data), True)


@thorough
@given(data=files, rows_per_batch=st.integers(1, 4), max_batch_bytes=st.integers(1, 200))
def test_any_file_can_be_read_on_from_any_batch(
    read: Any, data: bytes, rows_per_batch: int, max_batch_bytes: int
) -> None:
    """Whatever is in the file and wherever it is cut, what is behind the cut reads the same in another process."""
    limits = {"rows_per_batch": rows_per_batch, "max_batch_bytes": max_batch_bytes}
    batches = read(HEADER + data, **limits)

    for done, batch in enumerate(batches, start=1):
        assert read(HEADER + data, position=batch.end, **limits) == batches[done:]


@thorough
@given(data=files, size=st.integers(1, 40), encoding=st.sampled_from(["utf-8", "cp1252", "utf-16-le"]))
def test_the_size_of_blocks_makes_no_difference(data: bytes, size: int, encoding: str) -> None:
    """Rows, their lines and their faults are the same, whether a file is looked at whole or in small blocks."""
    size += size % 2  # a block never ends within a unit of UTF-16
    assert rows_in_blocks(data, Encoding(encoding), size) == rows_in_blocks(data, Encoding(encoding), 10_000)


def rows_in_blocks(data: bytes, encoding: Encoding, size: int) -> list[tuple[int, list[str] | None, str | None]]:
    """Each row as (line, cells, fault), looked for `size` bytes at a time."""
    window, line, found = ByteWindow(io.BytesIO(data), 0), 1, []
    while True:
        block = read_block(window, encoding, ",", size=size)
        for index, (row, start) in enumerate(zip(block.cut.rows, block.cut.starts, strict=True)):
            found.append((line + start, row, block.cut.faults.get(index)))
        if block.is_final:
            return found
        window.advance(block.bytes_before(block.cut.complete))
        line += block.cut.complete
