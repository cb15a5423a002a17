"""Bulk imports of contacts into a mailing list: a job that is started, looked at again, and reported row by row."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from qualtrics_etl.errors import PermanentError, RowRejectedError
from qualtrics_etl.qualtrics.envelope import Record
from qualtrics_etl.qualtrics.http import Client
from qualtrics_etl.qualtrics.registry import (
    LOOK_AT_CONTACT_IMPORT,
    MAX_BODY_BYTES,
    REPORT_CONTACT_IMPORT,
    START_CONTACT_IMPORT,
)

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_CONTACTS",
    "Contact",
    "ImportProgress",
    "ImportStarted",
    "ReportEntry",
    "ReportPage",
    "build_import_body",
    "look",
    "plain_word",
    "read_report_page",
    "start",
]

MAX_CONTACTS = 10_000
"""In one import. Source: Qualtrics API reference, page on importing contacts."""

MAX_EMAIL_LENGTH = 254
"""Of an address that mail can be sent to (RFC 5321)."""

MAX_TEXT_LENGTH = 1_024
"""Of a name, a telephone number, a reference. The reference names no limit for these; this is embedded data's."""

MAX_EMBEDDED_NAME_LENGTH = 200
"""Source: Qualtrics support page on adding directory contacts."""

MAX_EMBEDDED_VALUE_LENGTH = 1_024
"""Source: Qualtrics support page on adding directory contacts."""

_LARGEST_SAFE_NUMBER = 2**53 - 1
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_NOT_A_LETTER = re.compile(r"[^a-z]")
_PARTS = re.compile(r"[@.]")
# Tab and line ends may stand in a text; what turns the direction of text shows a reader of the mail something else.
_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
_LOOK_ALIKE = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "FULLWIDTH", "MATHEMATICAL"})
_COMPLETE = frozenset({"complete", "completed", "done", "success", "succeeded"})
_FAILED = frozenset({"failed", "failure", "error", "errored", "cancelled", "canceled", "aborted", "timedout"})
_RUNNING = frozenset({"inprogress", "pending", "queued", "running", "waiting", "processing", "started"})

_CHECK = "qualtrics.directory_id in config/<stage>.yml and the mailing list of the run"

EmbeddedValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Contact:
    """One contact as Qualtrics takes it. What is None is left out; nothing of it is shown in a repr.

    Attributes:
        email: Address; the API judges whether it can be mailed.
        first_name: Up to 1,024 characters, as the texts below.
        last_name: See `first_name`.
        phone: As the client writes it.
        ext_ref: The client's own reference, as a customer number.
        language: A language code of Qualtrics, as `DE`.
        unsubscribed: True for somebody who must not be mailed.
        embedded_data: Further columns; names up to 200 characters, texts up to 1,024; never None.

    Raises:
        RowRejectedError: A field can't be sent; names the field, not its content.

    Source: Qualtrics API reference, page on importing contacts (the fields a contact may have).
    """

    email: str = field(repr=False)
    first_name: str | None = field(default=None, repr=False)
    last_name: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    ext_ref: str | None = field(default=None, repr=False)
    language: str | None = None
    unsubscribed: bool | None = None
    embedded_data: Mapping[str, EmbeddedValue] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        # A file has a million of these: what is usual passes on one look, the reasons are sought only for the rest.
        email = self.email
        if email.__class__ is not str or len(email) > MAX_EMAIL_LENGTH or not _EMAIL.fullmatch(email):
            raise _rejected("email", "is not an e-mail address")
        for text in (email, self.first_name, self.last_name, self.phone, self.ext_ref, self.language):
            if text is not None and not (
                text.__class__ is str and len(text) <= MAX_TEXT_LENGTH and text.isascii() and text.isprintable()
            ):
                _check_texts(self)
        if not (email.isascii() and email.isprintable()):
            _check_address(email)
        if self.unsubscribed is not None and self.unsubscribed.__class__ is not bool:
            raise _rejected("unsubscribed", "is neither True nor False")
        for name, value in self.embedded_data.items():
            if not (
                value.__class__ is str
                and len(value) <= MAX_EMBEDDED_VALUE_LENGTH
                and value.isascii()
                and value.isprintable()
                and name.__class__ is str
                and 0 < len(name) <= MAX_EMBEDDED_NAME_LENGTH
                and name.isascii()
                and name.isprintable()
            ):
                _check_embedded(name, value)


def _check_texts(contact: Contact) -> None:
    for name in ("email", "first_name", "last_name", "phone", "ext_ref", "language"):
        value: object = getattr(contact, name)
        if value is not None:
            _check_text(name, value, MAX_TEXT_LENGTH)


def _check_text(name: str, value: object, longest: int) -> None:
    if type(value) is not str:
        raise _rejected(name, f"is of type {type(value).__name__}, not a text")
    if len(value) > longest:
        raise _rejected(name, f"has {len(value):,} characters, more than {longest:,}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _rejected(name, "holds what is not a character") from None
    if found := _CONTROL.search(value):
        raise _rejected(name, f"holds the control character U+{ord(found[0]):04X}")


def _check_address(email: str) -> None:
    """Refuse an address that is not what it seems: invisible characters, or letters of an alphabet that mimics ours."""
    for character in email:
        if not character.isprintable():
            raise _rejected("email", f"holds the invisible character U+{ord(character):04X}")
    for part in _PARTS.split(email):
        alphabets = {unicodedata.name(letter, "").partition(" ")[0] for letter in part if letter.isalpha()}
        if len(alphabets & _LOOK_ALIKE) > 1:
            raise _rejected("email", f"mixes letters of {' and '.join(sorted(alphabets & _LOOK_ALIKE))} in one word")


def _check_embedded(name: object, value: object) -> None:
    _check_text("embedded_data", name, MAX_EMBEDDED_NAME_LENGTH)
    where = f"embedded_data.{name}"
    if not name:
        raise _rejected("embedded_data", "has a value without a name")
    if type(value) is str:
        _check_text(where, value, MAX_EMBEDDED_VALUE_LENGTH)
    elif type(value) not in (int, float, bool):
        raise _rejected(where, f"is of type {type(value).__name__}: texts, numbers and booleans can be sent")
    elif isinstance(value, int | float) and not abs(value) <= _LARGEST_SAFE_NUMBER:
        raise _rejected(where, "is not a number that arrives as it is: send it as a text")


def _rejected(name: str, why: str) -> RowRejectedError:
    return RowRejectedError(f"{name} {why}.", field=name)


@dataclass(frozen=True, slots=True)
class ImportStarted:
    """An import job that Qualtrics has taken on.

    Attributes:
        import_id: `PGRS_...`.
        unprocessed: What it refused at once: positions in what was sent, or texts; which of the two is not documented.
            Empty text where it names one in yet another way. May hold addresses, so it is not shown.
    """

    import_id: str
    unprocessed: tuple[int | str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far a job is.

    Attributes:
        percent_complete: 0 to 100.
        status: In Qualtrics' words; no list of them is documented.
        added: Contacts that are new to the directory.
        updated: Contacts that the directory knew and merged.
        failed: Contacts that were refused.
        invalid_emails: Addresses that it says are none, where it says so.
        is_complete: Nothing more will happen, and something has been done.
    """

    percent_complete: float
    status: str
    added: int
    updated: int
    failed: int
    is_complete: bool
    invalid_emails: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ReportEntry:
    """What became of one contact of an import.

    Attributes:
        position: Where it stood in what was sent, as Qualtrics counts; None where that is not a number.
        email: Its address.
        contact_id: `CID_...`; None where it was refused.
        import_status: In Qualtrics' words.
        import_status_code: Its code, in Qualtrics' words.
        mailing_list_contact_id: `CGC_...`; None where it is not in the list.
        mailing_list_status: In Qualtrics' words.
    """

    position: int | None
    email: str = field(repr=False)
    contact_id: str | None
    import_status: str
    import_status_code: str
    mailing_list_contact_id: str | None
    mailing_list_status: str


@dataclass(frozen=True, slots=True)
class ReportPage:
    """A part of a report.

    Attributes:
        next_token: What asks for the next part; empty on the last one.
    """

    entries: tuple[ReportEntry, ...]
    next_token: str = ""


def build_import_body(contacts: Iterable[Contact]) -> bytes:
    """Build the request that imports contacts, in their order; the same contacts give the same bytes.

    Raises:
        PermanentError: There are more than `MAX_CONTACTS`, or the bytes are more than `MAX_BODY_BYTES`.

    Source: Qualtrics API reference, page on importing contacts (null is not a value: what is missing is left out).
    """
    objects = [_as_sent(contact) for contact in contacts]
    if len(objects) > MAX_CONTACTS:
        raise _too_large(f"{len(objects):,} contacts", f"{MAX_CONTACTS:,}")
    body = orjson.dumps({"contacts": objects})
    if len(body) > MAX_BODY_BYTES:
        raise _too_large(f"{len(body):,} bytes", f"{MAX_BODY_BYTES:,}")
    return body


def _as_sent(contact: Contact) -> dict[str, object]:
    sent: dict[str, object] = {"email": contact.email}
    if contact.first_name is not None:
        sent["firstName"] = contact.first_name
    if contact.last_name is not None:
        sent["lastName"] = contact.last_name
    if contact.phone is not None:
        sent["phone"] = contact.phone
    if contact.ext_ref is not None:
        sent["extRef"] = contact.ext_ref
    if contact.language is not None:
        sent["language"] = contact.language
    if contact.unsubscribed is not None:
        sent["unsubscribed"] = contact.unsubscribed
    if contact.embedded_data:
        embedded = contact.embedded_data
        sent["embeddedData"] = embedded if embedded.__class__ is dict else dict(embedded)
    return sent


def _too_large(is_now: str, may_be: str) -> PermanentError:
    what = f"An import of {is_now} is more than Qualtrics takes ({may_be})."
    return PermanentError(what, remedy="Lower rows_per_batch of parse_file in workflow.yml.")


def start(client: Client, directory_id: str, mailing_list_id: str, body: bytes) -> ImportStarted:
    """Start an import. A repeat merges the same contacts where the directory de-duplicates, else doubles them.

    Raises:
        QualtricsEtlError: What `Client.call` raises; a RetryableError too where the answer has no id.

    Source: Qualtrics API reference, page on importing contacts.
    """
    ids = {"directory_id": directory_id, "mailing_list_id": mailing_list_id}
    result = client.call(START_CONTACT_IMPORT, ids, body=body, check=_CHECK).result
    contacts = result.record("contacts")
    refused = contacts.items("unprocessed") if contacts.content.get("unprocessed") else []
    return ImportStarted(result.identifier("id"), tuple(map(_read_refused, refused)))


def _read_refused(item: object) -> int | str:
    if isinstance(item, int) and not isinstance(item, bool):
        return item
    if isinstance(item, str):
        return int(item) if item.isascii() and item.isdigit() and len(item) < 9 else item
    return ""


def look(
    client: Client, directory_id: str, mailing_list_id: str, import_id: str, *, contacts_sent: int
) -> ImportProgress:
    """Look how far an import is.

    Args:
        contacts_sent: How many were sent and not refused at once; with 0 a job that did nothing is fine.

    Raises:
        PermanentError: The job failed, or ended without doing anything.
        QualtricsEtlError: What `Client.call` raises besides.

    Source: Qualtrics API reference, page on the progress of contact imports.
    Observed: 2025-2026, clients end at 100 percent; 100 percent with 0/0/0 is a directory or list that does not exist.
    """
    ids = {"directory_id": directory_id, "mailing_list_id": mailing_list_id, "import_id": import_id}
    result = client.call(LOOK_AT_CONTACT_IMPORT, ids, check=_CHECK).result
    status = result.text_or_none("status") or ""
    if plain_word(status) in _FAILED:
        raise _ended_badly(client, result, f"import {import_id} has failed (status {status[:40]!r})")
    progress = _read_progress(result, status)
    if progress.is_complete and contacts_sent > 0 and not progress.added + progress.updated + progress.failed:
        raise _ended_badly(client, result, f"import {import_id} ended, but none of {contacts_sent:,} contacts came in")
    return progress


def _read_progress(result: Record, status: str) -> ImportProgress:
    counts = result.record("contacts").record("count")
    added, updated, failed = (counts.count(name) for name in ("added", "updated", "failed"))
    percent = result.number("percentComplete")
    # 100 percent ends a job, save one that says that it is running and has nothing to show for it yet.
    at_the_end = percent >= 100 and (plain_word(status) not in _RUNNING or added + updated + failed > 0)
    invalid = result.content.get("invalidEmails")
    return ImportProgress(
        percent,
        status,
        added,
        updated,
        failed,
        plain_word(status) in _COMPLETE or at_the_end,
        tuple(each for each in invalid if isinstance(each, str)) if isinstance(invalid, list) else (),
    )


def plain_word(status: str) -> str:
    """Reduce a status to its letters: `in progress`, `inProgress` and `IN_PROGRESS` are one."""
    return _NOT_A_LETTER.sub("", status.casefold())


def _ended_badly(client: Client, result: Record, why: str) -> PermanentError:
    check = _CHECK.replace("<stage>", client.stage)
    remedy = f"Check {check}: Qualtrics does not complain of ids that do not exist."
    return PermanentError(f"{result.where}: {why}.", remedy=remedy, request_id=result.request_id)


def read_report_page(client: Client, directory_id: str, import_id: str, token: str = "") -> ReportPage:
    """Read a page of what became of each contact.

    Args:
        token: As the page before gave it; empty for the first page.

    Raises:
        QualtricsEtlError: What `Client.call` raises; a RetryableError too where the page names itself as the next.

    Source: Qualtrics API reference, page on the report of a contact import job (its answer says `results`).
    """
    ids = {"directory_id": directory_id, "import_id": import_id}
    query = {"skipToken": token} if token else {}
    answer = client.call(REPORT_CONTACT_IMPORT, ids, query=query, check=_CHECK)
    entries = tuple(map(_read_entry, answer.result.records("importReportEntries")))
    following = answer.document.text_or_none("skipToken") or answer.result.text_or_none("skipToken") or ""
    if following and following == token:
        raise answer.result.malformed("leads in a circle: a page names itself as its next")
    return ReportPage(entries, following)


def _read_entry(entry: Record) -> ReportEntry:
    position = entry.text_or_none("sourceIndexId") or ""
    return ReportEntry(
        position=int(position) if position.isascii() and position.isdigit() and len(position) < 9 else None,
        email=entry.text_or_none("email") or "",
        contact_id=entry.text_or_none("contactId") or None,
        import_status=entry.text_or_none("importStatus") or "",
        import_status_code=entry.text_or_none("importStatusCode") or "",
        mailing_list_contact_id=entry.text_or_none("contactListContactId") or None,
        mailing_list_status=entry.text_or_none("contactListContactStatus") or "",
    )
