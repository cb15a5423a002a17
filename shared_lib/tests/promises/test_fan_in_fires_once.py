"""The invitation waits for every batch, and is made once, however many there are and in whatever order they come."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from qualtrics_etl import Contact, ImportContacts, RowContext, RowValues
from qualtrics_etl.ledger import How, Output
from qualtrics_etl.messages import ContactsImported, FileParsed, MailingListCreated, Message
from qualtrics_etl.steps.outbox import Outbox

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place

LIST = MailingListCreated("CG_000000000000001", "contacts")


def arrival(place: Place, batch: str, batches: int, how: How = How.ARRIVE) -> Output:
    """Return what a batch's import is recorded to send on."""
    parsed = FileParsed(batches, "payloads/x/batches", batches, batches, 0)
    imported = ContactsImported(f"PGRS_{batch}", 1, 0, 0, 0, 0)
    message = place.message("schedule_distribution", parsed, LIST, imported, batch=batch)
    return Output(how, message.encode())


def outbox(place: Place) -> Outbox:
    """Return the outbox of a worker."""
    return Outbox(place.workflow, place.queues, place.bucket)


def waiting(place: Place) -> list[Message]:
    """Return what the invitation was told."""
    return [Message.decode(each.body) for each in place.waiting("schedule_distribution")]


@pytest.mark.parametrize("batches", [1, 2, 99, 100, 101, 200, 250])
def test_told_by_the_last_arrival_only(place: Place, batches: int) -> None:
    """In any order, nobody is told before the last batch has come, and then once, with what is true of the run."""
    names = [f"{number:05}" for number in range(batches)]
    random.Random(batches).shuffle(names)
    outbox(place).send_all([arrival(place, name, batches) for name in names[:-1]])
    assert waiting(place) == []
    outbox(place).send_all([arrival(place, names[-1], batches)])
    parsed = FileParsed(batches, "payloads/x/batches", batches, batches, 0)
    assert waiting(place) == [place.message("schedule_distribution", parsed, LIST)]


def test_arrivals_that_come_twice_tell_the_same(place: Place) -> None:
    """Every arrival twice: what is told more than once is the same message, which falls to the claim."""
    outputs = [arrival(place, f"{number:05}", 3) for number in (2, 0, 1)]
    outbox(place).send_all([*outputs, *outputs])
    bodies = {each.body for each in place.waiting("schedule_distribution")}
    assert len(bodies) == 1


@pytest.mark.parametrize("order", range(6))
def test_split_batch_arrives_with_its_halves(place: Place, order: int) -> None:
    """A batch that became halves, and one of these halves again, has come when all of them have."""
    outputs = [
        arrival(place, "00001", 2, How.SPLIT),
        arrival(place, "00001.1", 2, How.SPLIT),
        *(arrival(place, name, 2) for name in ("00000", "00001.0", "00001.1.0", "00001.1.1")),
    ]
    random.Random(order).shuffle(outputs)
    outbox(place).send_all(outputs[:-1])
    assert waiting(place) == []
    outbox(place).send_all(outputs[-1:])
    assert [message.batch for message in waiting(place)] == ["all"]


def test_no_batches_at_all_are_complete_at_once(place: Place) -> None:
    """A run without batches tells whoever waits for them."""
    message = place.message("import_contacts", FileParsed(0, "x", 0, 0, 0))
    output = Output(How.EACH_BATCH, message.encode(), waiting=("schedule_distribution",))
    outbox(place).send_all([output])
    assert place.waiting("import_contacts") == []
    assert [each.batch for each in waiting(place)] == ["all"]


def test_fan_out_sends_one_message_a_batch(place: Place) -> None:
    """Each batch of the manifest gets its message, in order, and nobody is told that all are there."""
    message = place.message("import_contacts", FileParsed(101, "x", 1, 1, 0))
    outbox(place).send_all([Output(How.EACH_BATCH, message.encode(), waiting=("schedule_distribution",))])
    batches = [Message.decode(each.body).batch for each in place.waiting("import_contacts")]
    assert batches == [f"{number:05}" for number in range(101)]
    assert waiting(place) == []


def test_dead_lettered_batch_keeps_the_run_waiting(place: Place, contacts: Callable[..., bytes]) -> None:
    """With one batch in the dead-letter queue nobody is invited; after it was sent back all are, once."""
    place.use(parse_file={"settings": {"rows_per_batch": 2}})
    place.fault("failed_job", skip=1)
    place.begin(contacts(6))
    place.run()
    assert (place.scheduled(), len(place.letters("import_contacts")), len(place.members())) == ([], 1, 4)
    place.redrive("import_contacts")
    place.run()
    assert (place.scheduled(), len(place.members())) == (["Invite", "Reminder"], 6)
    assert place.calls("POST /distributions") == 1


class Verbose(ImportContacts):
    """Says six thousand characters of everybody."""

    @override
    def build_contact(self, row: RowValues, *, context: RowContext) -> Contact:
        text = "x" * 1000
        return Contact(email=row["email"], embedded_data={f"text_{n}": text for n in range(6)})


def test_batch_larger_than_a_request_goes_as_halves(place: Place, contacts: Callable[..., bytes]) -> None:
    """A batch that became more than Qualtrics takes in one call is split, recorded, counted; nobody is left out."""
    place.steps["import_contacts"] = Verbose
    place.begin(contacts(1000))
    place.duplicates = True
    place.run()
    assert place.keys("ledger/acme-etl-0123456789ab/import_contacts/") == [
        f"ledger/acme-etl-0123456789ab/import_contacts/{batch}" for batch in ("00000", "00000.0", "00000.1")
    ]
    parent = place.entry("import_contacts", "00000")
    assert parent is not None
    assert (parent.fact, parent.skipped) == (None, "It is larger than one request: its halves take its place.")
    assert (len(place.members()), place.scheduled()) == (1000, ["Invite", "Reminder"])


def test_halves_are_read_by_the_next_batch_level_service(place: Place, contacts: Callable[..., bytes]) -> None:
    """Two services that work on batches may follow each other: the second one finds the halves that the first made."""
    second = {"import_again": {"kind": "import_contacts"}}
    place.use("fetch_sftp_file", "parse_file", "create_mailing_list", "import_contacts", "import_again", **second)
    place.steps["import_contacts"] = Verbose
    place.begin(contacts(1000))
    place.run()
    assert place.letters("import_again") == []
    facts = [entry.fact for batch in ("00000.0", "00000.1") if (entry := place.entry("import_again", batch))]
    assert [fact.updated for fact in facts if isinstance(fact, ContactsImported)] == [500, 500]
