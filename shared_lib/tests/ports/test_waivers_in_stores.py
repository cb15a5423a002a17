"""Waivers on every store that the ledger can lie in: one is written, whoever is at the entry at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from qualtrics_etl.errors import LostClaimError
from qualtrics_etl.ledger import Cause, Entry, Held, How, Ledger, Output, State, entry_key
from qualtrics_etl.messages import ContactsImported, FileParsed, MailingListCreated, Message
from qualtrics_etl.ports import ObjectStore, Queues
from qualtrics_etl.status import Letters, RunState, RunStatus, Wait, status_of
from qualtrics_etl.steps.outbox import Outbox
from qualtrics_etl.steps.waivers import Waivers
from qualtrics_etl.workflow import Service, Workflow

WORLDS = ("memory", "folder", "moto", "ministack")
DEVIATIONS: dict[str, dict[str, str]] = {}
RACY = {"moto": "looks and writes in two steps, so two threads may both succeed"}
LEFT_OUT = {
    "test_of_many_waivers_at_once_one_is_written": RACY,
    "test_waiver_and_worker_at_once_leave_one_end": RACY,
}

RUN = "acme-etl-0123456789ab"
USUAL = {"timeout_seconds": 60, "memory_mb": 256, "concurrency": 2, "batch_size": 1, "max_receive_count": 3}
KINDS = {
    "parse_file": "parse_file",
    "create_mailing_list": "create_mailing_list",
    "import_contacts": "import_contacts",
    "step": "schedule_distribution",
}
"""The one service whose queue the worlds offer waits for all batches."""
SERVICES = {name: Service.model_validate({"kind": kind, **USUAL}) for name, kind in KINDS.items()}
FETCH = {"fetch_sftp_file": Service.model_validate({"kind": "fetch_sftp_file", "schedule": "rate(1 hour)", **USUAL})}
CHAIN = ("fetch_sftp_file", *SERVICES)
FOLLOWING = dict(zip(CHAIN, [(name,) for name in SERVICES] + [()], strict=True))
WORKFLOW = Workflow("acme-etl", {"contacts": CHAIN}, FETCH | SERVICES, FOLLOWING)
PARSED = FileParsed(2, f"payloads/{RUN}/parse_file/batches", 2, 2, 0)
BEGUN = Message("acme-etl", RUN, "parse_file", "all", datetime.now(UTC).replace(microsecond=0) + timedelta(days=9))
IMPORTS = BEGUN.after("create_mailing_list", PARSED).after("import_contacts", MailingListCreated("CG_1", "contacts"))
FAILED = entry_key(RUN, "import_contacts", "00001")


@pytest.fixture
def queues(make_queues: Callable[..., Queues]) -> Queues:
    """The queue of the service that waits."""
    return make_queues()


@pytest.fixture
def waivers(objects: ObjectStore, queues: Queues) -> Waivers:
    """A run of two batches, of which the second has failed, and what a person gives it up with."""
    listed = Output(How.SEND, BEGUN.after("create_mailing_list", PARSED).encode())
    fan_out = Output(How.EACH_BATCH, IMPORTS.encode(), waiting=("step",))
    imported = ContactsImported("PGRS_1", 1, 0, 0, 0, 0)
    arrival = Output(How.ARRIVE, IMPORTS.after("step", imported, batch="00000").encode())
    entries = {
        ("parse_file", "all"): Entry(State.DONE, fact=PARSED, outputs=(listed,)),
        ("create_mailing_list", "all"): Entry(State.DONE, outputs=(fan_out,)),
        ("import_contacts", "00000"): Entry(State.DONE, fact=imported, outputs=(arrival,)),
        ("import_contacts", "00001"): Entry(State.FAILED, cause=Cause("The job has failed.")),
    }
    for (service, batch), entry in entries.items():
        objects.put(entry_key(RUN, service, batch), entry.encode())
    Outbox(WORKFLOW, queues, objects).send_all((arrival,))
    return Waivers(WORKFLOW, objects, queues)


def status(objects: ObjectStore) -> RunStatus:
    """Return how far the run is."""
    found = status_of(WORKFLOW, objects, RUN, Letters())
    assert found is not None
    return found


def held(objects: ObjectStore) -> Held:
    """Return the entry of the batch that failed."""
    found = Ledger(objects).read(FAILED)
    assert found is not None
    return found


def test_waiver_is_written_and_told(waivers: Waivers, objects: ObjectStore, queues: Queues) -> None:
    """The run waits for one batch by name; given up, it goes on without it."""
    assert (status(objects).state, status(objects).waits) == (
        RunState.DEAD_LETTERED,
        (Wait("step", "import_contacts", ("00001",)),),
    )
    assert waivers.waive(RUN, "import_contacts", "1", "why").is_waived
    (told,) = queues.of("step").receive()
    assert Message.decode(told.body) == replace(IMPORTS.after("step"), batch="all")
    assert (status(objects).state, status(objects).waits) == (RunState.WAITING, ())


def test_of_many_waivers_at_once_one_is_written(waivers: Waivers, objects: ObjectStore) -> None:
    """Eight people give the same batch up: one reason stands, and all are told that one."""
    with ThreadPoolExecutor(8) as people:
        found = list(people.map(lambda n: waivers.waive(RUN, "import_contacts", "1", f"why {n}"), range(8)))
    reasons = {each.held.entry.skipped for each in found if each.held is not None}
    assert reasons == {held(objects).entry.skipped}


def test_waiver_and_worker_at_once_leave_one_end(waivers: Waivers, objects: ObjectStore) -> None:
    """A worker that records its end while somebody gives the work up: one of the two stands, and the other knows."""
    ends = set()
    for _ in range(5):
        objects.put(FAILED, Entry(State.STARTED, job_id="PGRS_2").encode())
        started = held(objects)

        def record(started: Held = started) -> bool:
            try:
                Ledger(objects).change(started, Entry(State.DONE))
            except LostClaimError:
                return False
            return True

        with ThreadPoolExecutor(2) as both:
            worker = both.submit(record)
            person = both.submit(waivers.waive, RUN, "import_contacts", "1", "why")
        state = held(objects).entry.state
        assert worker.result() is (state is State.DONE)
        assert person.result().is_waived is (state is State.WAIVED)
        ends.add(state)
    assert ends <= {State.DONE, State.WAIVED}
