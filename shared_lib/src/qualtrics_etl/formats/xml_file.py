"""An XML file, from bytes to numbered batches of typed rows and rejects.

Its columns are those of the first records. What follows has to have them too, or less: a row model says which columns
are used, and makes the others go unseen; without one, a record with a column of its own is put aside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from typing_extensions import override

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.formats.batch_reader import CheckRow, Limits, RowSource, cut_batches
from qualtrics_etl.formats.batches import MAX_RAW_CHARACTERS, Batch, Position
from qualtrics_etl.formats.columns import plain_name
from qualtrics_etl.formats.csv_header import MAX_HEADER_CHARACTERS
from qualtrics_etl.formats.lines import ByteStream
from qualtrics_etl.formats.rows import Cells, RowModel
from qualtrics_etl.formats.xml_record import Record
from qualtrics_etl.formats.xml_records import XmlRecords, refused

SAMPLE_RECORDS = 1_000
SAMPLE_BYTES = 1_000_000
"""The columns are those of so many records, or of those that begin in so many bytes."""

BLOCK_ROWS = 200
"""What is validated at once."""


@dataclass(frozen=True, slots=True)
class XmlSpec:
    """The client's settings for XML files.

    Attributes:
        record: Name of the element that is a row, or the end of its path; blank for all elements in the root.
        columns: Name in the file to field of the row, for the columns whose names differ.
    """

    record: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


def read_xml_batches(
    stream: ByteStream,
    spec: XmlSpec,
    model: RowModel,
    limits: Limits,
    *,
    file: str,
    position: Position | None = None,
    check_row: CheckRow | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[Batch]:
    """Read the file, batch by batch; a file without records has none.

    Every record is in exactly one batch, as a good row or as a reject. Those without any text are skipped.

    Args:
        stream: The file from its first byte on, wherever `position` is.
        file: Its name, for errors.
        position: End of a batch, to go on behind it.
        check_row: What the client checks beside the row model.
        meanwhile: Called again and again while rows are left out; may raise to stop.

    Raises:
        InputError: The file can't be used as a whole: it is no XML, brings entities along, or its columns are wrong.
        ConfigurationError: `columns` of the settings names a field that is none.
    """
    records = XmlRecords(stream, spec.record, file=file)
    rows = _XmlRows(records)
    if position is None:
        start = _Beginning(records, spec, model, file).read()
    else:
        records.columns.fix(position.header, takes_no_other=model.is_text)
        rows.skip(position, meanwhile, file)
        start = position
    if not start.header:
        return
    validator = model.bind(start.header, spec.columns, file=file, line=start.line)
    yield from cut_batches(rows, start, validator, limits, check_row)


class _Beginning:
    """The first records, which say what columns there are."""

    def __init__(self, records: XmlRecords, spec: XmlSpec, model: RowModel, file: str) -> None:
        self._records = records
        self._spec = spec
        self._model = model
        self._file = file
        self._is_over = False

    def read(self) -> Position:
        """Read them, fix the columns, and return where the rows begin; without columns where there is no record.

        Raises:
            InputError: A column is missing, or stands for one field with another.
        """
        records = self._records
        records.after_record = self._end_in_time
        while not self._is_over and not records.is_at_end:
            records.read_on()
        if not self._is_over:
            self._end()
        return Position(
            offset=0,
            line=1,
            batch=0,
            rows=0,
            rejected=0,
            delimiter="",
            encoding=records.encoding,
            header=tuple(records.columns.names),
        )

    def _end_in_time(self) -> None:
        """Look at a record just read, while the parser stands behind it: later ones must not count."""
        waiting = self._records.waiting
        if waiting and (len(waiting) >= SAMPLE_RECORDS or waiting[-1].offset > SAMPLE_BYTES):
            self._end()

    def _end(self) -> None:
        records, self._is_over = self._records, True
        records.after_record = None
        found = records.columns.names
        names = self._used(found) if records.waiting else []
        at = [found.index(name) if name in found else None for name in names]
        records.columns.fix(names, takes_no_other=self._model.is_text)
        records.waiting[:] = [
            record._replace(cells=[record.cells[i] if i is not None and i < len(record.cells) else "" for i in at])
            for record in records.waiting
        ]

    def _used(self, found: Sequence[str]) -> list[str]:
        """Return the columns that are used: all, or those of the row model and the optional ones that may yet come."""
        if sum(map(len, found)) > MAX_HEADER_CHARACTERS:
            what = f"has columns whose names have more than {MAX_HEADER_CHARACTERS:,} characters"
            raise refused(self._file, what, "Ask for a file with the elements that are used.")
        places: dict[str, list[str]] = {}
        for name in found:
            places.setdefault(plain_name(name), []).append(name)
        wanted = {field: name for name, field in self._spec.columns.items()}
        names = {wanted.get(field, field): must_be_there for field, must_be_there in self._model.fields.items()}
        if self._model.is_text:
            names = dict.fromkeys([*self._spec.columns, *found], True)
        for name, must_be_there in names.items():
            self._check(name, places.get(plain_name(name), []), must_be_there)
        if self._model.is_text:
            return list(found)
        asked = {plain_name(name): name for name in names}
        to_come = [name for plain, name in asked.items() if plain not in places]
        return [*(name for name in found if plain_name(name) in asked), *to_come]

    def _check(self, name: str, columns: Sequence[str], must_be_there: bool) -> None:
        line = self._records.waiting[0].line
        if not columns and must_be_there:
            error = refused(
                self._file,
                f"has no column {name!r}: none of its first {len(self._records.waiting):,} records has such an element"
                f" (the first begins in line {line})",
                "Ask for a file with this element, or name it in the setting `columns` (inner elements as a/b,"
                " attributes as @a); when all are missing, look at the setting `record`.",
                line,
            )
        elif len(columns) > 1:
            error = refused(
                self._file,
                f"has {len(columns)} columns that are called {name!r}; names are compared without case, and dashes and"
                " underscores count as the same",
                "Ask for a file where one element has this name.",
                line,
            )
        else:
            return
        error.field = name
        raise error


class _Block:
    """The next records."""

    def __init__(self, records: Sequence[Record], source: XmlRecords, *, is_final: bool) -> None:
        self._records = records
        self._encoding = source.encoding
        self.is_final = is_final
        self.faults: dict[int, str] = {}
        self.rows: list[Cells | None] = []
        for index, record in enumerate(records):
            faults = [why for at, why in record.faults if source.columns.uses(at)] if record.faults else ()
            if faults:
                self.faults[index] = "; ".join(faults[:3])
            self.rows.append(None if faults else record.cells)

    def lines(self, count: int) -> list[int]:
        """Return the lines where the first `count` records begin."""
        return [record.line for record in self._records[:count]]

    def raw(self, row: int) -> str:
        """Return a record as it stands in the file, shortened."""
        raw = self._records[row].raw
        text = raw if isinstance(raw, str) else str(raw, self._encoding, "replace")
        return text[:MAX_RAW_CHARACTERS].replace("\0", "\ufffd")


class _XmlRows(RowSource[_Block]):
    """Records, a block at a time. A position in XML is where the last record before it begins."""

    def __init__(self, records: XmlRecords) -> None:
        self._records = records
        self._behind = (0, 1)

    @override
    def look(self) -> _Block:
        records = self._records
        while not records.waiting and not records.is_at_end:
            records.read_on()
        is_final = records.is_at_end and len(records.waiting) <= BLOCK_ROWS
        return _Block(records.waiting[:BLOCK_ROWS], records, is_final=is_final)

    @override
    def take(self, block: _Block, count: int) -> tuple[int, int]:
        if count:
            last = self._records.waiting[count - 1]
            self._behind = (last.offset, last.line)
            del self._records.waiting[:count]
        return self._behind

    def skip(self, position: Position, meanwhile: Callable[[], object], file: str) -> None:
        """Leave out the rows before a position.

        Raises:
            ConfigurationError: They are not the rows that were there.
        """
        left, records = position.rows, self._records
        self._behind = (position.offset, position.line)
        last: Record | None = None
        while left and not (records.is_at_end and not records.waiting):
            if not records.waiting:
                records.read_on()
                meanwhile()
            skipped = records.waiting[:left]
            left -= len(skipped)
            last = skipped[-1] if skipped else last
            del records.waiting[: len(skipped)]
        if left or last is None or last.offset != position.offset:
            raise ConfigurationError(
                f"{file} is not cut into records as it was when its first rows were stored.",
                remedy="Set `record` of parse_file to what it was then, and send the message back.",
            )
