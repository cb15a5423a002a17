"""Steps for ETL automations around Qualtrics: each is one API call, retried alone, done once.

What client code imports. Each name is loaded when it is first used, so that a function starts with its own step only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qualtrics_etl.errors import RowRejectedError, RowSkippedError
    from qualtrics_etl.formats.rows import Row
    from qualtrics_etl.lambda_entry import lambda_handler
    from qualtrics_etl.qualtrics.contact_imports import Contact
    from qualtrics_etl.steps.contexts import RowContext, RowValues, RunContext
    from qualtrics_etl.steps.create_mailing_list import CreateMailingList
    from qualtrics_etl.steps.fetch_sftp_file import FetchSftpFile
    from qualtrics_etl.steps.import_contacts import ImportContacts
    from qualtrics_etl.steps.parse_file import ParseFile
    from qualtrics_etl.steps.receive_post import ReceivePost
    from qualtrics_etl.steps.schedule_distribution import ScheduleDistribution
    from qualtrics_etl.steps.schedule_reminder import ScheduleReminder

_HOMES = {
    "Contact": "qualtrics.contact_imports",
    "CreateMailingList": "steps.create_mailing_list",
    "FetchSftpFile": "steps.fetch_sftp_file",
    "ImportContacts": "steps.import_contacts",
    "ParseFile": "steps.parse_file",
    "ReceivePost": "steps.receive_post",
    "Row": "formats.rows",
    "RowContext": "steps.contexts",
    "RowRejectedError": "errors",
    "RowSkippedError": "errors",
    "RowValues": "steps.contexts",
    "RunContext": "steps.contexts",
    "ScheduleDistribution": "steps.schedule_distribution",
    "ScheduleReminder": "steps.schedule_reminder",
    "lambda_handler": "lambda_entry",
}

__all__ = [
    "Contact",
    "CreateMailingList",
    "FetchSftpFile",
    "ImportContacts",
    "ParseFile",
    "ReceivePost",
    "Row",
    "RowContext",
    "RowRejectedError",
    "RowSkippedError",
    "RowValues",
    "RunContext",
    "ScheduleDistribution",
    "ScheduleReminder",
    "lambda_handler",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
