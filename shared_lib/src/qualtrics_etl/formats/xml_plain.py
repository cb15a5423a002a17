"""Records of XML in their plainest form, found without asking the parser for each element.

    <contact id="7"><email>ann@client.example</email><note/></contact>

Most records of most files look so: no elements in elements, no references, no attributes but the record's. The parser
still reads every byte of them, and says whether they are well-formed; but that it calls us twenty times a record is
what takes the time. What looks otherwise in any way is left to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from qualtrics_etl.formats.rows import Cells
from qualtrics_etl.formats.xml_record import RAW_BYTES, Record

_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*+"
_BLANKS = r"[ \t\r\n]*+"
_VALUE = r"[^<&\r]*+"  # a carriage return is not text as it stands
_ATTRIBUTE = re.compile(rf'({_NAME})="([^"<&\t\r\n]*+)"')
_FIELD = re.compile(rf"<({_NAME})(?:>({_VALUE})</\1>|/>)")

_MOST_SHAPES = 20
_MOST_NAMES = 200
_MOST_LAYOUTS = 1_000

_Names: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the cells of a record are among its values.

    Attributes:
        at: Index of each column's value; the one behind the last for a column without one.
        is_as_it_is: Whether the values are the cells, in this order.
    """

    at: tuple[int, ...]
    is_as_it_is: bool


class PlainRecords:
    """Finds records of one name.

    Attributes:
        end_tag: What a record ends with.

    Args:
        name: The records' name, in the form that a tag has.
        columns: The columns that are used.
        takes_no_other: Whether a record with another column is not for us to judge.
    """

    def __init__(self, name: str, columns: Sequence[str], *, takes_no_other: bool) -> None:
        self.end_tag = f"</{name}>".encode()
        attribute = rf'[ \t\r\n]++{_NAME}="[^"<&\t\r\n]*+"'
        self._opening = rf"{_BLANKS}(<{re.escape(name)}((?:{attribute})*+){_BLANKS}>)"
        self._start = re.compile(self._opening)
        self._end = re.escape(f"</{name}>")
        self._end_text = f"</{name}>"
        self._columns = columns
        self._takes_no_other = takes_no_other
        # What a record may look like: which elements, in which order, each of which may be missing.
        self._shape: re.Pattern[str] | None = None
        self._shape_names: _Names = ()
        self._shapes: set[_Names] = set()
        self._layouts: dict[_Names, _Layout | None] = {}

    def find(self, data: bytes, at: int, *, offset: int, line: int) -> tuple[list[Record], int]:
        """Find plain records that follow each other from `at` on, up to the first that is none.

        Args:
            offset: Where `data` begins in the file.
            line: Number of the line at `at`.

        Returns:
            Those with any text, and where the last one ends; `at` where there is none.
        """
        found: list[Record] = []
        try:
            text = data[at : data.rfind(self.end_tag) + len(self.end_tag)].decode()
        except UnicodeDecodeError:
            return found, at
        counted = position = 0
        is_ascii, has_cr = text.isascii(), "\r" in text
        while (record := self._match(text, position)) is not None:
            cells, start, end = record
            line += text.count("\n", counted, start)
            if has_cr:
                line += text.count("\r", counted, start) - text.count("\r\n", counted, start)
            at += start - counted if is_ascii else len(text[counted:start].encode())
            if any(cells):
                raw = text[start : min(end - len(self.end_tag), start + RAW_BYTES)]
                found.append(Record(cells, line, offset + at, raw, ()))
            counted, position = start, end
        return found, at + len(text[counted:position].encode())

    def _match(self, text: str, at: int) -> tuple[Cells, int, int] | None:
        """Return the cells of the record that begins here, with its start and end; None where it is none of ours."""
        match = self._shape.match(text, at) if self._shape else None
        if match:
            _, attributes, *values = match.groups("")
            names, end = self._shape_names, match.end()
        else:
            match = self._start.match(text, at)
            last = text.find(self._end_text, match.end()) if match else -1
            if not match or last < 0:
                return None
            parts = _FIELD.split(text[match.end() : last])
            if "".join(parts[::3]).strip(" \t\r\n"):
                return None
            names, values, attributes = tuple(parts[1::3]), [value or "" for value in parts[2::3]], match[2]
            end = last + len(self._end_text)
            self._learn(names)
        if attributes:
            given = _ATTRIBUTE.findall(attributes)
            names = (*(f"@{name}" for name, _ in given), *names)
            values = [*(value for _, value in given), *values]
        layout = self._layouts[names] if names in self._layouts else self._lay_out(names)
        if layout is None:
            return None
        if not layout.is_as_it_is:
            values.append("")
            values = [values[index] for index in layout.at]
        return values, match.start(1), end

    def _learn(self, names: _Names) -> None:
        """Expect records like this one: to look for what is expected is twice as fast."""
        if len(self._shapes) < _MOST_SHAPES and len(names) <= _MOST_NAMES and names not in self._shapes:
            self._shapes.add(names)
            escaped = map(re.escape, names)
            fields = "".join(f"(?:<{name}(?:>({_VALUE})</{name}>|/>){_BLANKS})?+" for name in escaped)
            self._shape = re.compile(f"{self._opening}{_BLANKS}{fields}{self._end}")
            self._shape_names = names

    def _lay_out(self, names: _Names) -> _Layout | None:
        """Say where the cells are; None where that can't be told, or is not for us to judge."""
        has_other = self._takes_no_other and not set(names) <= set(self._columns)
        layout = None
        if len(set(names)) == len(names) and not has_other:
            at = tuple(names.index(column) if column in names else len(names) for column in self._columns)
            layout = _Layout(at, is_as_it_is=names == tuple(self._columns))
        if len(self._layouts) < _MOST_LAYOUTS:
            self._layouts[names] = layout
        return layout
