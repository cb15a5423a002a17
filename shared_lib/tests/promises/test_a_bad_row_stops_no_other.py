"""A row that can't be used is put aside with line, field and reason; every other row goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import StringConstraints
from typing_extensions import override

from qualtrics_etl import Contact, ImportContacts, ParseFile, Row, RowContext, RowRejectedError, RowValues
from qualtrics_etl.messages import ContactsImported, Message

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place

REJECTS = "rejects/acme-etl-0123456789ab"
FILE = b"""email,branch
p0@client.example,North
no address,North
p1@client.example,South,one too many
p2@client.example,closed
p3@client.example,refused
p4@client.example,left out
"""


class CrmRow(Row):
    """A row of the client's file."""

    email: Annotated[str, StringConstraints(pattern=r"^[^@ ]+@[^@ ]+$")]
    branch: str


class ParseCrm(ParseFile):
    """Closed branches are put aside."""

    row_model = CrmRow

    @override
    def validate_row(self, row: RowValues, *, context: RowContext) -> None:
        if row["branch"] == "closed":
            raise RowRejectedError("This branch is closed.", field="branch")


class ImportCrm(ImportContacts):
    """One row is refused, one left out."""

    @override
    def keep_row(self, row: RowValues, *, context: RowContext) -> bool:
        return row["branch"] != "left out"

    @override
    def build_contact(self, row: RowValues, *, context: RowContext) -> Contact:
        if row["branch"] == "refused":
            raise RowRejectedError(f"Nobody of line {context.line} is invited.", field="branch")
        return Contact(email=row["email"])


def test_each_row_has_one_outcome(place: Place) -> None:
    """Good rows are loaded; those that parser, check and hook refuse are in the reject files, each once."""
    place.use(parse_file={"settings": {"max_reject_ratio": 0.5}})
    place.steps |= {"parse_file": ParseCrm, "import_contacts": ImportCrm}
    place.begin(FILE)
    place.run()
    assert place.members() == ["p0@client.example"]
    assert place.text(f"{REJECTS}/parse_file/00000.csv").splitlines() == [
        "line,field,reason,raw",
        '3,email,does not match the pattern ^[^@ ]+@[^@ ]+$,"no address,North"',
        '4,,"has 3 cells, the header has 2","p1@client.example,South,one too many"',
        '5,branch,This branch is closed.,"p2@client.example,closed"',
    ]
    assert place.text(f"{REJECTS}/import_contacts/00000.csv").splitlines() == [
        "line,field,reason,raw",
        "6,branch,Nobody of line 6 is invited.,",
    ]
    entry = place.entry("import_contacts", "00000")
    assert entry is not None
    assert (entry.notes, entry.fact) == (
        {"sent": 1, "unprocessed": 0},
        ContactsImported(entry.job_id or "", 1, 0, 1, 1, 0),
    )


class ImportEverything(ImportContacts):
    """What is deployed between two attempts: it refuses other rows."""

    @override
    def keep_row(self, row: RowValues, *, context: RowContext) -> bool:
        raise RowRejectedError("Nobody is invited any more.")


def test_reject_file_is_that_of_the_request_that_was_sent(place: Place) -> None:
    """Rejects of an attempt whose request was not the one that is sent are published nowhere."""
    place.use(parse_file={"settings": {"max_reject_ratio": 0.5}})
    place.steps |= {"parse_file": ParseCrm, "import_contacts": ImportCrm}
    place.fault("throttle", path="*/transactioncontacts")
    place.begin(FILE)
    place.run(until=lambda: place.calls("POST /transactioncontacts") == 1)
    place.steps["import_contacts"] = ImportEverything
    (deferred,) = place.waiting("import_contacts")
    place.send(place.message("import_contacts", *Message.decode(deferred.body).context, batch="00000"))
    place.run()
    assert place.text(f"{REJECTS}/import_contacts/00000.csv").splitlines()[1:] == [
        "6,branch,Nobody of line 6 is invited.,"
    ]
    assert place.members() == ["p0@client.example"]


def test_batch_of_nothing_but_bad_rows_stops_nothing(place: Place) -> None:
    """A batch without good rows is done without a call, and the invitation does not wait for it."""
    place.use(parse_file={"settings": {"rows_per_batch": 1, "max_reject_ratio": 1.0}})
    place.steps["parse_file"] = ParseCrm
    place.begin(b"email,branch\nno address,North\np0@client.example,North\nno address,South\n")
    place.run()
    assert (place.members(), place.scheduled()) == (["p0@client.example"], ["Invite", "Reminder"])
    assert place.calls("POST /transactioncontacts") == 1


def test_file_of_nothing_but_bad_rows_calls_nothing(place: Place) -> None:
    """Where all rows are rejected, and that is allowed, the run ends without a word to Qualtrics."""
    place.use(parse_file={"settings": {"max_reject_ratio": 1.0}})
    place.steps["parse_file"] = ParseCrm
    place.begin(b"email,branch\nno address,North\n")
    place.run()
    reminder = place.entry("schedule_reminder")
    assert reminder is not None
    assert (place.transport.sent, reminder.skipped) == ([], "The file has no good rows.")


def test_file_without_rows_calls_nothing(place: Place) -> None:
    """A file of a header alone goes through all services and reaches Qualtrics with none."""
    place.begin(b"email,branch\n")
    place.run()
    assert (place.transport.sent, place.entry("schedule_reminder") is not None) == ([], True)


def test_wholly_wrong_file_stops_before_qualtrics(place: Place) -> None:
    """A file of which too much is rejected goes no further, and says where the reasons are."""
    place.steps["parse_file"] = ParseCrm
    place.begin(FILE)
    place.run()
    assert place.transport.sent == []
    assert place.cause("parse_file") == (
        "contacts.csv: 3 of 6 rows were rejected, more than max_reject_ratio (20%) allows; nothing of it was sent to"
        " Qualtrics. Look at the reasons (make receipt; in the bucket, rejects/acme-etl-0123456789ab/parse_file/). Then"
        " mend delimiter, encoding, columns or the row model and send the message back, or"
        " ask the client for a corrected file."
    )


def test_mended_setting_cuts_the_file_anew(place: Place) -> None:
    """Sent back after the row model was mended, the file is cut anew, apart from what was cut before."""
    place.steps["parse_file"] = ParseCrm
    place.begin(FILE)
    place.run()
    del place.steps["parse_file"]
    place.redrive("parse_file")
    place.run()
    parsed = place.entry("parse_file")
    assert parsed is not None
    assert parsed.generation == 1
    assert place.keys("payloads/acme-etl-0123456789ab/parse_file/1/batches/") == [
        "payloads/acme-etl-0123456789ab/parse_file/1/batches/00000"
    ]
    assert place.members() == [f"p{n}@client.example" for n in (0, 2, 3, 4)]
