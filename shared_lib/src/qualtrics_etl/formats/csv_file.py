"""A CSV file, from bytes to numbered batches of typed rows and rejects, in memory that does not grow with the file.

Blocks of bytes are cut into rows, and a block's rows validated in one call. What a batch holds depends on the bytes
from its first row on and on nothing else, so reading can stop at the end of any batch and go on in another process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, TypeAlias

import orjson

from qualtrics_etl.errors import RowRejectedError
from qualtrics_etl.formats.batches import Batch, Position, Reject
from qualtrics_etl.formats.csv_header import CsvSpec, read_header
from qualtrics_etl.formats.csv_rows import Block, read_block
from qualtrics_etl.formats.lines import ByteStream, ByteWindow, Encoding, skip_line
from qualtrics_etl.formats.rows import Cells, RowModel, RowValidator, Values

ROWS_PER_BATCH = 10_000
"""Rows of the file that a batch covers, rejected ones included, so that a run of bad rows is cut too."""

MAX_BATCH_BYTES = 4_500_000
"""What a batch may weigh: its rows as JSON with the fields' names at every row, as a request has them, and the text of
its rejects."""

CheckRow: TypeAlias = Callable[[dict[str, Any], int], None]
"""Looks at a valid row and its line; raises RowRejectedError to put it aside. May see a row twice."""

_Fault: TypeAlias = tuple[str | None, str]


def read_batches(
    stream: ByteStream,
    spec: CsvSpec,
    model: RowModel,
    *,
    file: str,
    position: Position | None = None,
    rows_per_batch: int = ROWS_PER_BATCH,
    max_batch_bytes: int = MAX_BATCH_BYTES,
    check_row: CheckRow | None = None,
) -> Iterator[Batch]:
    """Read the file, batch by batch; a file of nothing but a header has none.

    Every row of the file is in exactly one batch, as a good row or as a reject. Lines without content are skipped.

    Args:
        stream: The file from its first byte on; from byte `position.offset` on where a position is given.
        file: Its name, for errors.
        position: End of a batch, to go on behind it.
        check_row: What the client checks beside the row model.

    Raises:
        InputError: The file can't be used as a whole: it is empty, or its header or its delimiter is wrong.
        ConfigurationError: `columns` of the settings names a field that is none.
    """
    window = ByteWindow(stream, position.offset if position else 0)
    start = position or read_header(window, spec, model, file=file)
    rows = model.bind(start.header, spec.columns, file=file, line=1)
    reader = _BatchReader(window, start, _Judge(rows, max_batch_bytes, check_row), rows_per_batch, max_batch_bytes)
    while batch := reader.read():
        yield batch
        del batch  # so that no two are held at a time


class _BatchReader:
    """Cuts what is behind a position into batches."""

    def __init__(
        self, window: ByteWindow, position: Position, judge: _Judge, rows_per_batch: int, max_batch_bytes: int
    ) -> None:
        self._window = window
        self._position = position
        self._judge = judge
        self._rows_per_batch = rows_per_batch
        self._max_batch_bytes = max_batch_bytes
        self._encoding = Encoding(position.encoding)

    def read(self) -> Batch | None:
        """Return the next batch; None where no row is left."""
        draft = _Draft(self._rows_per_batch, self._max_batch_bytes)
        start = self._position
        while True:
            block = read_block(self._window, self._encoding, start.delimiter)
            taken = draft.add(self._judge.judge(block, self._position.line, draft.rows_left))
            self._move_behind(block, taken)
            has_more = len(taken.values) < len(block.cut.rows)
            if has_more or block.is_final:
                break
        if self._position.rows == start.rows:
            return None
        self._position = dataclasses.replace(self._position, batch=start.batch + 1)
        return draft.finish(self._judge.header, start, self._position, is_last=not has_more)

    def _move_behind(self, block: Block, taken: _Judged) -> None:
        used = block.cut.line_after(len(taken.values))
        if block.runs_on and used:
            skip_line(self._window, self._encoding)
        else:
            self._window.advance(block.bytes_before(used))
        self._position = dataclasses.replace(
            self._position,
            offset=self._window.offset,
            line=self._position.line + used,
            rows=self._position.rows + len(taken.values),
            rejected=self._position.rejected + len(taken.rejects),
        )


class _Draft:
    """A batch in the making."""

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self.rows_left = max_rows
        self._bytes_left = max_bytes
        self._is_empty = True
        self._pieces: list[bytes] = []
        self._lines: list[int] = []
        self._rejects: list[Reject] = []

    def add(self, judged: _Judged) -> _Judged:
        """Take as many of the rows as there is room for, at least one into an empty batch; return those."""
        if judged.weight() > self._bytes_left:
            judged = judged.first(self._fitting(judged))
        self.rows_left -= len(judged.values)
        self._bytes_left -= judged.weight()
        self._is_empty = self._is_empty and not judged.values
        if judged.json:
            self._pieces.append(judged.json)
        self._lines += judged.good_lines()
        self._rejects += judged.rejects.values()
        return judged

    def finish(self, header: tuple[str, ...], start: Position, end: Position, *, is_last: bool) -> Batch:
        return Batch(
            number=start.batch,
            header=header,
            pieces=tuple(self._pieces),
            lines=tuple(self._lines),
            start=start,
            end=end,
            is_last=is_last,
            rejects=tuple(self._rejects),
        )

    def _fitting(self, judged: _Judged) -> int:
        left = self._bytes_left
        for index in range(len(judged.values)):
            left -= judged.weight_of(index)
            if left < 0:
                return index or int(self._is_empty)
        return len(judged.values)


class _Judged:
    """Rows of a block, each with its values or its reject.

    Attributes:
        values: In file order; None for a reject.
        lines: Where each row begins.
        rejects: Index in `values` to reject.
        json: The good rows, without the array's brackets.
    """

    def __init__(
        self, values: list[Values | None], lines: list[int], rejects: dict[int, Reject], names_bytes: int
    ) -> None:
        self.values = values
        self.lines = lines
        self.rejects = rejects
        self._names_bytes = names_bytes
        self._good = [row for row in values if row is not None]
        self.json = _json(self._good)[1:-1]

    def first(self, count: int) -> _Judged:
        rejects = {index: reject for index, reject in self.rejects.items() if index < count}
        return _Judged(self.values[:count], self.lines[:count], rejects, self._names_bytes)

    def good_lines(self) -> list[int]:
        if not self.rejects:
            return self.lines
        return [line for index, line in enumerate(self.lines) if index not in self.rejects]

    def weight(self) -> int:
        rejects = sum(map(_weight_of_reject, self.rejects.values()))
        return len(self.json) + bool(self._good) + len(self._good) * self._names_bytes + rejects

    def weight_of(self, index: int) -> int:
        row = self.values[index]
        return _weight_of_reject(self.rejects[index]) if row is None else len(_json(row)) + self._names_bytes + 1


class _Judge:
    """Decides about each row: good, or rejected and why.

    Attributes:
        header: Fields of a good row.
    """

    def __init__(self, rows: RowValidator, max_row_bytes: int, check_row: CheckRow | None) -> None:
        self.header = rows.header
        self._rows = rows
        self._max_row_bytes = max_row_bytes
        self._check_row = check_row
        # A request repeats at every row what stands once in a batch: each field's name, in quotes, and a colon.
        self._names_bytes = sum(len(_json(name)) + 1 for name in rows.header)

    def judge(self, block: Block, first_line: int, count: int) -> _Judged:
        """Decide about the first `count` rows of a block."""
        cut = block.cut
        values = self._rows.validate(cut.rows[:count])
        lines = [first_line + start for start in cut.starts[:count]]
        faults = {index: self._fault(cut.rows[index], cut.faults.get(index)) for index in _missing(values)}
        if self._check_row:
            faults |= self._checked(self._check_row, values, lines)
        try:
            judged = self._judged(block, values, lines, faults)
            if judged.weight() <= self._max_row_bytes:
                return judged
        except TypeError:
            pass  # a value that can't be stored: which one is looked for row by row
        faults |= self._unstorable(values)
        return self._judged(block, values, lines, faults)

    def _judged(
        self, block: Block, values: list[Values | None], lines: list[int], faults: dict[int, _Fault]
    ) -> _Judged:
        for index in faults:
            values[index] = None
        rejects = {index: Reject(lines[index], *faults[index], block.raw(index)) for index in sorted(faults)}
        return _Judged(values, lines, rejects, self._names_bytes)

    def _fault(self, row: Cells | None, unreadable: str | None) -> _Fault:
        if row is None:
            return None, unreadable or "can't be read"
        return self._rows.reason(row)

    def _checked(self, check_row: CheckRow, values: list[Values | None], lines: list[int]) -> dict[int, _Fault]:
        faults = {}
        for index, row in enumerate(values):
            try:
                if row is not None:
                    check_row(dict(zip(self.header, row, strict=True)), lines[index])
            except RowRejectedError as exc:
                faults[index] = (self._rows.name_of(exc.field), exc.what)
        return faults

    def _unstorable(self, values: list[Values | None]) -> dict[int, _Fault]:
        return {index: fault for index, row in enumerate(values) if row and (fault := self._storage_fault(row))}

    def _storage_fault(self, row: Values) -> _Fault | None:
        for field, value in zip(self.header, row, strict=True):
            try:
                _json(value)
            except TypeError:
                return self._rows.name_of(field), "is too large a number, or of a type that can't be stored"
        if len(_json(row)) + self._names_bytes + 1 > self._max_row_bytes:
            return None, f"is longer than the {self._max_row_bytes:,} bytes of a request"
        return None


def _missing(values: list[Values | None]) -> list[int]:
    return [index for index, row in enumerate(values) if row is None]


def _json(value: object) -> bytes:
    return orjson.dumps(value, default=_known)


def _known(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError


def _weight_of_reject(reject: Reject) -> int:
    return len(reject.reason) + len(reject.raw)
