"""What holds for any file, looked for with files that nobody would write."""

from __future__ import annotations

import csv
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.errors import InputError
from qualtrics_etl.formats.batches import decode_batch, encode_batch
from qualtrics_etl.formats.csv_file import read_batches
from qualtrics_etl.formats.csv_header import CsvSpec
from qualtrics_etl.formats.csv_rows import read_block
from qualtrics_etl.formats.lines import ByteWindow, Encoding
from qualtrics_etl.formats.rows import RowModel

OPENINGS = (b"PK\x03\x04", b"\x1f\x8b", b"MZ", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"", b"a,b\n", b"email\r")
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


@given(
    rows=st.lists(st.lists(cells, min_size=3, max_size=3).filter(lambda row: any(map(str.strip, row))), max_size=8),
    delimiter=st.sampled_from(",;\t|^:~#$"),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_any_dialect_reads_back(
    read: Any, rows: list[list[str]], delimiter: str, line_end: str, quoting: Any, encoding: str
) -> None:
    """Whatever separates and however it is quoted, cells are read as they were, but for blanks around them."""
    out = io.StringIO(newline="")
    if quoting == csv.QUOTE_MINIMAL:
        line_end = "\r\n"  # before Python 3.13 the writer quotes no line end but its own
    csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=quoting).writerows([["a", "b", "c"], *rows])

    batches = read(out.getvalue().encode(encoding), spec=CsvSpec(delimiter), model=RowModel())

    assert [row for batch in batches for row in batch.rows()] == [[cell.strip() for cell in row] for row in rows]
    assert [reject for batch in batches for reject in batch.rejects] == []


@given(
    opening=st.sampled_from(OPENINGS), data=files, is_text=st.booleans(), encoding=st.sampled_from(["utf-8", "utf-16"])
)
def test_any_bytes_are_read_or_refused(read: Any, opening: bytes, data: bytes, is_text: bool, encoding: str) -> None:
    """Whatever a file is made of, it is read, or refused by an error that names it and says what to do."""
    error: InputError | None = None
    try:
        read(opening + data, spec=CsvSpec(encoding=encoding), **({"model": RowModel()} if is_text else {}))
    except InputError as caught:
        error = caught
    assert error is None or (error.file, bool(error.remedy)) == ("crm.csv", True)


class Dripping:
    """A stream whose answers are as long as it likes."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data = io.BytesIO(data)
        self._sizes = sizes or [1]
        self._turn = 0

    def read(self, size: int, /) -> bytes:
        """Return some of the next bytes."""
        self._turn += 1
        return self._data.read(min(size, self._sizes[self._turn % len(self._sizes)]))


@given(data=files, sizes=st.lists(st.integers(1, 20), max_size=4), rows_per_batch=st.integers(1, 4))
def test_stored_bytes_depend_on_the_rows_alone(
    read: Any, crm: RowModel, data: bytes, sizes: list[int], rows_per_batch: int
) -> None:
    """However the file arrives, and however often: its batches are the same bytes, also when read back."""
    whole = read(HEADER + data, rows_per_batch=rows_per_batch)
    dripped = read_batches(
        Dripping(HEADER + data, sizes), CsvSpec(), crm, file="crm.csv", rows_per_batch=rows_per_batch
    )

    stored = [encode_batch(batch) for batch in whole]
    assert [encode_batch(batch) for batch in dripped] == stored
    assert [encode_batch(decode_batch(body)) for body in stored] == stored


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


@given(data=files, rows_per_batch=st.integers(1, 4), max_batch_bytes=st.integers(1, 200))
def test_any_file_can_be_read_on_from_any_batch(
    read: Any, data: bytes, rows_per_batch: int, max_batch_bytes: int
) -> None:
    """Whatever is in the file and wherever it is cut, what is behind the cut reads the same in another process."""
    limits = {"rows_per_batch": rows_per_batch, "max_batch_bytes": max_batch_bytes}
    batches = read(HEADER + data, **limits)

    for done, batch in enumerate(batches, start=1):
        assert read(HEADER + data, position=batch.end, **limits) == batches[done:]


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
