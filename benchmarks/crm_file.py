"""The client file that the benchmarks read: contacts in ten columns, the same for the same number of rows.

One row in five has a quoted comma, one in ten a quoted newline, one in a hundred is bad.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from xml.sax.saxutils import escape

from pydantic import Field, StringConstraints

from qualtrics_etl.formats.rows import Row

HEADER = (
    "email",
    "first_name",
    "last_name",
    "company",
    "language",
    "phone",
    "customer_number",
    "visits",
    "satisfaction",
    "note",
)
FIRST_NAMES = ("Ann", "Björn", "Chloé", "Dimitri", "Emma", "Fatma", "Giulia", "Håkon", "Inês", "Jan")
LAST_NAMES = ("Lindqvist", "Müller", "Okafor", "Papadopoulos", "Rossi", "Sánchez", "Tanaka", "van den Berg")
COMPANIES = ("Northwind Freight", "Bakery on the Corner", "Hill, Stone and Sons", "Harbour Light Optics")
LANGUAGES = ("de", "en", "fr", "es")


class CrmRow(Row):
    """Eight constraints on ten columns."""

    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
    first_name: Annotated[str, StringConstraints(max_length=50)]
    last_name: Annotated[str, StringConstraints(max_length=50)]
    company: str
    language: Literal["de", "en", "fr", "es"]
    phone: Annotated[str, StringConstraints(pattern=r"^\+[0-9 ]{6,20}$")]
    customer_number: Annotated[str, StringConstraints(pattern=r"^C-[0-9]{8}$")]
    visits: Annotated[int, Field(ge=0, le=10_000)]
    satisfaction: Annotated[float, Field(ge=0, le=10)]
    note: str | None


def write_crm_file(path: Path, rows: int) -> None:
    """Write a file of that many rows, header not counted."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(_rows(rows))


def write_crm_xml(path: Path, rows: int) -> None:
    """Write the same rows as XML: an element a column, a line each."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<contacts>\n')
        for row in _rows(rows):
            cells = zip(HEADER, map(escape, map(str, row)), strict=True)
            fields = "".join(f"    <{name}>{cell}</{name}>\n" for name, cell in cells)
            file.write(f"  <contact>\n{fields}  </contact>\n")
        file.write("</contacts>\n")


def _rows(count: int) -> Iterator[list[object]]:
    dice = random.Random(20_261_122)
    for number in range(count):
        row = _row(number, dice)
        if number % 100 == 99:
            row[number // 100 % 8 if number // 100 % 8 != 3 else 0] = " "
        yield row


def _row(number: int, dice: random.Random) -> list[object]:
    first, last = dice.choice(FIRST_NAMES), dice.choice(LAST_NAMES)
    return [
        f"contact.{number}@client-{number % 977}.example",
        first,
        last,
        dice.choice(COMPANIES),
        dice.choice(LANGUAGES),
        f"+49 30 {dice.randrange(10**7):07d}",
        f"C-{number:08d}",
        dice.randrange(400),
        dice.randrange(100) / 10,
        _note(number, dice),
    ]


def _note(number: int, dice: random.Random) -> str:
    if number % 10 == 3:
        return f"Called on day {dice.randrange(365)}.\nWants to be written to in the evening."
    if number % 5 == 1:
        return f"Prefers mail, not phone, since visit {dice.randrange(30)}"
    return "" if number % 3 == 0 else f"Branch {dice.randrange(90)}"
