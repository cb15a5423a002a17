"""How a CSV file begins: its encoding, its delimiter and its header, as set or as found."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qualtrics_etl.errors import ConfigurationError, InputError
from qualtrics_etl.formats.batches import Position
from qualtrics_etl.formats.csv_rows import BLOCK_BYTES, MAX_ROW_BYTES, Block, cut_lines, read_block
from qualtrics_etl.formats.lines import ByteWindow, Encoding, codec_name, read_encoding
from qualtrics_etl.formats.openings import OPENING_BYTES, other_kind
from qualtrics_etl.formats.rows import RowModel

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
"""What `auto` chooses from, and how a message calls it."""

MAX_COLUMNS = 2_000
"""Of a wider header nothing is read: it is another kind of file, or a delimiter that stands everywhere."""

MAX_HEADER_CHARACTERS = 100_000
"""Of all the columns' names together: they are kept with every batch."""

_SAMPLE_LINES = 50
_CLEAR_AGREEMENT = 0.9


@dataclass(frozen=True, slots=True)
class CsvSpec:
    """The client's settings for CSV files.

    Attributes:
        delimiter: One character, or `auto`: comma, semicolon, tab or pipe, whichever the first lines agree on.
        encoding: What the file is written in, unless it begins with a byte order mark.
        columns: Name in the file to field of the row, for the columns whose names differ.

    Raises:
        ConfigurationError: A setting can't work; names it.
    """

    delimiter: str = "auto"
    encoding: str = "utf-8"
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        codec_name(self.encoding)
        if self.delimiter != "auto" and not _can_delimit(self.delimiter):
            raise ConfigurationError(
                f"The setting `delimiter` is {self.delimiter!r}, which can't separate cells.",
                remedy="Set it to auto, or to one character that is no letter, digit, quote or blank.",
            )


def read_header(window: ByteWindow, spec: CsvSpec, model: RowModel, *, file: str) -> Position:
    """Take the header from the window and return where the rows begin.

    Raises:
        InputError: The file is empty or no CSV at all, or its header or delimiter is wrong.
        ConfigurationError: `columns` of the settings names a field that is none.
    """
    _refuse_other_kinds(window.peek(OPENING_BYTES)[0], file)
    encoding = read_encoding(window, spec.encoding)
    choice = _Delimiters(_sample(window, encoding), spec, model)
    delimiter = choice.best() if spec.delimiter == "auto" else spec.delimiter
    block, line = _first_row(window, encoding, delimiter, file)
    cells = block.cut.rows[0]
    if cells is None:
        raise _unreadable(block.cut.faults[0], file, line)
    header = tuple(cell.strip() for cell in cells)
    _refuse_large(header, file, line)
    choice.check(delimiter, header, file, line)
    model.bind(header, spec.columns, file=file, line=line)
    used = block.cut.line_after(1)
    window.advance(block.bytes_before(used))
    return Position(
        offset=window.offset,
        line=line - block.cut.starts[0] + used,
        batch=0,
        rows=0,
        rejected=0,
        delimiter=delimiter,
        encoding=encoding.name,
        header=header,
    )


def _refuse_other_kinds(opening: bytes, file: str) -> None:
    """Refuse what begins like a file of another kind: its bytes would be read as a header of nonsense."""
    kind = other_kind(opening)
    if kind is not None:
        raise InputError(
            f"{file} is no CSV file: it begins like {kind}.",
            remedy="Ask the client for the table itself, as CSV or XML: plain, or packed once with gzip or zip, and not"
            " encrypted.",
            file=file,
            row_number=1,
        )


def _refuse_large(header: Sequence[str], file: str, line: int) -> None:
    characters = sum(map(len, header))
    if len(header) > MAX_COLUMNS or characters > MAX_HEADER_CHARACTERS:
        raise InputError(
            f"The header of {file} (line {line}) has {len(header):,} columns and {characters:,} characters, more than"
            f" {MAX_COLUMNS:,} or {MAX_HEADER_CHARACTERS:,}.",
            remedy="Ask for a file with the columns that are used; if it has no more, look at the setting `delimiter`.",
            file=file,
            row_number=line,
        )


def _sample(window: ByteWindow, encoding: Encoding) -> list[str]:
    for size in (BLOCK_BYTES, MAX_ROW_BYTES):
        data, final = window.peek(size)
        if lines := encoding.split(data, final=final):
            return encoding.decode(lines[:_SAMPLE_LINES])[0]
    return []


def _first_row(window: ByteWindow, encoding: Encoding, delimiter: str, file: str) -> tuple[Block, int]:
    """Take the blank lines at the beginning; return the block that begins the rows, and the line of the first one."""
    line = 1
    while True:
        block = read_block(window, encoding, delimiter)
        if block.cut.rows:
            return block, line + block.cut.starts[0]
        if block.is_final:
            raise InputError(
                f"{file} is empty: it has no header.",
                remedy="Ask for the file again; a file without rows still needs its header line.",
                file=file,
            )
        window.advance(block.bytes_before(block.cut.complete))
        line += block.cut.complete


class _Delimiters:
    """What each delimiter would make of the first lines."""

    def __init__(self, sample: Sequence[str], spec: CsvSpec, model: RowModel) -> None:
        self._sample = sample
        self._spec = spec
        self._model = model

    def best(self) -> str:
        """Return the one on which header and rows agree best; a comma where none occurs."""
        return max(DELIMITERS, key=self._score)

    def check(self, used: str, header: Sequence[str], file: str, line: int) -> None:
        """Refuse a delimiter when another one clearly fits, or when none was found and columns are missing.

        The header is not quoted: in a file without one it is the data of a person.
        """
        matches, _, width = self._score(used)
        best = self.best()
        best_matches, agreement, best_width = self._score(best)
        is_clear = best_matches == matches and width <= 1 < best_width and agreement >= _CLEAR_AGREEMENT
        if best_matches > matches or is_clear:
            what = f"cut at {_say(best)} it has {best_width}"
            remedy = f"Set `delimiter` to {_say(best)} ({best!r}) or to auto."
        elif len(header) == 1 and matches < sum(self._model.fields.values()) != 1:
            what = f"and none of {', '.join(DELIMITERS.values())} cuts it into more"
            remedy = "Set `delimiter` to the character between the columns."
        else:
            return
        raise InputError(
            f"{file} has another delimiter: its header (line {line}), cut at {_say(used)}, has {len(header)} "
            f"column{'s' * (len(header) != 1)}, {what}.",
            remedy=remedy,
            file=file,
            row_number=line,
        )

    def _score(self, delimiter: str) -> tuple[int, float, int]:
        """Return how many wanted columns there are, what share of the rows is as wide as the header, and the width."""
        header, *rows = cut_lines(self._sample, delimiter, final=False).rows or [None]
        names = header or "".join(self._sample[:1]).split(delimiter)
        matches = self._model.count_matches(names, self._spec.columns)
        if len(names) < 2:
            return matches, 0.0, len(names)
        agreeing = sum(row is not None and len(row) == len(names) for row in rows)
        return matches, agreeing / len(rows) if rows else 1.0, len(names)


def _can_delimit(character: str) -> bool:
    is_sign = len(character) == 1 and unicodedata.category(character)[0] in "PS"
    return (is_sign and character != '"') or character == "\t"


def _say(delimiter: str) -> str:
    return DELIMITERS.get(delimiter, repr(delimiter))


def _unreadable(why: str, file: str, line: int) -> InputError:
    return InputError(
        f"The header of {file} (line {line}) can't be read: it {why}.",
        remedy="Look at the settings `encoding` and `delimiter`, or ask for the file again.",
        file=file,
        row_number=line,
    )
