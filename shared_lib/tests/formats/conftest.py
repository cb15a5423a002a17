"""Reading a small file in one go, as most tests here do."""

from __future__ import annotations

import io
from typing import Annotated, Any, NotRequired, Protocol

import pytest
from pydantic import StringConstraints

from qualtrics_etl.formats.batches import Batch, Position
from qualtrics_etl.formats.csv_file import read_batches
from qualtrics_etl.formats.csv_header import CsvSpec
from qualtrics_etl.formats.rows import Row, RowModel


class CrmRow(Row):
    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")]
    first_name: str
    visits: int
    note: NotRequired[str]


class Read(Protocol):
    """Reads bytes into batches; from `position` on, it gets only what is behind it."""

    def __call__(
        self, data: bytes, *, spec: CsvSpec = ..., model: RowModel = ..., position: Position | None = ..., **limits: Any
    ) -> list[Batch]: ...


@pytest.fixture(scope="session")
def crm() -> RowModel:
    """E-mail, first name, visits, and a note that may be missing."""
    return RowModel(CrmRow)


@pytest.fixture(scope="session")
def read(crm: RowModel) -> Read:
    """Read bytes as the CRM's file."""

    def read_all(
        data: bytes,
        *,
        spec: CsvSpec = CsvSpec(),  # noqa: B008 - frozen
        model: RowModel = crm,
        position: Position | None = None,
        **limits: Any,
    ) -> list[Batch]:
        stream = io.BytesIO(data[position.offset :] if position else data)
        return list(read_batches(stream, spec, model, file="crm.csv", position=position, **limits))

    return read_all
