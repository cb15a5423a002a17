"""A batch of rows becomes contacts of the run's mailing list, by one asynchronous import job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar

import orjson
from pydantic import Field
from typing_extensions import override

from qualtrics_etl import catalogue
from qualtrics_etl.catalogue import Kind
from qualtrics_etl.errors import EXPIRED, ConfigurationError, OutcomeUnknownError, PermanentError, RowRejectedError
from qualtrics_etl.formats.batches import (
    Batch,
    Reject,
    decode_batch,
    encode_batch,
    encode_rejects,
    rows_as_mappings,
)
from qualtrics_etl.messages import ContactsImported, FileParsed, MailingListCreated, Message
from qualtrics_etl.payloads import checked_key, half_key
from qualtrics_etl.qualtrics.contact_imports import Contact
from qualtrics_etl.settings import StepSettings
from qualtrics_etl.steps.calling import CallingStep
from qualtrics_etl.steps.contexts import RowContext, RowValues
from qualtrics_etl.steps.outbox import halves_of
from qualtrics_etl.steps.outcomes import Prepared, Started, StillRunning

MAX_LOOK_SECONDS = 300


class ImportContactsSettings(StepSettings):
    """What `import_contacts` can be told.

    Attributes:
        look_after_seconds: How long to wait before the first look at a running job; later ones come less and less
            often, at least every five minutes.
        max_wait_seconds: How long a job may run before the message waits in the dead-letter queue.
    """

    look_after_seconds: Annotated[int, Field(ge=1, le=900)] = 10
    max_wait_seconds: Annotated[int, Field(ge=60, le=86400)] = 3600


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

        batch, run = self._batch(message), self._context(message)
        contacts: list[Contact] = []
        rejects: list[Reject] = []
        for line, row in rows_as_mappings(batch):
            try:
                if (contact := self._contact(row, RowContext(run, line))) is not None:
                    contacts.append(contact)
            except RowRejectedError as error:
                rejects.append(Reject(line, error.field, error.what, ""))
        skipped = batch.row_count - len(contacts) - len(rejects)
        notes = {"sent": len(contacts), "skipped": skipped, "rejected": len(rejects)}
        reject_file = encode_rejects(rejects) if rejects else b""
        if not contacts:
            return Prepared(None, notes, _fact("", notes, added=0, updated=0, failed=0), reject_file)
        try:
            return Prepared(contact_imports.build_import_body(contacts), notes, rejects=reject_file)
        except PermanentError:
            if batch.row_count < 2:
                raise
            return Prepared(None, halves=self._halve(message, batch))

    @override
    def _call(self, body: bytes, key: str, message: Message, notes: Mapping[str, int]) -> Started:
        from qualtrics_etl.qualtrics import contact_imports

        started = contact_imports.start(self._client_for(message), self._directory_id, _list_of(message), body)
        return Started(
            started.import_id, self.settings.look_after_seconds, notes={"unprocessed": len(started.unprocessed)}
        )

    @override
    def _look(self, job_id: str, message: Message, notes: Mapping[str, int]) -> ContactsImported | StillRunning:
        from qualtrics_etl.qualtrics import contact_imports

        expected = notes["sent"] - notes["unprocessed"]
        progress = contact_imports.look(
            self._client_for(message), self._directory_id, _list_of(message), job_id, contacts_sent=expected
        )
        if not progress.is_complete:
            return StillRunning(self._next_look_seconds(message.looks))
        # Whether `failed` counts the rows that were refused at once is not documented: where the sum leaves room
        # for them, it does not.
        failed = progress.failed
        if progress.added + progress.updated + failed + notes["unprocessed"] <= notes["sent"]:
            failed += notes["unprocessed"]
        return _fact(job_id, notes, added=progress.added, updated=progress.updated, failed=failed)

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
        is_derived = "." in message.batch
        whole = f"{message.fact(FileParsed).batches_at}/{message.batch}"
        key = half_key(message.run, message.batch) if is_derived else whole
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

    def _contact(self, row: RowValues, context: RowContext) -> Contact | None:
        if not self._kept("keep_row", self.keep_row(row, context=context)):
            return None
        contact: object = self.build_contact(row, context=context)
        if not isinstance(contact, Contact):
            raise ConfigurationError(
                f"{self._hook_name('build_contact')} returned a {type(contact).__name__} for line {context.line}.",
                remedy="Return a Contact, or raise RowRejectedError; to leave a row out, override keep_row.",
            )
        return contact


def _list_of(message: Message) -> str:
    return message.fact(MailingListCreated).mailing_list_id


def _fact(import_id: str, notes: Mapping[str, int], *, added: int, updated: int, failed: int) -> ContactsImported:
    return ContactsImported(
        import_id=import_id,
        added=added,
        updated=updated,
        failed=failed,
        pending=max(0, notes["sent"] - added - updated - failed),
        rejected=notes["rejected"],
        skipped=notes["skipped"],
    )


_FIELDS = ("email", "first_name", "last_name", "phone", "ext_ref", "language")
_BLANK = (None, "")  # a blank cell says nothing of a person, and must not overwrite what the directory knows


def _contact_of(row: RowValues) -> Contact:
    known = {name: row[name] for name in _FIELDS if row.get(name) not in _BLANK}
    if "email" not in known:
        raise RowRejectedError("There is no e-mail address.", field="email")
    embedded = {name: value for name, value in row.items() if name not in _FIELDS and value not in _BLANK}
    return Contact(**known, embedded_data=embedded)
