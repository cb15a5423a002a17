"""What every format is cut into: numbered batches of good rows, and the rejects beside them.

A batch is a header and rows as lists, kept as JSON from the moment its rows are valid: that is what is stored, it is
a fifth of the memory of the rows themselves, and its length is known when the batch must be cut.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.formats.rows import RowModel

MAX_RAW_CHARACTERS = 2_000
"""How much of a rejected row is kept, so that rejects can't fill the memory."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Position:
    """A boundary between two batches, from which another process reads on with the same result.

    Attributes:
        offset: Byte in the file, not packed, where the next row begins, or blank lines before it. In XML, which is
            read from its beginning anyway, where the last row before here begins.
        line: Number of the line at `offset`, counted from 1.
        batch: Number of the next batch, counted from 0.
        rows: Rows of the file before here, good and rejected, header not counted.
        rejected: How many of these were rejected.
        delimiter: What separates the cells; decided once, at the header. Empty for XML.
        encoding: Codec of the file; decided once, at its first bytes.
        header: The file's columns as it names them.
    """

    offset: int
    line: int
    batch: int
    rows: int
    rejected: int
    delimiter: str
    encoding: str
    header: tuple[str, ...]

    @property
    def good_rows(self) -> int:
        """Rows before here that are in batches."""
        return self.rows - self.rejected

    @property
    def reject_ratio(self) -> float:
        """Share of the rows before here that were rejected, 0.0 to 1.0; 0.0 where there was no row."""
        return self.rejected / self.rows if self.rows else 0.0

    def encode(self) -> bytes:
        """Return the position as JSON: the same bytes for the same position."""
        return orjson.dumps(_position_fields(self))

    @classmethod
    def decode(cls, data: bytes) -> Position:
        """Read a stored position back.

        Raises:
            PermanentError: It is not one.
        """
        try:
            return _position(orjson.loads(data))
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise _malformed("position") from exc


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was put aside.

    Attributes:
        line: Line in the file where the row begins, counted from 1.
        field: Column at fault, as the file names it; None where the whole row is.
        reason: What is wrong, for the client to read.
        raw: The row as it stands in the file, without its last line end, at most 2,000 characters.
    """

    line: int
    field: str | None
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A slice of the file's rows.

    Attributes:
        number: Counted from 0, without gaps; a slice of nothing but rejects has a number too.
        header: Field of each cell of a row.
        pieces: The good rows as JSON, in file order: `[a,b],[c,d]` a piece, to be joined by commas.
        lines: Line in the file where each good row begins.
        start: Where the slice begins in the file.
        end: Where the next one begins.
        is_last: Whether the file ends here.
        rejects: What was put aside, in file order; not stored with the batch.
    """

    number: int
    header: tuple[str, ...]
    pieces: tuple[bytes, ...]
    lines: tuple[int, ...]
    start: Position
    end: Position
    is_last: bool
    rejects: tuple[Reject, ...] = ()

    @property
    def row_count(self) -> int:
        """How many good rows there are."""
        return len(self.lines)

    def rows(self) -> list[list[Any]]:
        """Return the good rows: text, numbers, booleans and None; a date or a Decimal is text here."""
        rows: list[list[Any]] = orjson.loads(self.rows_json())
        return rows

    def rows_json(self) -> bytes:
        """Return the good rows as one JSON array."""
        return b"[" + b",".join(self.pieces) + b"]"


def encode_batch(batch: Batch) -> bytes:
    """Return the batch as it is stored: JSON, the same bytes for the same slice of the same file."""
    frame = orjson.dumps(
        {
            "version": _VERSION,
            "number": batch.number,
            "is_last": batch.is_last,
            "start": _position_fields(batch.start),
            "end": _position_fields(batch.end),
            "header": batch.header,
            "lines": batch.lines,
        }
    )
    # One copy of the rows and not two: they are most of what a function holds in memory here.
    rows = [part for piece in batch.pieces for part in (piece, b",")]
    return b"".join((frame[:-1], b',"rows":[', *rows[:-1], b"]}"))


def decode_batch(data: bytes) -> Batch:
    """Read a stored batch back; its rejects are stored apart.

    Raises:
        PermanentError: It is not one.
    """
    try:
        raw = orjson.loads(data)
        _check_frame(raw)
        rows = orjson.dumps(raw["rows"])[1:-1]
        return Batch(
            number=raw["number"],
            header=tuple(raw["header"]),
            pieces=(rows,) if rows else (),
            lines=tuple(raw["lines"]),
            start=_position(raw["start"]),
            end=_position(raw["end"]),
            is_last=raw["is_last"],
        )
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise _malformed("batch") from exc


def rows_as_mappings(batch: Batch, model: RowModel | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give each good row as a hook sees it, with the line where it begins in the file.

    Args:
        model: Restores the declared types that JSON does not know (dates, Decimal); without it they stay text.

    Raises:
        ConfigurationError: The batch was written by another row model.
    """
    rows: Iterable[Iterable[Any]] = batch.rows()
    if model is not None:
        rows = model.restore(batch.header, batch.rows())
    for line, row in zip(batch.lines, rows, strict=True):
        yield line, dict(zip(batch.header, row, strict=True))


_FORMULA = re.compile(
    '^(?=[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20])|(?<=[,;|"\t\r\n])(?=[=+\\-@\uff1d\uff0b\uff0d\uff20])'
)
"""Where a spreadsheet could see the beginning of a formula: in front, and behind whatever it may take for the end of a
cell. A program of a country where semicolons separate cells cuts our quoted cells at them.

Source: OWASP, CSV Injection (the characters, the full-width ones among them, and the warning of separators).
"""


def encode_rejects(rejects: Iterable[Reject], *, with_header: bool = True) -> bytes:
    """Return the reject file, CSV in UTF-8, for the client to open in a spreadsheet.

    Pieces put behind each other, only the first with its header, are one file. A cell that a spreadsheet would run as
    a formula gets an apostrophe in front.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    if with_header:
        writer.writerow(("line", "field", "reason", "raw"))
    writer.writerows((r.line, neutralise(r.field or ""), neutralise(r.reason), neutralise(r.raw)) for r in rejects)
    return out.getvalue().encode()


def neutralise(cell: str) -> str:
    """Put an apostrophe wherever a spreadsheet could take what follows for a formula."""
    return _FORMULA.sub("'", cell)


def _position_fields(position: Position) -> dict[str, Any]:
    return {field.name: getattr(position, field.name) for field in dataclasses.fields(position)}


def _position(raw: dict[str, Any]) -> Position:
    header = raw["header"]
    counts = [value for name, value in raw.items() if name not in ("header", "delimiter", "encoding")]
    if not _are(int, counts) or min(counts) < 0 or raw["rejected"] > raw["rows"]:
        raise ValueError("a count is none")
    if type(header) is not list or not _are(str, [*header, raw["delimiter"], raw["encoding"]]):
        raise ValueError("a text is none")
    return Position(**{**raw, "header": tuple(header)})


def _check_frame(raw: dict[str, Any]) -> None:
    """Refuse a batch whose parts don't fit each other: a row too few would be a person who is silently left out.

    Raises:
        ValueError: They don't.
    """
    header, lines, rows = raw["header"], raw["lines"], raw["rows"]
    if raw["version"] != _VERSION or type(raw["is_last"]) is not bool or type(raw["number"]) is not int:
        raise ValueError("another version, or no frame of ours")
    if not (_are(list, [header, lines, rows]) and _are(str, header) and _are(int, lines) and _are(list, rows)):
        raise ValueError("header, lines or rows are none")
    if len(lines) != len(rows) or any(len(row) != len(header) for row in rows):
        raise ValueError("rows don't fit header and lines")


def _are(kind: type, values: Iterable[object]) -> bool:
    return all(type(value) is kind for value in values)


def _malformed(what: str) -> PermanentError:
    return PermanentError(
        f"The stored {what} can't be read.",
        remedy="Deploy the version of the library that wrote it, send the message back, and upgrade after the run.",
    )
