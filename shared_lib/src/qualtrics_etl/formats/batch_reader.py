"""Rows of any format become numbered batches and rejects, in memory that does not grow with the file.

A format gives blocks of rows, cut but not judged; a block is validated in one call. What a batch holds depends on the
rows from its first one on and on nothing else, so reading can stop at the end of any batch and go on in another
process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import orjson

from qualtrics_etl.errors import RowRejectedError
from qualtrics_etl.formats.batches import Batch, Position, Reject
from qualtrics_etl.formats.rows import Cells, RowValidator, Values

ROWS_PER_BATCH = 10_000
"""Rows of the file that a batch covers, rejected ones included, so that a run of bad rows is cut too."""

MAX_BATCH_BYTES = 4_500_000
"""What a batch may weigh: its rows as JSON with the fields' names at every row, as a request has them, and the text of
its rejects."""

CheckRow: TypeAlias = Callable[[dict[str, Any], int], None]
"""Looks at a valid row and its line; raises RowRejectedError to put it aside. May see a row twice."""

_Fault: TypeAlias = tuple[str | None, str]


class RowBlock(Protocol):
    """The next rows of a file."""

    @property
    def rows(self) -> Sequence[Cells | None]:
        """Cells of each row; None where it can't be read."""

    @property
    def faults(self) -> Mapping[int, str]:
        """Index in `rows` to why it can't be read."""

    @property
    def is_final(self) -> bool:
        """Whether no row is behind these."""

    def lines(self, count: int) -> list[int]:
        """Return the lines where the first `count` rows begin, counted from 1."""

    def raw(self, row: int) -> str:
        """Return the text of a row for its reject, shortened and printable."""


_Block = TypeVar("_Block", bound=RowBlock)


class RowSource(Protocol[_Block]):
    """A file of any format, cut into rows."""

    def look(self) -> _Block:
        """Return the next rows without taking them: at least one, unless there is none or some lines are blank."""

    def take(self, block: _Block, count: int) -> tuple[int, int]:
        """Take the first `count` rows of what was just looked at; return `offset` and `line` of the place behind."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a batch ends.

    Attributes:
        rows: Most rows of the file in a batch, rejected ones included.
        batch_bytes: Most bytes of a batch, written as the request it becomes.
    """

    rows: int = ROWS_PER_BATCH
    batch_bytes: int = MAX_BATCH_BYTES


def cut_batches(
    source: RowSource[_Block], start: Position, rows: RowValidator, limits: Limits, check_row: CheckRow | None = None
) -> Iterator[Batch]:
    """Cut what is behind a position into batches.

    Args:
        source: The file, from `start` on.
        rows: The validator for its header.
        check_row: What the client checks beside the row model.
    """
    judge = _Judge(rows, limits.batch_bytes, check_row)
    reader = _BatchReader(source, start, judge, limits)
    while batch := reader.read():
        yield batch
        del batch  # so that no two are held at a time


class _BatchReader(Generic[_Block]):
    def __init__(self, source: RowSource[_Block], start: Position, judge: _Judge, limits: Limits) -> None:
        self._source = source
        self._position = start
        self._judge = judge
        self._limits = limits

    def read(self) -> Batch | None:
        """Return the next batch; None where no row is left."""
        draft = _Draft(self._limits.rows, self._limits.batch_bytes)
        start = self._position
        while True:
            block = self._source.look()
            taken = draft.add(self._judge.judge(block, draft.rows_left))
            self._move_behind(block, taken)
            has_more = len(taken.values) < len(block.rows)
            if has_more or block.is_final:
                break
        if self._position.rows == start.rows:
            return None
        self._position = dataclasses.replace(self._position, batch=start.batch + 1)
        return draft.finish(self._judge.header, start, self._position, is_last=not has_more)

    def _move_behind(self, block: _Block, taken: _Judged) -> None:
        offset, line = self._source.take(block, len(taken.values))
        self._position = dataclasses.replace(
            self._position,
            offset=offset,
            line=line,
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

    def judge(self, block: RowBlock, count: int) -> _Judged:
        """Decide about the first `count` rows of a block."""
        values = self._rows.validate(block.rows[:count])
        lines = block.lines(count)
        faults = {index: self._fault(block.rows[index], block.faults.get(index)) for index in _missing(values)}
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
        self, block: RowBlock, values: list[Values | None], lines: list[int], faults: dict[int, _Fault]
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
