"""The client's contact file becomes batches of good rows; a row that is not like this is put aside."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import StringConstraints
from qualtrics_etl import ParseFile, Row, lambda_handler

Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class ContactRow(Row):
    """The columns that a row must have, and what may stand in them."""

    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
    first_name: Name
    last_name: Name
    language: Literal["DE", "EN", "FR"]
    branch: Name
    visited_on: date


class ParseContacts(ParseFile):
    """Reads the client's columns."""

    row_model = ContactRow


handler = lambda_handler(ParseContacts)
