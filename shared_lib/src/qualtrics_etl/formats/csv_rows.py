"""Lines of a CSV file cut into rows, so that one bad quote costs one line and not the rest of the file.

Quotes are `"`, doubled inside quotes. Text behind a closing quote is a fault, not a guess: it is how an unclosed
quote shows itself before it swallows the rows behind it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qualtrics_etl.formats.batches import MAX_RAW_CHARACTERS
from qualtrics_etl.formats.lines import ByteWindow, Encoding
from qualtrics_etl.formats.rows import Cells

MAX_ROW_BYTES = 1_000_000
"""A longer row, and so a longer field, is rejected: it fits no request, and is most often an unclosed quote."""

MAX_ROW_LINES = 1_000
"""A quoted field that runs over more lines is taken for an unclosed quote."""

BLOCK_BYTES = 32 * 1024
"""What is cut and validated at once: enough rows to make the calls cheap, few enough to stay in the cache."""

# One reason for all, because which of them shows first can depend on how much of the file was looked at.
_BAD_QUOTES = (
    f"has a quote that is not closed within {MAX_ROW_LINES:,} lines and {MAX_ROW_BYTES:,} bytes, or text behind a "
    "closing quote; quotes inside a cell must be doubled"
)
_LONG_LINE = f"is a line of more than {MAX_ROW_BYTES:,} bytes"


@dataclass(slots=True)
class CutLines:
    """Lines cut into rows.

    Attributes:
        rows: Cells of each row; None where it can't be read.
        starts: Line where each row begins; lines are counted from 0 here.
        faults: Index in `rows` to why it can't be read.
        blanks: Lines of nothing but empty cells.
        complete: How many lines were used up; those behind belong to a row that goes on in later lines.
    """

    rows: list[Cells | None] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    blanks: set[int] = field(default_factory=set)
    complete: int = 0

    def lines_of(self, row: int) -> range:
        """Return the lines of a row."""
        stop = self.line_after(row + 1)
        while stop - 1 in self.blanks:
            stop -= 1
        return range(self.starts[row], stop)

    def line_after(self, rows: int) -> int:
        """Return the line where the row behind the first `rows` begins."""
        return self.starts[rows] if rows < len(self.starts) else self.complete

    def reject_line(self, reason: str) -> None:
        """Put aside the next line; the one behind it is tried as the beginning of a row."""
        self.faults[len(self.rows)] = reason
        self.rows.append(None)
        self.starts.append(self.complete)
        self.complete += 1

    def reject_rows(self, faults: Mapping[int, str]) -> None:
        """Put aside the rows to which these lines (index to reason) belong."""
        for row in range(len(self.rows)):
            if reason := next((faults[line] for line in self.lines_of(row) if line in faults), None):
                self.rows[row] = None
                self.faults.setdefault(row, reason)


def cut_lines(texts: Sequence[str], delimiter: str, *, final: bool) -> CutLines:
    """Cut lines into rows; a row that can't be read costs its first line only.

    Args:
        final: No line follows, so an open quote is a fault and not a row that goes on.
    """
    # The limit is the process's; it is only ever raised, so that a long field is ours to judge.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))
    cut = CutLines()
    while cut.complete < len(texts):
        window = range(cut.complete, min(len(texts), cut.complete + MAX_ROW_LINES))
        if _cut_window(texts, window, delimiter, cut):
            continue
        so_far = window.stop - cut.complete
        if so_far >= MAX_ROW_LINES or (final and window.stop == len(texts)):
            cut.reject_line(_BAD_QUOTES)
        elif window.stop == len(texts):
            break
        # Else the next window begins with this row, and shows whether it ends in time.
    return cut


def _cut_window(texts: Sequence[str], window: range, delimiter: str, cut: CutLines) -> bool:
    """Cut the lines of a window; False where its last row does not end in it."""
    rows, starts = cut.rows, cut.starts
    first = start = window.start
    # Fetched by index: slices of what is left after every bad row would take quadratic time.
    lines = map(texts.__getitem__, window)
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        for row in reader:
            if any(row):
                rows.append(row)
                starts.append(start)
            else:
                cut.blanks.add(start)
            start = first + reader.line_num
    except csv.Error:
        cut.complete = start
        if first + reader.line_num == window.stop:
            return False
        cut.reject_line(_BAD_QUOTES)
        return True
    cut.complete = start
    return True


@dataclass(slots=True)
class Block:
    """The next lines of the file, cut into rows.

    Attributes:
        raw_lines: The lines as bytes, each with its line end.
        texts: The same as text.
        cut: Their rows.
        is_final: Whether the file ends with these lines.
        first_line: Number of the first line in the file, counted from 1.
        runs_on: It is one line, longer than a row may be; only its beginning is here.
    """

    raw_lines: list[bytes]
    texts: list[str]
    cut: CutLines
    is_final: bool
    first_line: int = 1
    runs_on: bool = False

    @property
    def rows(self) -> list[Cells | None]:
        """Cells of each row; None where it can't be read."""
        return self.cut.rows

    @property
    def faults(self) -> dict[int, str]:
        """Index in `rows` to why it can't be read."""
        return self.cut.faults

    def lines(self, count: int) -> list[int]:
        """Return the lines where the first `count` rows begin, counted from 1."""
        return [self.first_line + start for start in self.cut.starts[:count]]

    def raw(self, row: int) -> str:
        """Return the text of a row for its reject, shortened and printable."""
        lines = self.cut.lines_of(row)
        text = "".join(self.texts[lines.start : lines.stop]).rstrip("\r\n")
        return text[:MAX_RAW_CHARACTERS].replace("\0", "\ufffd")

    def bytes_before(self, line: int) -> int:
        """Return the length of the lines before `line`."""
        return sum(map(len, self.raw_lines[:line]))


def read_block(
    window: ByteWindow, encoding: Encoding, delimiter: str, *, line: int = 1, size: int = BLOCK_BYTES
) -> Block:
    """Look at the next lines, without taking them; a row or blank line is complete in them, or the file ends.

    Args:
        line: Number of the first of them.
        size: How many bytes to look at first; makes no difference to what the rows are.
    """
    while True:
        data, final = window.peek(size)
        lines = encoding.split(data, final=final)
        texts, faults = encoding.decode(lines)
        cut = cut_lines(texts, delimiter, final=final)
        if cut.complete or final:
            if faults:
                cut.reject_rows(faults)
            return Block(lines, texts, cut, is_final=final, first_line=line)
        if size >= MAX_ROW_BYTES:
            cut.reject_line(_BAD_QUOTES if lines else _LONG_LINE)
            if lines:
                return Block(lines, texts, cut, is_final=False, first_line=line)
            return _endless(data, encoding, cut, line)
        size = min(2 * size, MAX_ROW_BYTES)


def _endless(data: bytes, encoding: Encoding, cut: CutLines, line: int) -> Block:
    opening = str(data[: 4 * MAX_RAW_CHARACTERS], encoding.name, "replace")
    return Block([data], [opening], cut, is_final=False, first_line=line, runs_on=True)
