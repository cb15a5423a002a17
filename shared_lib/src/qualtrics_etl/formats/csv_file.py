"""A CSV file, from bytes to numbered batches of typed rows and rejects."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import override

from qualtrics_etl.formats.batch_reader import (
    MAX_BATCH_BYTES,
    ROWS_PER_BATCH,
    CheckRow,
    Limits,
    RowSource,
    cut_batches,
)
from qualtrics_etl.formats.batches import Batch, Position
from qualtrics_etl.formats.csv_header import CsvSpec, read_header
from qualtrics_etl.formats.csv_rows import Block, read_block
from qualtrics_etl.formats.lines import ByteStream, ByteWindow, Encoding, skip_line
from qualtrics_etl.formats.rows import RowModel


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
    yield from cut_batches(_CsvRows(window, start), start, rows, Limits(rows_per_batch, max_batch_bytes), check_row)


class _CsvRows(RowSource[Block]):
    """What is behind a position, a block of lines at a time."""

    def __init__(self, window: ByteWindow, start: Position) -> None:
        self._window = window
        self._encoding = Encoding(start.encoding)
        self._delimiter = start.delimiter
        self._line = start.line

    @override
    def look(self) -> Block:
        return read_block(self._window, self._encoding, self._delimiter, line=self._line)

    @override
    def take(self, block: Block, count: int) -> tuple[int, int]:
        used = block.cut.line_after(count)
        if block.runs_on and used:
            skip_line(self._window, self._encoding)
        else:
            self._window.advance(block.bytes_before(used))
        self._line += used
        return self._window.offset, self._line
