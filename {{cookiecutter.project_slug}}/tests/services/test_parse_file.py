"""The service parse_file does what every step must do, and knows the client's columns."""

from __future__ import annotations

import pytest
from qualtrics_etl.testing import StepChecks, parse_text

HEADER = "email,first_name,last_name,language,branch,visited_on"
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
    """A row as the client sends it is taken as it is."""
    assert parse_text("parse_file", f"{HEADER}\n{','.join(GOOD.values())}\n") == ([GOOD], [])


@pytest.mark.parametrize(
    ("column", "text"), [("email", "ana.costa"), ("last_name", ""), ("language", "XX"), ("visited_on", "2025-02-30")]
)
def test_bad_value_is_put_aside(column: str, text: str) -> None:
    """A row with a value that can't be used is rejected under the name of its column."""
    rows, rejects = parse_text("parse_file", f"{HEADER}\n{','.join((GOOD | {column: text}).values())}\n")
    assert (rows, [(reject.line, reject.field) for reject in rejects]) == ([], [(2, column)])
