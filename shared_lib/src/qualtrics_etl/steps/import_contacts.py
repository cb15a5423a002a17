"""A batch of rows becomes contacts of the run's mailing list, by one asynchronous import job."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import orjson
from pydantic import Field
from typing_extensions import override

from qualtrics_etl import catalogue
from qualtrics_etl.catalogue import Kind
from qualtrics_etl.errors import (
    EXPIRED,
    ConfigurationError,
    ContentRefusedError,
    OutcomeUnknownError,
    PermanentError,
    RetryableError,
    RowRejectedError,
    RowSkippedError,
)
from qualtrics_etl.formats.batches import Batch, decode_batch, encode_batch, rows_as_mappings
from qualtrics_etl.formats.outcomes import Fate, RowOutcome, decode_outcomes, encode_outcomes
from qualtrics_etl.ledger import PUTS, Entry
from qualtrics_etl.messages import ContactsImported, FileParsed, MailingListCreated, Message
from qualtrics_etl.payloads import checked_key, get_rows, half_key, halves_of, rows_of_batch_key
from qualtrics_etl.qualtrics.contact_imports import Contact
from qualtrics_etl.settings import StepSettings
from qualtrics_etl.steps.base import Delivery
from qualtrics_etl.steps.calling import CallingStep
from qualtrics_etl.steps.contexts import RowContext, RowValues, RunContext
from qualtrics_etl.steps.import_report import REPORT_TRIES, read_report, settle
from qualtrics_etl.steps.outcomes import Ended, Prepared, Started, StillRunning

if TYPE_CHECKING:
    from qualtrics_etl.qualtrics.contact_imports import ImportProgress, ImportStarted, ReportEntry

MAX_PARTS_OF_BATCH = 100
"""A batch that Qualtrics refuses is halved while it was cut into fewer parts than that: enough for three bad rows among
10,000, wherever they stand."""
MAX_PARTS_OF_RUN = 1_000
"""The same for all batches of a run."""
MAX_LOOK_SECONDS = 300


class ImportContactsSettings(StepSettings):
    """What `import_contacts` can be told.

    Attributes:
        look_after_seconds: How long to wait before the first look at a running job; later ones come less and less
            often, at least every five minutes.
        max_wait_seconds: How long a job may run before the message waits in the dead-letter queue.
        report: When an import's own report is read, row by row: when its counts don't say of every row that it came in
            (`failed`), or for each batch (`always`), which may also tell new contacts from known ones.
    """

    look_after_seconds: Annotated[int, Field(ge=1, le=900)] = 10
    max_wait_seconds: Annotated[int, Field(ge=60, le=86400)] = 3600
    report: Literal["failed", "always"] = "failed"


class ImportContacts(CallingStep):
    """Import a batch of rows into the run's mailing list.

    The call starts a job; the message then looks again until the job has ended. Repeated only where the directory
    de-duplicates, so that a second import updates the same contacts.
    """

    kind: ClassVar[Kind] = catalogue.IMPORT_CONTACTS
    Settings = ImportContactsSettings
    may_repeat: ClassVar[bool] = True

    def keep_row(self, row: RowValues, *, context: RowContext) -> bool:
        """Answer whether a row becomes a contact; a row that does not is counted as skipped.

        Called once for each good row, in file order, before `build_contact`. The default keeps every row.

        Raises:
            RowSkippedError: As False, with a reason for the receipt. `build_contact` may raise it too.
        """
        return True

    def build_contact(self, row: RowValues, *, context: RowContext) -> Contact:
        """Make the contact of a row: who it is in the directory, and what the survey may know of them.

        Called once for each row that is kept, in file order. The default takes the columns email, first_name,
        last_name, phone, ext_ref and language as what they are called, and every other column as embedded data,
        leaving blank cells out; a client with other columns says here which is which.

        Args:
            row: What `parse_file` made of the line, by field.

        Raises:
            RowRejectedError: Nothing can be made of this row: it goes to the reject file, with the reason.
        """
        return _contact_of(row)

    @override
    def _prepare(self, message: Message, key: str) -> Prepared:
        from qualtrics_etl.qualtrics import contact_imports

        batch = self._batch(message)
        contacts, rows = self._plan(batch, self._context(message))
        plan = encode_outcomes(rows)
        if not contacts:
            return Prepared(None, fact=_fact("", rows), rows=plan)
        try:
            body = contact_imports.build_import_body(contacts)
        except PermanentError as error:
            if len(contacts) > 1:
                return Prepared(None, halves=self._halve(message, batch))
            rows = _rejecting_sent(rows, error.what)
            return Prepared(None, fact=_fact("", rows), rows=encode_outcomes(rows))
        return Prepared(body, {"sent": len(contacts)}, rows=plan)

    def _plan(self, batch: Batch, run: RunContext) -> tuple[list[Contact], list[RowOutcome]]:
        """Return the contacts in the order in which they are sent, and of each row whether it is one of them."""
        contacts: list[Contact] = []
        rows: list[RowOutcome] = []
        for line, row in rows_as_mappings(batch):
            try:
                contact = self._contact(row, RowContext(run, line))
            except RowRejectedError as error:
                rows.append(RowOutcome(line, Fate.REJECTED, error.field or "", error.what))
            except RowSkippedError as error:
                rows.append(RowOutcome(line, Fate.SKIPPED, error.field or "", error.what))
            else:
                rows.append(RowOutcome(line, Fate.SENT))
                contacts.append(contact)
        return contacts, rows

    @override
    def _call(self, body: bytes, key: str, message: Message, notes: Mapping[str, int]) -> Started:
        from qualtrics_etl.qualtrics import contact_imports

        started = contact_imports.start(self._client_for(message), self._directory_id, _list_of(message), body)
        if started.unprocessed:
            self._keep_unprocessed(message, started)
        unprocessed = {"unprocessed": len(started.unprocessed)}
        return Started(started.import_id, self.settings.look_after_seconds, notes=unprocessed)

    def _keep_unprocessed(self, message: Message, started: ImportStarted) -> None:
        """Keep what was refused at once: addresses may be among it, so it lies with the personal data.

        The import runs already: where the store fails, its id matters more. What was refused is then told by the
        report, or its rows are pending.
        """
        key = self._kept_at(message, started.import_id, "unprocessed")
        for _ in range(PUTS):
            try:
                self._wiring.objects.put(key, orjson.dumps(started.unprocessed))
            except RetryableError as error:
                self._log(logging.WARNING, "unprocessed_not_kept", message, error=str(error))
            else:
                return

    def _unprocessed(self, message: Message, entry: Entry) -> list[int | str]:
        count = entry.notes["unprocessed"]
        found = self._wiring.objects.get(self._kept_at(message, entry.job_id or "", "unprocessed")) if count else None
        named: list[int | str] = orjson.loads(found.body) if found else [""] * count
        return named

    def _kept_at(self, message: Message, job_id: str, what: str) -> str:
        return f"payloads/{message.run}/{self._wiring.service}/jobs/{message.batch}-{job_id}/{what}"

    @override
    def _look(self, job_id: str, message: Message, entry: Entry, delivery: Delivery) -> Ended | StillRunning:
        from qualtrics_etl.qualtrics import contact_imports, import_verdicts

        sent, unprocessed = entry.notes["sent"], entry.notes["unprocessed"]
        progress = contact_imports.look(
            self._client_for(message),
            self._directory_id,
            _list_of(message),
            job_id,
            contacts_sent=sent - unprocessed,
        )
        if not progress.is_complete:
            return StillRunning(self._next_look_seconds(message.looks))
        counts = {"sent": sent, "unprocessed": unprocessed}
        if self.settings.report == "failed" and import_verdicts.is_plain(progress, **counts):
            rows = settle(self._rows(entry), import_verdicts.all_in(progress, sent), progress)
            return Ended(_fact(job_id, rows, progress), rows=encode_outcomes(rows))
        entries, trouble = self._read_report(job_id, message, entry, delivery)
        contacts = orjson.loads(self._request_body(entry))["contacts"]
        judgement = import_verdicts.judge(contacts, progress, self._unprocessed(message, entry), entries)
        tries = entry.notes.get("report_tries", 0) + 1
        if not judgement.is_settled and tries < REPORT_TRIES:
            return StillRunning(self._next_look_seconds(tries), notes={"report_tries": tries})
        rows = settle(self._rows(entry), judgement.verdicts, progress, trouble)
        return Ended(_fact(job_id, rows, progress), rows=encode_outcomes(rows))

    def _read_report(
        self, job_id: str, message: Message, entry: Entry, delivery: Delivery
    ) -> tuple[list[ReportEntry], str]:
        from qualtrics_etl.qualtrics import contact_imports

        client = self._client_for(message)
        return read_report(
            self._wiring.objects,
            # Each try reads anew: what lagged behind is another report later.
            self._kept_at(message, job_id, f"report-{entry.notes.get('report_tries', 0)}/"),
            lambda token: contact_imports.read_report_page(client, self._directory_id, job_id, token),
            lambda: self._check_deadline(delivery),
        )

    def _rows(self, entry: Entry) -> list[RowOutcome]:
        assert entry.rows_key is not None
        return decode_outcomes(get_rows(self._wiring.objects, entry.rows_key))

    @override
    def _after_refusal(self, error: ContentRefusedError, message: Message, entry: Entry) -> Ended:
        """Look for the row that is at fault, by halves; a row that is refused alone is rejected.

        Raises:
            PermanentError: So many parts were refused that it is no single row.
        """
        rows = self._rows(entry)
        if entry.notes["sent"] == 1:
            rows = _rejecting_sent(rows, f"Qualtrics refused it: {error.what.partition(': ')[2]}")
            return Ended(_fact("", rows), rows=encode_outcomes(rows))
        self._check_halvings(error, message)
        return self._split(message, self._halve(message, self._batch(message)), "Qualtrics refused it as a whole")

    def _check_halvings(self, error: ContentRefusedError, message: Message) -> None:
        """Let a wrong setting, by which everything is refused, not become a call a row.

        The parts are counted that were cut so far, tried or not. What is cut already may be tried: an earlier attempt
        at this batch cut it, or another service that imports it.
        """
        whole, here = message.batch.partition(".")[0], half_key(message.run, "")
        parts = {summary.key.removeprefix(here) for summary in self._wiring.objects.list(here)}
        of_batch = sum(part.startswith(f"{whole}.") for part in parts)
        is_much = of_batch >= MAX_PARTS_OF_BATCH or len(parts) >= MAX_PARTS_OF_RUN
        if is_much and halves_of(message.batch)[1] not in parts:
            raise PermanentError(
                f"{error.what} Batch {whole} was halved into {of_batch} parts already, and those of the run into"
                f" {len(parts)}: it is not some single row.",
                remedy="If a setting or build_contact is at fault, mend it, deploy, and send the message back. If many"
                " rows are, have the client correct the file, then give this batch up (make waive).",
                request_id=error.request_id,
            )

    def _next_look_seconds(self, looks: int) -> float:
        """Look less and less often: the jobs of a list run one after the other, and every batch's message looks."""
        return min(MAX_LOOK_SECONDS, self.settings.look_after_seconds * 1.5 ** min(looks, 20))

    @override
    def _check_repeatable(self, message: Message) -> None:
        from qualtrics_etl.qualtrics import directories

        if not directories.find_directory(self._client_for(message), self._directory_id).deduplicates:
            raise OutcomeUnknownError(
                f"Whether batch {message.batch} was imported is unknown, and directory {self._directory_id} does not"
                " de-duplicate: importing it again could make every contact twice.",
                remedy="Look into the mailing list. When the batch is missing, send the message back; when it is there,"
                " switch de-duplication on in the directory's settings first: the repeat then changes nothing.",
            )

    @property
    def settings(self) -> ImportContactsSettings:
        """What the service was told."""
        assert isinstance(self._checked_settings, ImportContactsSettings)
        return self._checked_settings

    @property
    @override
    def _patience_seconds(self) -> float:
        return self.settings.max_wait_seconds

    @property
    def _directory_id(self) -> str:
        return self._wiring.config.qualtrics.directory_id

    def _batch(self, message: Message) -> Batch:
        key = rows_of_batch_key(message.fact(FileParsed).batches_at, message.run, message.batch)
        key = checked_key(key, below=f"payloads/{message.run}/")
        found = self._wiring.objects.get(key)
        if found is None:
            raise PermanentError(
                f"Batch {message.batch} of run {message.run} is not in the store.",
                remedy=EXPIRED,
            )
        return decode_batch(found.body)

    def _halve(self, message: Message, batch: Batch) -> tuple[str, str]:
        """Store the rows of a batch as two; return the names of these."""
        rows, middle = batch.rows(), batch.row_count // 2
        names = halves_of(message.batch)
        for name, part in zip(names, (slice(middle), slice(middle, None)), strict=True):
            half = replace(batch, pieces=(orjson.dumps(rows[part])[1:-1],), lines=batch.lines[part])
            self._wiring.objects.put(half_key(message.run, name), encode_batch(half))
        return names

    def _contact(self, row: RowValues, context: RowContext) -> Contact:
        if not self._kept("keep_row", self.keep_row(row, context=context)):
            raise RowSkippedError("keep_row left it out.")
        contact: object = self.build_contact(row, context=context)
        if not isinstance(contact, Contact):
            raise ConfigurationError(
                f"{self._hook_name('build_contact')} returned a {type(contact).__name__} for line {context.line}.",
                remedy="Return a Contact, or raise RowRejectedError; to leave a row out, override keep_row.",
            )
        return contact


def _list_of(message: Message) -> str:
    return message.fact(MailingListCreated).mailing_list_id


def _fact(import_id: str, rows: Sequence[RowOutcome], progress: ImportProgress | None = None) -> ContactsImported:
    """Count what became of the rows; where they don't tell new contacts from known ones, Qualtrics' counts do."""
    count = Counter(row.fate for row in rows)
    loaded, updated = count[Fate.LOADED], count[Fate.UPDATED]
    if progress is not None and any(row.fate is Fate.LOADED and row.reason for row in rows):
        came_in = loaded + updated
        updated = min(progress.updated, came_in)
        loaded = came_in - updated
    return ContactsImported(import_id, loaded, updated, count[Fate.SKIPPED], count[Fate.REJECTED], count[Fate.PENDING])


def _rejecting_sent(rows: Sequence[RowOutcome], reason: str) -> list[RowOutcome]:
    return [replace(row, fate=Fate.REJECTED, reason=reason) if row.fate is Fate.SENT else row for row in rows]


_FIELDS = ("email", "first_name", "last_name", "phone", "ext_ref", "language")
_BLANK = (None, "")  # a blank cell says nothing of a person, and must not overwrite what the directory knows


def _contact_of(row: RowValues) -> Contact:
    known = {name: row[name] for name in _FIELDS if row.get(name) not in _BLANK}
    if "email" not in known:
        raise RowRejectedError("There is no e-mail address.", field="email")
    embedded = {name: value for name, value in row.items() if name not in _FIELDS and value not in _BLANK}
    return Contact(**known, embedded_data=embedded)
