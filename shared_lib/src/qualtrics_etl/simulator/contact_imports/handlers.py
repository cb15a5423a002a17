"""Answers about contact imports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from qualtrics_etl.simulator import checks, paging
from qualtrics_etl.simulator.calls import Call, JsonObject, Reply
from qualtrics_etl.simulator.checks import Shape, check_object
from qualtrics_etl.simulator.contact_imports.errors import import_not_found
from qualtrics_etl.simulator.contact_imports.models import (
    ADDED,
    FAILED,
    MOST_CONTACTS,
    UNTOLD,
    UPDATED,
    ImportJob,
    ReportRow,
)
from qualtrics_etl.simulator.contacts.models import TEXT_FIELDS, are_scalars, embedded_data_complaint
from qualtrics_etl.simulator.errors import invalid

REPORT_PAGE = 1_000
"""Rows of a report on a page. Source: Not documented; chosen."""

SHORT_REPORT_PAGE = 2
"""The same, by the scenario `short_report_pages`."""

_WORDS = {ADDED: ("SUCCESS", "200"), UPDATED: ("SUCCESS", "200"), FAILED: ("FAILURE", "400"), UNTOLD: ("DEFERRED", "")}
_UNKNOWN_WORDS = {ADDED: ("STATE_1", "A1"), UPDATED: ("STATE_1", "A2"), FAILED: ("STATE_2", "E7"), UNTOLD: ("", "")}
"""Word and code of a report for each outcome. Source: Not documented; chosen."""

_LANGUAGE = re.compile("[A-Za-z]{2,3}([-_][A-Za-z]{2,4})?")

_META = Shape(
    required={"batchId": checks.an_id("BT")},
    optional={
        "fields": lambda value: (
            ""
            if isinstance(value, list) and all(isinstance(name, str) for name in value)
            else "must be a list of texts"
        )
    },
)
_BODY = Shape(
    required={"contacts": lambda value: "" if isinstance(value, list) else "must be a list"},
    optional={"transactionMeta": _META},
)
_CONTACT_TYPES: Mapping[str, type] = {
    **dict.fromkeys(TEXT_FIELDS, str),
    "unsubscribed": bool,
    "embeddedData": dict,
    "transactionData": dict,
}


def start_import(call: Call) -> Reply:
    """Accept contacts as a job. List and directory are not looked at here: the job finds out.

    Source: Qualtrics API reference, the page on importing contacts: 202, at most 10,000 contacts, null is not a value,
    contacts with wrong transaction data are unprocessed. Not documented; chosen: an unknown key, a wrong type or a
    language that is no code refuses the whole call; `unprocessed` names positions from 0, as texts (by a scenario from
    1, or addresses); `phone` is taken, as newer clients send it.
    """
    check_object(call.body, _BODY)
    contacts = call.body["contacts"]
    if not 0 < len(contacts) <= MOST_CONTACTS:
        raise invalid(f"contacts must be a list of 1 to {MOST_CONTACTS} contacts")
    for position, contact in enumerate(contacts):
        _check_contact(contact, position)
    fields = frozenset(call.body.get("transactionMeta", {}).get("fields", []))
    taken = {str(position): contact for position, contact in enumerate(contacts) if _is_processed(contact, fields)}
    job = _job(call, taken)
    call.state.imports.accept(job)
    left_out = [position for position in range(len(contacts)) if str(position) not in taken]
    unprocessed = [str(position + job.first_number) for position in left_out]
    if "unprocessed_addresses" in call.quirks:
        unprocessed = [contacts[position].get("email", "") for position in left_out]
    return Reply(
        {
            "id": job.import_id,
            "contacts": {"unprocessed": unprocessed},
            "tracking": {"url": call.url(f"{call.path}/{job.import_id}")},
            "status": "inProgress",
        },
        status=202,
    )


def look_at_import(call: Call) -> Reply:
    """Say how far a job is; each look may move it on.

    Source: Qualtrics API reference, the page on the status of an import. Not documented; chosen: `invalidEmails` is
    there when there are any (by a scenario never), and a job that failed counts nothing.
    """
    _find(call)
    call.state.imports.look(call.params["import"], call.now)
    call.state.run_due(call.now)
    job = _find(call)
    result: JsonObject = {
        "percentComplete": job.percent_complete(call.now),
        "contacts": {"count": {outcome: job.count(outcome) for outcome in (ADDED, UPDATED, FAILED)}},
        "transactions": {"count": {"created": 0}},
        "status": job.status,
    }
    wrong = [row.email for row in job.rows if job.names_failures and row.outcome == FAILED and row.email]
    return Reply(result | ({"invalidEmails": wrong} if wrong else {}))


def report_import(call: Call) -> Reply:
    """Say what became of every contact, under `results`.

    Source: Qualtrics API reference, the page on an import's report. Not documented; chosen: the words and codes of
    the statuses; empty texts where nothing is known; positions from 0; nothing before the job is finished.
    """
    job = call.state.imports.jobs.get(call.params["import"])
    if job is None or job.directory_id != call.params["directory"]:
        raise import_not_found(call.params["import"])
    start = paging.read_skip_token(call)
    page = SHORT_REPORT_PAGE if "short_report_pages" in call.quirks else REPORT_PAGE
    told = [] if "lagging_report" in call.quirks else job.rows
    entries = [_entry(job, row) for row in islice(told, start, start + page)]
    token = paging.skip_token(start + page) if len(told) > start + page else None
    return Reply({"importReportEntries": entries}, key="results", beside={"skipToken": token})


def _check_contact(contact: object, position: int) -> None:
    # A loop of its own, not a Shape: it runs 10,000 times in a call.
    if not isinstance(contact, dict):
        raise invalid(f"contacts[{position}] must be an object")
    for key, value in contact.items():
        kind = _CONTACT_TYPES.get(key)
        if kind is None:
            raise invalid(f"Unknown key: contacts[{position}].{key}")
        if type(value) is not kind or (isinstance(value, dict) and not are_scalars(value.values())):
            raise invalid(f"contacts[{position}].{key} has a value of a wrong type")
        if key == "language" and not _LANGUAGE.fullmatch(str(value)):
            raise invalid(f"contacts[{position}].{key} is not a language code")


def _is_processed(contact: Mapping[str, Any], fields: frozenset[str]) -> bool:
    """Source: Qualtrics API reference, the page on importing contacts, for transaction data and fields.

    Not documented; chosen: a contact without any field, or with embedded data beyond its lengths, is not either.
    """
    embedded_data = contact.get("embeddedData", {})
    return (
        any(contact.get(name) for name in TEXT_FIELDS)
        and fields.issuperset(contact.get("transactionData", {}))
        and fields.isdisjoint(embedded_data)
        and not embedded_data_complaint(embedded_data)
    )


def _job(call: Call, contacts: dict[str, dict[str, Any]]) -> ImportJob:
    return ImportJob(
        import_id=call.state.ids.new("PGRS"),
        directory_id=call.params["directory"],
        mailing_list_id=call.params["list"],
        contacts=contacts,
        outcome=call.job_outcome,
        looks_needed=call.job_progress.looks,
        seconds_needed=call.job_progress.seconds,
        accepted_at=call.now,
        first_number=int("one_based_report" in call.quirks),
        has_unknown_words="unknown_report_words" in call.quirks,
        names_failures="unnamed_failures" not in call.quirks,
    )


def _find(call: Call) -> ImportJob:
    job = call.state.imports.jobs.get(call.params["import"])
    place = (call.params["directory"], call.params["list"])
    if job is None or (job.directory_id, job.mailing_list_id) != place:
        raise import_not_found(call.params["import"])
    return job


def _entry(job: ImportJob, row: ReportRow) -> JsonObject:
    word, code = (_UNKNOWN_WORDS if job.has_unknown_words else _WORDS)[row.outcome]
    return {
        "sourceIndexId": str(row.position + job.first_number),
        "email": row.email,
        "contactId": row.contact_id,
        "importStatus": word,
        "importStatusCode": code,
        "transactionId": "",
        "transactionStatus": "",
        "transactionStatusCode": "",
        "contactListContactId": row.lookup_id,
        "contactListContactStatus": word,
        "contactListContactStatusCode": code,
    }
