"""A batch becomes contacts by one job; hooks decide who, and as what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from qualtrics_etl import Contact, ImportContacts, RowContext, RowValues
from qualtrics_etl.messages import ContactsImported

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place


def test_columns_become_fields_and_embedded_data(place: Place) -> None:
    """Known columns become what they are called, all others embedded data; empty cells are left out."""
    place.begin(b"email,first_name,ext_ref,branch,remark\np0@client.example,P,17,North,\n")
    place.run()
    (contact,) = place.simulator.state.directories["POOL_ExampleDirector"].contacts.values()
    assert contact.fields == {"email": "p0@client.example", "firstName": "P", "extRef": "17"}
    assert contact.embedded_data == {"branch": "North"}


def test_row_without_address_is_put_aside(place: Place) -> None:
    """Who has no address is not sent, and says so in the reject file."""
    place.begin(b"email,branch\np0@client.example,North\n,South\n")
    place.run()
    assert place.text("rejects/acme-etl-0123456789ab/import_contacts/00000.csv").splitlines()[1:] == [
        "3,email,There is no e-mail address.,"
    ]


def test_counts_add_up(with_slow_jobs: Place) -> None:
    """What was added, merged, left out and refused is the batch."""
    place = with_slow_jobs
    place.begin(b"email\np0@client.example\np0@client.example\n\nno address\n")
    place.run()
    entry = place.entry("import_contacts", "00000")
    assert entry is not None
    assert isinstance(entry.fact, ContactsImported)
    fact = entry.fact
    assert (fact.loaded, fact.updated, fact.skipped, fact.rejected, fact.pending) == (1, 1, 0, 1, 0)


def test_job_is_looked_at_less_and_less_often(with_slow_jobs: Place, contacts: Callable[..., bytes]) -> None:
    """The first look comes after what is set, each further one after half as much again; none burns a receive."""
    place = with_slow_jobs
    place.settings["import_contacts"] = {"look_after_seconds": 4}
    place.begin(contacts(1))
    place.run()
    looks = [note.at[-3:] for note in place.simulator.requests() if "/transactioncontacts/" in note.path]
    assert (looks, place.letters("import_contacts")) == (["04Z", "10Z", "19Z"], [])


class Answers(ImportContacts):
    """Answers what the test says."""

    kept: object = True
    contact: object = None

    @override
    def keep_row(self, row: RowValues, *, context: RowContext) -> bool:
        return self.kept  # type: ignore[return-value]  # the mistake that is tested

    @override
    def build_contact(self, row: RowValues, *, context: RowContext) -> Contact:
        return self.contact  # type: ignore[return-value]  # the mistake that is tested


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ({"kept": None}, "Answers.keep_row returned a NoneType. Return True or False."),
        ({"kept": "yes"}, "Answers.keep_row returned a str. Return True or False."),
        (
            {"contact": {"email": "p0@client.example"}},
            (
                "Answers.build_contact returned a dict for line 2."
                " Return a Contact, or raise RowRejectedError; to leave a row out, override keep_row."
            ),
        ),
    ],
)
def test_wrong_answer_of_a_hook_is_named(
    place: Place, contacts: Callable[..., bytes], answers: dict[str, object], cause: str
) -> None:
    """Nobody is left out, and nothing is sent, by a hook's mistake."""
    place.steps["import_contacts"] = type("Answers", (Answers,), answers)
    place.begin(contacts(2))
    place.run()
    assert place.cause("import_contacts") == cause
    assert place.contacts() == []


def test_rows_that_expired_are_told(place: Place, contacts: Callable[..., bytes]) -> None:
    """A batch that is gone from the store can't be imported, and says what to do."""
    place.begin(contacts(1))
    place.run(until=lambda: bool(place.waiting("import_contacts")))
    place.bucket.delete("payloads/acme-etl-0123456789ab/parse_file/batches/00000")
    place.run()
    assert place.cause("import_contacts") == (
        "Batch 00000 of run acme-etl-0123456789ab is not in the store. It expires with the run's personal data. Have"
        " the client send the missing rows in a new file, then give this work up (make waive)."
    )


def test_single_contact_larger_than_a_request_is_put_aside(place: Place, contacts: Callable[..., bytes]) -> None:
    """What can't be halved any more is a rejected row, and its batch's other half goes in."""
    huge = Contact(email="p0@client.example", embedded_data={f"n{n}": "x" * 1000 for n in range(5200)})
    small = Contact(email="p1@client.example")

    class OneIsHuge(ImportContacts):
        @override
        def build_contact(self, row: RowValues, *, context: RowContext) -> Contact:
            return huge if row["email"] == "p0@client.example" else small

    place.steps["import_contacts"] = OneIsHuge
    place.begin(contacts(2))
    place.run()
    assert place.members() == ["p1@client.example"]
    assert place.keys("outcomes/") == [f"outcomes/acme-etl-0123456789ab/import_contacts/00000.{n}.csv" for n in "01"]
    (line,) = place.text("outcomes/acme-etl-0123456789ab/import_contacts/00000.0.csv").splitlines()[1:]
    assert line.startswith('2,rejected,,"An import of 5,2')
    assert line.endswith('bytes is more than Qualtrics takes (5,000,000)."')
    assert (place.letters("import_contacts"), place.scheduled()) == ([], ["Invite", "Reminder"])
