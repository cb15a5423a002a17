"""A record of an XML file, before it is judged as a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from qualtrics_etl.formats.rows import Cells

RAW_BYTES = 8_000
"""How much of a record is kept as it stands in the file, for its reject."""

Fault: TypeAlias = tuple[str | None, str]
"""Which column (None: the record itself) is not as it must be, and why."""


class Record(NamedTuple):
    """One element that is a row.

    Attributes:
        cells: Text of each column; blank where the record has no such element. Columns that were not known yet are
            missing at the end.
        line: Where it begins, counted from 1.
        offset: Byte where it begins.
        raw: Its beginning, as it stands in the file: bytes in the file's encoding, or the text.
        faults: Why it can't be a row, if what is at fault is a column that is used.
    """

    cells: Cells
    line: int
    offset: int
    raw: bytes | str
    faults: Sequence[Fault]
