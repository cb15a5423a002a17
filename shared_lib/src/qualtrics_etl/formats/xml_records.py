"""Records of an XML file, one after the other: each a row of text, with the line where it begins.

    <contacts>                                 columns of this record
      <contact id="7">                         @id
        <email>ann@client.example</email>      email
        <address><city>Kiel</city></address>   address/city
      </contact>
    </contacts>

A DOCTYPE, and with it every entity of the file's own, is refused: it is how a small file becomes gigabytes, or fetches
what it should not see. What is read ahead, held or counted is bounded.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from qualtrics_etl.errors import InputError
from qualtrics_etl.formats.csv_header import MAX_COLUMNS
from qualtrics_etl.formats.csv_rows import MAX_ROW_BYTES
from qualtrics_etl.formats.lines import ByteStream
from qualtrics_etl.formats.rows import Cells
from qualtrics_etl.formats.xml_plain import PlainRecords
from qualtrics_etl.formats.xml_record import RAW_BYTES, Fault, Record

if TYPE_CHECKING:
    from pyexpat import XMLParserType

READ_BYTES = 64 * 1024

MAX_DEPTH = 50
"""Of elements within elements."""

MAX_TAG_BYTES = 1_000_000
"""Of a tag with its attributes, or a comment: the parser holds it whole."""

MAX_NAMES = 10_000
"""Different names of elements and attributes: the parser holds them all."""

MAX_PLACES = 20_000
"""Elements and attributes at different places in a record that are remembered."""

_SEPARATOR = " "  # between a namespace and a name: it can be in neither
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance "
_ENCODINGS = re.compile(
    r"utf-?8|utf-?16(le|be)?|(us-)?ascii|latin-?1|iso-?8859-\d{1,2}|(windows-|cp)125\d", re.IGNORECASE
)
_ASCII_IS_ASCII = {"utf-8", "utf8", "us-ascii", "ascii"}
_UTF_16 = {b"\xff\xfe": "utf-16-le", b"<\0": "utf-16-le", b"\xfe\xff": "utf-16-be", b"\0<": "utf-16-be"}

_TOO_LONG = f"is longer than {MAX_ROW_BYTES:,} bytes"
_MIXED = "holds text beside elements"


class Place:
    """An element or attribute within a record.

    Attributes:
        path: What its column is called, or would be.
        column: Index of its column; None where it is none.
        inner: What is in it, by the name that the parser gives.
    """

    __slots__ = ("column", "inner", "path")

    def __init__(self, path: str, column: int | None) -> None:
        self.path = path
        self.column = column
        self.inner: dict[str, Place] = {}


_ELSEWHERE = Place("", None)
"""Where no column is, and none is in it."""


class Columns:
    """The columns that records have: found while the first records are read, then fixed.

    Attributes:
        names: What they are called: in the order in which they appeared, later as they were fixed.
        root: The record itself.
        are_fixed: Whether no other column comes into being.
        takes_no_other: Whether a record that has another one is put aside; else the other one is left out.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.root = Place("", None)
        self._index: dict[str, int] = {}
        self._containers: set[str] = set()
        self.are_fixed = False
        self.takes_no_other = False
        self._places = 0

    def fix(self, names: Sequence[str], *, takes_no_other: bool) -> None:
        """Take these columns.

        Args:
            takes_no_other: A record that has another one is put aside; else the other one is left out.
        """
        self.names, self.root, self._places = list(names), Place("", None), 0
        self._index = {name: index for index, name in enumerate(names)}
        self._containers = {path for name in names for path in accumulate(name.split("/"), "{}/{}".format)}
        self.are_fixed, self.takes_no_other = True, takes_no_other

    def find(self, within: Place, name: str, called: str) -> Place:
        """Return the place of something that is met for the first time.

        Args:
            name: As the parser gives it.
            called: As a column of it is called.
        """
        if within is _ELSEWHERE:
            return _ELSEWHERE
        path = f"{within.path}/{called}" if within.path else called
        place = Place(path, self._index.get(path))
        if self.are_fixed and not self.takes_no_other and path not in self._containers:
            place = _ELSEWHERE
        # Whoever makes up paths must not fill the memory with them.
        if self._places < MAX_PLACES:
            self._places += 1
            within.inner[name] = place
        return place

    def column(self, place: Place) -> int | None:
        """Return the column of a place with text; a new one, unless they are fixed."""
        if place.column is None and not self.are_fixed:
            place.column = self._index.setdefault(place.path, len(self.names))
            if place.column == len(self.names):
                self.names.append(place.path)
        return place.column

    def refuses(self, place: Place) -> bool:
        """Tell whether a record with text at a place of no column is put aside."""
        return self.takes_no_other and place.column is None

    def uses(self, path: str | None) -> bool:
        """Tell whether a fault at this column matters."""
        return path is None or not self.are_fixed or self.takes_no_other or path in self._index


class XmlRecords:
    """A file's records, in order.

    Attributes:
        waiting: Records that were read, and not taken away yet.
        columns: What is in them.
        encoding: Codec of the file.
        is_at_end: Whether the file was read to its end, and was XML up to there.
        after_record: Called after each record, for who looks at them one by one.

    Args:
        record: Name of the element that is a record, or the end of its path; blank for all in the root.
        reads_plain: Whether plain records are taken by the short way; makes no difference to what they are.
    """

    def __init__(self, stream: ByteStream, record: str, *, file: str, reads_plain: bool = True) -> None:
        self.waiting: list[Record] = []
        self.columns = Columns()
        self.encoding = "utf-8"
        self.is_at_end = False
        self.after_record: Callable[[], object] | None = None
        self._stream = stream
        self._file = file
        self._parser = self._new_parser()
        self._walk = _Walk(self, record, self._parser, file)
        self._chunk, self._chunk_at, self._kept = b"", 0, b""
        self._reads_plain = reads_plain
        self._plain: PlainRecords | None = None

    def read_on(self) -> None:
        """Read a little further: some records more are waiting, or none, or the end is reached.

        Raises:
            InputError: The file is no XML, or XML that is not taken.
        """
        chunk = self._stream.read(READ_BYTES)
        if not self._chunk:
            self.encoding = _UTF_16.get(chunk[:2], self.encoding)
        self._keep_beginning_of_record()
        self._chunk_at += len(self._chunk)
        self._chunk = chunk
        if not chunk:
            self._parse(b"", is_final=True)
            self._walk.finish()
            self.is_at_end = True
            return
        if self._reads_plain:
            self._prepare_plain()
        fed = 0
        while fed < len(chunk):
            fed = self._read_plain(fed)
            end = chunk.find(self._plain.end_tag, fed) if self._plain else -1
            stop = end + len(self._plain.end_tag) if self._plain and end >= 0 else len(chunk)
            self._parse(chunk[fed:stop])
            fed = stop
        self._check_bounds()

    def _read_plain(self, fed: int) -> int:
        """Take the plain records from here on, if the parser has just left a record; return where they end."""
        if self._plain is None or not self._walk.is_behind_record(self._plain.end_tag, self._chunk_at + fed):
            return fed
        # A record without an end tag, <contact/>, ends where one would begin: as many bytes later may be the middle of
        # a comment.
        if not self._chunk.endswith(self._plain.end_tag, 0, fed):
            return fed
        found, end = self._plain.find(self._chunk, fed, offset=self._chunk_at, line=self._parser.CurrentLineNumber)
        if end > fed:
            self._walk.look_away()
            self._parse(self._chunk[fed:end])
            self._walk.look_again(self._chunk_at + end - len(self._plain.end_tag))
            self.waiting += found
        return end

    def _prepare_plain(self) -> None:
        """Look for plain records as soon as it is known how they are called, and which columns are used."""
        name, columns = self._walk.record_name, self.columns
        if self._plain is None and name and name.isascii() and columns.are_fixed and self.encoding in _ASCII_IS_ASCII:
            self._plain = PlainRecords(name, columns.names, takes_no_other=columns.takes_no_other)

    def raw(self, start: int, end: int) -> bytes:
        """Return what stands in the file from `start` to `end`, or the beginning of it."""
        at = start - self._chunk_at
        if at >= 0:
            return self._chunk[at : min(at + RAW_BYTES, end - self._chunk_at)]
        return (self._kept + self._chunk[: max(0, end - self._chunk_at)])[:RAW_BYTES]

    def _keep_beginning_of_record(self) -> None:
        start = self._walk.record_at
        if start is None:
            self._kept = b""
        elif start >= self._chunk_at:
            self._kept = self._chunk[start - self._chunk_at :][:RAW_BYTES]
        elif len(self._kept) < RAW_BYTES:
            self._kept = (self._kept + self._chunk)[:RAW_BYTES]

    def _parse(self, data: bytes, *, is_final: bool = False) -> None:
        from pyexpat import ErrorString, ExpatError

        try:
            self._parser.Parse(data, is_final)
        except ExpatError as exc:
            raise refused(
                self._file,
                f"is no XML that can be read: {ErrorString(exc.code)} (line {exc.lineno})",
                "Ask the client for a file that an XML program has written; where it is CSV, set `format` of parse_file"
                " to csv.",
                exc.lineno,
            ) from exc

    def _check_bounds(self) -> None:
        fed, line = self._chunk_at + len(self._chunk), self._parser.CurrentLineNumber
        if fed - self._parser.CurrentByteIndex > MAX_TAG_BYTES:
            what = f"has a tag or comment of more than {MAX_TAG_BYTES:,} bytes (line {line})"
            raise refused(self._file, what, "Ask the client what this file is, and for one without it.", line)
        if len(self._parser.intern) > MAX_NAMES:
            what = f"has more than {MAX_NAMES:,} different names of elements and attributes (line {line})"
            remedy = "Ask the client for a file in which all records name their fields alike."
            raise refused(self._file, what, remedy, line)
        self._walk.leave_out_long_record(fed)

    def _new_parser(self) -> XMLParserType:
        from pyexpat import ParserCreate

        parser = ParserCreate(None, _SEPARATOR)
        parser.buffer_text = True
        parser.XmlDeclHandler = self._check_declaration
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        return parser

    def _check_declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        """Take only encodings that can be read; called before the parser itself looks for the encoding."""
        if encoding is None:
            return
        if not _ENCODINGS.fullmatch(encoding) or not _is_codec(encoding):
            raise refused(
                self._file,
                "declares an encoding that is not read here (line 1)",
                "Ask the client for the file in UTF-8; UTF-16, ISO 8859 and the code pages of Windows are read too.",
                1,
            )
        if not self.encoding.startswith("utf-16"):
            self.encoding = encoding.lower()

    def _refuse_doctype(self, *_: object) -> None:
        line = self._parser.CurrentLineNumber
        what = f"has a DOCTYPE (line {line}); entities that a file brings along are not read, for safety"
        raise refused(self._file, what, "Ask the client for the same file without its document type.", line)


def refused(file: str, what: str, remedy: str, line: int | None = None) -> InputError:
    """Return the error for an XML file that can't be used as a whole."""
    return InputError(f"{file} {what}. Nothing of it was sent to Qualtrics.", remedy=remedy, file=file, row_number=line)


class _Walk:
    """What the parser calls: the way down to records, and the record that is being read.

    It is called some twenty times a record, so the methods for what is inside of one do little.
    """

    def __init__(self, records: XmlRecords, record: str, parser: XMLParserType, file: str) -> None:
        self.record_at: int | None = None
        self.record_name = ""
        self._records = records
        self._columns = records.columns
        self._parser = parser
        self._file = file
        self._wanted = [part for part in record.split("/") if part]
        # Outside of records: the names of the elements down to here, and whether there is an element in each.
        self._path: list[str] = []
        self._has_inner = [False]
        self._ended_at: int | None = None
        self._has_records = False
        self._is_empty = False
        # Inside of one.
        self._line = 0
        self._here = _ELSEWHERE
        self._trail: list[Place] = []
        self._is_leaf = False
        self._text: list[str] = []
        self._cells: Cells = []
        self._blank: Cells = []
        self._faults: list[Fault] = []
        self._skipped = 0
        self._leave_record()

    def finish(self) -> None:
        """Refuse a file without records, unless it shows that there are none.

        Raises:
            InputError: No element is the one that was asked for.
        """
        if not self._has_records and not self._is_empty:
            raise refused(
                self._file,
                f"has no record: no element is named as `record` of parse_file says ({'/'.join(self._wanted)!r})",
                "Set it to the name of the element that is a row, or to its path, such as contacts/contact.",
            )

    def leave_out_long_record(self, fed: int) -> None:
        """Hold no more of a record that is longer than a row may be."""
        if self.record_at is not None and fed - self.record_at > MAX_ROW_BYTES and not self._skipped:
            self._skipped = len(self._trail) + 1
            self._text.clear()
            self._cells = []
            self._parser.CharacterDataHandler = None
            self._parser.StartElementHandler = self._start_skipped
            self._parser.EndElementHandler = self._end_skipped

    def is_behind_record(self, end_tag: bytes, at: int) -> bool:
        """Tell whether a record's end tag ends here, if it had one, and nothing else is between: the next may begin."""
        return self._ended_at is not None and self._ended_at + len(end_tag) == at

    def look_away(self) -> None:
        """Take no note of what the parser reads: whole records."""
        self._parser.StartElementHandler = None
        self._parser.EndElementHandler = None

    def look_again(self, ended_at: int) -> None:
        """Take note again; the last record's end tag began at `ended_at`."""
        self._ended_at = ended_at
        self._leave_record()

    # --- outside of records -------------------------------------------------------------------------------------------

    def _start_outside(self, name: str, attributes: Mapping[str, str]) -> None:
        local = name.rpartition(_SEPARATOR)[2]
        self._has_inner[-1] = True
        if self._is_record(local):
            self.record_name = local
            self._enter_record(attributes)
            return
        self._ended_at = None
        self._path.append(local)
        self._has_inner.append(False)
        self._check_depth(len(self._path))

    def _end_outside(self, _name: str) -> None:
        self._ended_at = None
        has_inner, parent = self._has_inner.pop(), self._wanted[:-1]
        if not has_inner and (self._ends_with(parent) if parent else len(self._path) == 1):
            self._is_empty = True
        self._path.pop()

    def _is_record(self, local: str) -> bool:
        if self._wanted:
            return local == self._wanted[-1] and self._ends_with(self._wanted[:-1])
        if len(self._path) != 1:
            return False
        if local != (self.record_name or local):
            line = self._parser.CurrentLineNumber
            raise refused(
                self._file,
                f"has elements of different names in its root (line {line}), so that it can't be told which are rows",
                "Set `record` of parse_file to the name of the element that is a row, or to its path, such as"
                " contacts/contact.",
                line,
            )
        return True

    def _ends_with(self, names: Sequence[str]) -> bool:
        return len(names) <= len(self._path) and self._path[len(self._path) - len(names) :] == names

    # --- the record ---------------------------------------------------------------------------------------------------

    def _enter_record(self, attributes: Mapping[str, str]) -> None:
        parser = self._parser
        self.record_at, self._line = parser.CurrentByteIndex, parser.CurrentLineNumber
        self._has_records = self._is_leaf = True
        self._cells, self._faults = self._blank.copy(), []
        self._here = self._columns.root
        if attributes:
            self._take_attributes(attributes)
        parser.StartElementHandler = self._start_inside
        parser.EndElementHandler = self._end_inside
        parser.CharacterDataHandler = self._text.append

    def _end_record(self) -> None:
        assert self.record_at is not None
        records, start, end = self._records, self.record_at, self._parser.CurrentByteIndex
        self._leave_record()
        self._ended_at = end
        if self._text:
            self._note_text(self._here)
        if end - start > MAX_ROW_BYTES:
            self._faults = [(None, _TOO_LONG)]
        if self._faults or any(self._cells):
            raw = records.raw(start, end)
            records.waiting.append(Record(self._cells, self._line, start, raw, self._faults))
        if records.after_record:
            records.after_record()
        self._blank = [""] * len(self._columns.names)

    def _leave_record(self) -> None:
        self.record_at, self._skipped = None, 0
        self._parser.StartElementHandler = self._start_outside
        self._parser.EndElementHandler = self._end_outside
        self._parser.CharacterDataHandler = None

    # --- inside of it -------------------------------------------------------------------------------------------------

    def _start_inside(self, name: str, attributes: Mapping[str, str]) -> None:
        here, trail = self._here, self._trail
        if self._text:
            self._note_text(here)
        trail.append(here)
        self._here = here.inner.get(name) or self._columns.find(here, name, name.rpartition(_SEPARATOR)[2])
        self._is_leaf = True
        if attributes:
            self._take_attributes(attributes)
        if len(trail) > MAX_DEPTH:
            self._check_depth(len(trail))

    def _end_inside(self, _name: str) -> None:
        if not self._trail:
            self._end_record()
            return
        text = self._text
        if self._is_leaf:
            self._take(self._here, text[0] if len(text) == 1 else "".join(text))
            text.clear()
            self._is_leaf = False
        elif text:
            self._note_text(self._here)
        self._here = self._trail.pop()

    def _take(self, place: Place, value: str) -> None:
        column = place.column
        if column is None:
            column = self._columns.column(place)
            if column is None:
                if value and self._columns.refuses(place):
                    self._faults.append((place.path, f"has <{place.path}>, which the first records have not"))
                return
        cells = self._cells
        if column >= len(cells):
            self._widen(column + 1)
        if cells[column] and not cells[column].isspace() and value.strip():
            self._faults.append((place.path, f"has more than one <{place.path}>"))
        cells[column] = value or cells[column]

    def _take_attributes(self, attributes: Mapping[str, str]) -> None:
        here = self._here
        for name, value in attributes.items():
            if name.startswith(_INSTANCE):
                continue
            key = f"@{name}"  # there may be an element of this name
            place = here.inner.get(key) or self._columns.find(here, key, f"@{name.rpartition(_SEPARATOR)[2]}")
            self._take(place, value)

    def _note_text(self, place: Place) -> None:
        """Judge text that stands beside elements; blanks make no difference there."""
        text = self._text
        if (len(text) != 1 or not text[0].isspace()) and "".join(text).strip() and place is not _ELSEWHERE:
            is_record = place is self._columns.root
            if not is_record:
                self._columns.column(place)
            self._faults.append((None, _MIXED) if is_record else (place.path, f"<{place.path}> {_MIXED}"))
        text.clear()

    def _widen(self, width: int) -> None:
        if width > MAX_COLUMNS:
            line = self._parser.CurrentLineNumber
            what = f"has records with more than {MAX_COLUMNS:,} columns (line {line})"
            remedy = (
                "Ask for a file with the elements that are used; if it has no more, look at `record` of parse_file."
            )
            raise refused(self._file, what, remedy, line)
        self._cells.extend([""] * (width - len(self._cells)))

    # --- what is left out ---------------------------------------------------------------------------------------------

    def _start_skipped(self, _name: str, _attributes: Mapping[str, str]) -> None:
        self._skipped += 1
        self._check_depth(self._skipped)

    def _end_skipped(self, _name: str) -> None:
        self._skipped -= 1
        if not self._skipped:
            self._trail.clear()
            self._end_record()

    def _check_depth(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            line = self._parser.CurrentLineNumber
            what = f"has more than {MAX_DEPTH} elements within each other (line {line})"
            raise refused(self._file, what, "Ask the client what this file is, and for a table.", line)


def _is_codec(encoding: str) -> bool:
    try:
        codecs.lookup(encoding)
    except LookupError:
        return False
    return True
