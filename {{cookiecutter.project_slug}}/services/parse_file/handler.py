"""The client's contact file becomes batches of good rows; a row that is not like this is put aside."""

from datetime import date
from typing import Annotated, Literal

from pydantic import StringConstraints
from qualtrics_etl import ParseFile, Row, lambda_handler


class ContactRow(Row):
    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
    first_name: str
    last_name: str
    language: Literal["DE", "EN", "FR"]
    branch: str
    visited_on: date


class ParseContacts(ParseFile):
    row_model = ContactRow


handler = lambda_handler(ParseContacts)
