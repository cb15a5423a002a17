"""The service parse_file does what every step must do, and knows the client's columns."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError
from qualtrics_etl.testing import StepChecks

from services.parse_file.handler import ContactRow

SAMPLE = Path(__file__).parents[1] / "data" / "contacts.csv"
GOOD = {
    "email": "ana.costa@example.com",
    "first_name": "Ana",
    "last_name": "Costa",
    "language": "EN",
    "branch": "Riverside",
    "visited_on": "2025-03-14",
}


class TestParseFile(StepChecks):
    """The checks that every step must pass, run on our handler."""

    service = "parse_file"


def test_good_row_passes() -> None:
    """A row as the client sends it is taken."""
    assert TypeAdapter(ContactRow).validate_python(GOOD)


@pytest.mark.parametrize(
    ("column", "text"), [("email", "ana.costa"), ("last_name", ""), ("language", "XX"), ("visited_on", "2025-02-30")]
)
def test_bad_value_is_named(column: str, text: str) -> None:
    """A value that can't be used is refused under the name of its column."""
    with pytest.raises(ValidationError, match=column):
        TypeAdapter(ContactRow).validate_python(GOOD | {column: text})


def test_sample_has_the_columns() -> None:
    """The sample file has the columns that a row must have."""
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == list(GOOD)
