"""A table in any format, as the client's settings and its own first bytes say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from qualtrics_etl.formats.batch_reader import CheckRow, Limits
from qualtrics_etl.formats.batches import Batch, Position
from qualtrics_etl.formats.content import Content, read_opening
from qualtrics_etl.formats.csv_file import read_batches
from qualtrics_etl.formats.csv_header import CsvSpec
from qualtrics_etl.formats.openings import begins_like_xml
from qualtrics_etl.formats.rows import RowModel

Format: TypeAlias = Literal["auto", "csv", "xml"]


@dataclass(frozen=True, slots=True)
class TableSpec:
    """The client's settings for tables.

    Attributes:
        format: What the file is; `auto` looks at its first bytes.
        delimiter: As in `CsvSpec`.
        encoding: As in `CsvSpec`; an XML file says it itself.
        record: As in `XmlSpec`.
        columns: Name in the file to field of the row, for the columns whose names differ.
    """

    format: Format = "auto"
    delimiter: str = "auto"
    encoding: str = "utf-8"
    record: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


def read_table(
    content: Content,
    spec: TableSpec,
    model: RowModel,
    limits: Limits,
    *,
    position: Position | None = None,
    check_row: CheckRow | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[Batch]:
    """Read a table, batch by batch.

    Args:
        position: End of a batch, to go on behind it.
        check_row: What the client checks beside the row model.
        meanwhile: Called again and again while rows are left out; may raise to stop.

    Raises:
        InputError: The file can't be used as a whole.
        ConfigurationError: A setting can't work.
    """
    csv_spec = CsvSpec(delimiter=spec.delimiter, encoding=spec.encoding, columns=spec.columns)
    if not _is_xml(content, spec.format, position):
        yield from read_batches(
            content.open(position.offset if position else 0),
            csv_spec,
            model,
            file=content.name,
            position=position,
            rows_per_batch=limits.rows,
            max_batch_bytes=limits.batch_bytes,
            check_row=check_row,
        )
        return
    from qualtrics_etl.formats.xml_file import XmlSpec, read_xml_batches

    yield from read_xml_batches(
        content.open(),
        XmlSpec(record=spec.record, columns=spec.columns),
        model,
        limits,
        file=content.name,
        position=position,
        check_row=check_row,
        meanwhile=meanwhile,
    )


def _is_xml(content: Content, set_format: Format, position: Position | None) -> bool:
    if position is not None:
        return not position.delimiter  # what was begun goes on, whatever is set now
    if set_format != "auto":
        return set_format == "xml"
    return begins_like_xml(read_opening(content))
