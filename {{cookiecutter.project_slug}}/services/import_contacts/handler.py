"""Contacts of the client's file go into the mailing list, with what the survey wants to know about the visit."""

from __future__ import annotations

from qualtrics_etl import Contact, ImportContacts, RowContext, RowValues, lambda_handler
from typing_extensions import override


class ImportClientContacts(ImportContacts):
    """Says which column becomes which field of a contact."""

    @override
    def build_contact(self, row: RowValues, *, context: RowContext) -> Contact:
        return Contact(
            email=row["email"],
            first_name=row["first_name"],
            last_name=row["last_name"],
            language=row["language"],
            embedded_data={"branch": row["branch"], "visited_on": row["visited_on"]},
        )


handler = lambda_handler(ImportClientContacts)
