"""Each file gets a mailing list of its own."""

from __future__ import annotations

from qualtrics_etl import CreateMailingList, RunContext, lambda_handler
from typing_extensions import override


class CreateContactList(CreateMailingList):
    """Names the list so that a person finds it in Qualtrics."""

    @override
    def build_name(self, *, context: RunContext) -> str:
        return f"Contacts of {context.now:%Y-%m-%d}"


handler = lambda_handler(CreateContactList)
