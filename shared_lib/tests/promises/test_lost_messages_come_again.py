"""A message that is nowhere any more is made again from the ledger, and the run ends as if nothing had been lost."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from qualtrics_etl import Contact, FetchSftpFile, ImportContacts, ParseFile, RowContext, RowValues
from qualtrics_etl.cli.resend import lines_of
from qualtrics_etl.cli.status import lines_of as status_lines
from qualtrics_etl.errors import ConfigurationError, InputError, RetryableError
from qualtrics_etl.ledger import State
from qualtrics_etl.local.dead_letters import dead_letters
from qualtrics_etl.messages import WHOLE_RUN
from qualtrics_etl.payloads import erased_key
from qualtrics_etl.receipt import write_receipt
from qualtrics_etl.runs import recent_runs
from qualtrics_etl.status import DeadLetter, Letters, Progress, RunState, RunStatus, status_of
from qualtrics_etl.steps.base import Delivery
from qualtrics_etl.steps.resending import Plan, Resending
from qualtrics_etl.steps.waivers import Waivers

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Client, Place, Poster

RUN = "acme-etl-0123456789ab"
THERE = "its dead letter is there: make redrive"
IN_PAIRS = {"settings": {"rows_per_batch": 2}}
Contacts = Callable[..., bytes]


def letters(place: Place) -> Letters:
    """Return what stands in the dead-letter queues."""
    seen = (
        DeadLetter(each.service, each.run, each.batch, each.error, each.cause, each.remedy)
        for each in dead_letters(place.workflow, place.queues)
    )
    return Letters(tuple(seen))


def status(place: Place, run: str) -> RunStatus:
    """Return how far a run is."""
    found = status_of(place.workflow, place.bucket, run, letters(place))
    assert found is not None
    return found


def said_of(place: Place, run: str) -> str:
    """Return what `qetl status RUN` says, as it is asked where something speaks for lost messages."""
    try:
        plan = look(place, run)
    except ConfigurationError:
        plan = None
    return "\n".join(status_lines(status(place, run), "prod", place.clock.now(), plan))


def look(place: Place, run: str, **options: object) -> Plan:
    """Return what would be sent again."""
    resending = Resending(place.workflow, place.bucket, place.queues)
    return resending.look(run, letters(place), place.clock.now(), **options)  # type: ignore[arg-type]


def resend(place: Place, run: str, **options: object) -> int:
    """Send again what may be lost, and let the run go on; return how many messages were sent."""
    sent = Resending(place.workflow, place.bucket, place.queues).send(look(place, run, **options))
    place.run()
    return sent


def assert_ended_as_usual(place: Place, run: str, people: int = 5) -> None:
    """Each person is in the one list once, is invited and reminded once, and nothing is open."""
    expected = [f"p{n}@client.example" for n in range(people)]
    assert (place.members(), place.contacts()) == (expected, expected)
    assert (len(place.lists()), place.scheduled()) == (1, ["Invite", "Reminder"])
    assert (place.calls("POST /mailinglists"), place.calls("POST /distributions")) == (1, 1)
    assert (status(place, run).state, letters(place)) == (RunState.FINISHED, Letters())
    assert look(place, run).is_empty


def run_of(place: Place) -> str:
    """Return the one run of a file."""
    (run,) = {key.split("/")[1] for key in place.keys("files/") if not key.startswith("files/seen/")}
    return f"acme-etl-{run[:12]}"


def fetch(place: Place, client: Client, content: bytes) -> str:
    """Let a file be fetched, its run begin and go on until nothing moves; return the run."""
    client.drop(content=content, age_seconds=600)
    for _ in range(2):
        client.tick()
        place.run()
    return run_of(place)


@pytest.mark.parametrize(
    ("service", "skip"),
    [
        *((name, 0) for name in ("parse_file", "create_mailing_list", "schedule_distribution", "schedule_reminder")),
        *(("import_contacts", skip) for skip in range(6)),
    ],
)
def test_lost_delivery_is_made_up_for(
    place: Place, client: Client, contacts: Contacts, service: str, skip: int
) -> None:
    """Whichever message is lost, calls and looks alike: the run stands, is sent again, and ends as usual."""
    place.use(parse_file=IN_PAIRS)
    place.lose(service, skip=skip)
    run = fetch(place, client, contacts(5))
    assert (place.losing, status(place, run).state) == ({service: (-1, False)}, RunState.WAITING)
    assert resend(place, run) == 1
    assert_ended_as_usual(place, run)


def test_what_is_on_its_way_may_come_twice(place: Place, client: Client, contacts: Contacts) -> None:
    """Sent again at every moment of a run of which nothing is lost, nothing is done twice."""
    place.use(parse_file=IN_PAIRS)
    client.drop(content=contacts(5), age_seconds=600)
    for _ in range(2):
        client.tick()
        place.run(until=lambda: bool(place.waiting("parse_file")))
    run, sent = run_of(place), 0
    for _ in range(40):
        for service in place.workflow.services:
            place.deliver(service)
            sent += Resending(place.workflow, place.bucket, place.queues).send(look(place, run))
        place.clock.advance(5)
    place.run()
    assert sent > 10
    assert_ended_as_usual(place, run)


def test_deleted_letter_is_made_again(place: Place, client: Client, contacts: Contacts) -> None:
    """Work that failed and whose letter somebody deleted is seen as such, and is tried again for good."""
    place.use(parse_file=IN_PAIRS)
    place.fault("failed_job", skip=1)
    run = fetch(place, client, contacts(5))
    assert look(place, run).is_empty
    assert [each.why_not for each in look(place, run).lost] == [f"{THERE} STAGE=... SERVICE=import_contacts"]
    delete_letters(place, "import_contacts")
    said = said_of(place, run)
    assert "import_contacts batch 00001: PermanentError (no letter is seen)" in said
    assert f"make resend STAGE=prod RUN={run} SERVICE=import_contacts   #" in said
    assert "make redrive" not in said
    assert (resend(place, run, service="create_mailing_list"), resend(place, run, service="import_contacts")) == (0, 1)
    assert_ended_as_usual(place, run)


def test_failed_work_that_fails_again_is_a_letter_again(place: Place, client: Client, contacts: Contacts) -> None:
    """Where the cause is still there, it waits as a letter as before, and goes back as one."""
    place.use(parse_file=IN_PAIRS)
    place.fault("failed_job", count=2)
    run = fetch(place, client, contacts(2))
    delete_letters(place, "import_contacts")
    assert resend(place, run) == 1
    assert len(place.letters("import_contacts")) == 1
    place.redrive("import_contacts")
    place.run()
    assert_ended_as_usual(place, run, people=2)


def test_letter_that_was_only_hidden_does_nothing_twice(place: Place, client: Client, contacts: Contacts) -> None:
    """A letter that nobody could see, sent back behind its double, falls to what is done."""
    place.use(parse_file=IN_PAIRS)
    place.fault("failed_job", skip=1)
    run = fetch(place, client, contacts(5))
    found = Resending(place.workflow, place.bucket, place.queues)
    assert found.send(found.look(run, Letters(), place.clock.now())) == 1
    place.run()
    place.redrive("import_contacts")
    place.run()
    assert_ended_as_usual(place, run)


def test_unknown_outcome_is_asked_about_first(place: Place, client: Client, contacts: Contacts) -> None:
    """What may have happened at Qualtrics is left, with the reason, until somebody has looked there."""
    place.no_deduplication()
    place.mishap("POST /API/v3/directories/POOL_ExampleDirector/transactioncontacts", after=False)
    place.mishap("/transactioncontacts")
    run = fetch(place, client, contacts(2))
    delete_letters(place, "import_contacts")
    (lost,) = look(place, run).lost
    assert (lost.state, lost.message, lost.outcome_unknown) == (State.FAILED, None, True)
    assert "nobody knows what Qualtrics did" in "\n".join(lines_of(look(place, run), "prod"))
    assert (resend(place, run), resend(place, run, outcome_unknown=True)) == (0, 1)
    assert_ended_as_usual(place, run, people=2)


@pytest.mark.parametrize("skip", range(5))
def test_lost_halves_and_marks_come_again(place: Place, client: Client, contacts: Contacts, skip: int) -> None:
    """A worker that dies before it tells of a batch, whole or cut in two, and whose message is then lost."""
    place.steps["import_contacts"] = ImportOneBadLanguage
    place.use(parse_file={"settings": {"rows_per_batch": 4}})
    place.mishap(
        "/schedule_distribution/arrived/", skip=skip, meanwhile=lambda: place.lose("import_contacts", again=True)
    )
    run = fetch(place, client, contacts(5))
    assert status(place, run).state is RunState.WAITING
    assert resend(place, run) >= 1
    people = [f"p{n}@client.example" for n in (0, 1, 3, 4)]
    assert (place.members(), place.scheduled(), status(place, run).state) == (
        people,
        ["Invite", "Reminder"],
        RunState.FINISHED,
    )


@pytest.mark.parametrize("service", ["create_mailing_list", "schedule_distribution"])
def test_file_without_a_good_row_goes_on(place: Place, client: Client, service: str) -> None:
    """A run that has no batch, and whose one message behind the parser was lost, comes to its end."""
    place.settings["parse_file"] = {"max_reject_ratio": 1.0}
    place.lose(service)
    run = fetch(place, client, b"email\np0@client.example,one too many\n")
    assert resend(place, run) == 1
    assert (status(place, run).state, place.members()) == (RunState.FINISHED, [])


@pytest.mark.parametrize("service", ["receive_post", "parse_file"])
def test_lost_message_of_a_post_comes_again(poster: Poster, place: Place, service: str) -> None:
    """What was answered with 202 is in the store, and its first message is made from that."""
    place.lose(service)
    run = poster.post_until_accepted()
    place.run()
    assert status(place, run).state is RunState.WAITING
    assert resend(place, run) == 1
    assert_ended_as_usual(place, run, people=3)


def test_lost_message_of_a_serial_service_comes_again(place: Place, client: Client, contacts: Contacts) -> None:
    """A FIFO queue takes the message again: it is not the one that it has seen."""
    place.use(create_mailing_list={"concurrency": "serial"})
    place.lose("create_mailing_list")
    run = fetch(place, client, contacts(3))
    place.clock.advance(600)
    assert resend(place, run) == 1
    assert_ended_as_usual(place, run, people=3)


def test_continued_parsing_goes_on(place: Place, client: Client, contacts: Contacts) -> None:
    """The continuation of a file that was cut in parts is sent again as it was."""
    place.use(parse_file=IN_PAIRS)
    place.remaining_seconds = 60 * 0.25
    place.steps["parse_file"] = ParseOneBatch
    place.lose("parse_file", skip=1)
    run = fetch(place, client, contacts(5))
    (lost,) = look(place, run).lost
    assert (lost.service, lost.batch, lost.state) == ("parse_file", "c0001", None)
    assert resend(place, run) == 1
    assert_ended_as_usual(place, run)


def test_continuation_belongs_to_its_generation(place: Place, client: Client, contacts: Contacts) -> None:
    """A file that was refused and is cut anew is cut on where the second cut stopped, not the first."""
    place.use(parse_file=IN_PAIRS)
    place.settings["parse_file"] = {"max_reject_ratio": 0.0}
    run = fetch(place, client, contacts(5) + b"p9@client.example,P9,North,one too many\n")
    place.settings["parse_file"] = {"max_reject_ratio": 1.0}
    place.remaining_seconds = 60 * 0.25
    place.steps["parse_file"] = ParseOneBatch
    place.lose("parse_file", skip=1)
    place.redrive("parse_file")
    place.run()
    assert resend(place, run) == 1
    here = f"payloads/{run}/parse_file"
    assert [key for key in place.keys(here) if "manifest" in key] == [f"{here}/1/manifest.json"]
    assert_ended_as_usual(place, run)


def test_worker_that_is_at_it_is_left_alone(place: Place, client: Client, contacts: Contacts) -> None:
    """While its lease lasts, the message is at the worker; when it is over, and nothing came, it is sent again."""
    place.mishap("/transactioncontacts", after=True)
    place.lose("import_contacts", skip=1)
    client.drop(content=contacts(2), age_seconds=600)
    for _ in range(2):
        client.tick()
        place.run(until=lambda: any("/import_contacts/" in key for key in place.keys("ledger/acme-etl-")))
    run = run_of(place)
    assert [each.why_not for each in look(place, run).lost] == ["a worker is at it"]
    place.run()
    assert resend(place, run) == 1
    assert_ended_as_usual(place, run, people=2)


def test_waived_work_is_not_sent_again(place: Place, client: Client, contacts: Contacts) -> None:
    """What was given up stays so; what waited for it is told, where that was lost."""
    place.use(parse_file=IN_PAIRS)
    place.fault("failed_job")
    run = fetch(place, client, contacts(4))
    delete_letters(place, "import_contacts")
    place.lose("schedule_distribution")
    Waivers(place.workflow, place.bucket, place.queues).waive(run, "import_contacts", "0", "They are sent anew.")
    place.run()
    assert status(place, run).state is RunState.WAITING
    assert resend(place, run) == 1
    assert (place.members(), place.scheduled()) == ([f"p{n}@client.example" for n in (2, 3)], ["Invite", "Reminder"])


def test_run_that_stands_for_days_is_said_to_have_lost_messages(
    place: Place, client: Client, contacts: Contacts
) -> None:
    """After four days no queue holds its message: it is said what brings it back; after a month nothing does."""
    place.lose("create_mailing_list")
    run = fetch(place, client, contacts(2))
    command = f"make resend STAGE=prod RUN={run}   # nothing has changed for 4 days"
    assert command not in said_of(place, run)
    place.clock.advance(timedelta(days=4, minutes=1).total_seconds())
    assert command in said_of(place, run)
    place.clock.advance(timedelta(days=26).total_seconds())
    plan = look(place, run)
    assert plan.is_empty
    assert "left, its message expired after 30 days, and its data is gone" in "\n".join(lines_of(plan, "prod"))


@pytest.mark.parametrize("run", ["acme-etl-ffffffffffff", "../acme-etl-ffffffffffff", ""])
def test_unknown_run_is_refused(place: Place, run: str) -> None:
    """What is no run has nothing that could be sent."""
    with pytest.raises(ConfigurationError, match="There is no run"):
        look(place, run)


def test_tick_is_refused(place: Place, client: Client) -> None:
    """A tick need not be repeated: the next one looks again."""
    client.tick()
    place.run()
    tick = place.keys("ledger/")[0].split("/")[1]
    with pytest.raises(ConfigurationError, match="a tick of a schedule"):
        look(place, tick)


class ParseOneBatch(ParseFile):
    """Its time is short at each batch."""

    @override
    def _time_is_short(self, delivery: Delivery) -> bool:
        return True


class ImportOneBadLanguage(ImportContacts):
    """One person's language makes Qualtrics refuse the whole call."""

    @override
    def build_contact(self, row: RowValues, *, context: RowContext) -> Contact:
        contact = super().build_contact(row, context=context)
        return replace(contact, language="none") if contact.email == "p2@client.example" else contact


# --- a workflow that changed meanwhile --------------------------------------------------------------------------------


SECOND = ("fetch_sftp_file", "parse_b", "list_b", "import_b", "schedule_b")
KINDS = {
    "parse_b": {"kind": "parse_file"},
    "list_b": {"kind": "create_mailing_list"},
    "import_b": {"kind": "import_contacts"},
    "schedule_b": {"kind": "schedule_distribution"},
}


RENAMED = ("parse_file", "create_mailing_list", "import_contacts", "schedule_distribution", "schedule_reminder")


def change_workflow(place: Place, chains: dict[str, tuple[str, ...]], **kinds: dict[str, object]) -> None:
    """Deploy other chains."""
    if "schedule_distribution" in place.workflow.services:
        place.settings["schedule_b"] = place.config.services["schedule_distribution"]
    place.workflow = place.workflow_of(chains, {**KINDS, **kinds})
    place.rebuild_queues()


@pytest.mark.parametrize("renamed", [False, True], ids=["a chain more", "other names"])
def test_finished_run_is_not_begun_anew_in_a_new_chain(
    place: Place, client: Client, contacts: Contacts, renamed: bool
) -> None:
    """A chain that came after a run is none of the run's: nothing is queued in it, and nothing is sent."""
    chain = tuple(place.workflow.services)
    run = fetch(place, client, contacts(3))
    change_workflow(place, {"second": SECOND} if renamed else {"contacts": chain, "second": SECOND})
    place.clock.advance(timedelta(days=5).total_seconds())
    assert resend(place, run) == 0
    assert "make resend" not in said_of(place, run)
    assert (len(place.lists()), place.scheduled()) == (1, ["Invite", "Reminder"])
    found = status(place, run)
    assert (found.state, len(found.gone)) == (RunState.FINISHED, 5 if renamed else 0)


def test_open_work_of_services_that_are_gone_is_told(place: Place, client: Client, contacts: Contacts) -> None:
    """A run that stands at a service under its old name is not finished; the name is said, and what to do."""
    chain = tuple(place.workflow.services)
    place.use(parse_file=IN_PAIRS)
    place.lose("import_contacts", skip=1)
    run = fetch(place, client, contacts(5))
    change_workflow(place, {"second": SECOND})
    found = status(place, run)
    assert found.state is RunState.WAITING
    assert {each.service: (each.ended, each.open) for each in found.gone} == {
        "create_mailing_list": (1, ()),
        "import_contacts": (2, ("00001",)),
        "parse_file": (1, ()),
        "schedule_distribution": (0, (WHOLE_RUN,)),
    }
    said = said_of(place, run)
    assert "  import_contacts, which workflow.yml no longer has: 2 ended, 1 open batch 00001\n" in said
    command = f"  make resend STAGE=prod RUN={run}"
    assert (
        f"{command}   # when workflow.yml has import_contacts, schedule_distribution again, and is deployed\n" in said
    )
    assert resend(place, run) == 0
    change_workflow(place, {"contacts": chain})
    place.clock.advance(timedelta(days=5).total_seconds())
    assert resend(place, run) == 1
    assert_ended_as_usual(place, run, people=5)


@pytest.mark.parametrize("lost", RENAMED)
@pytest.mark.parametrize("renamed", RENAMED)
def test_service_is_renamed_while_a_message_is_lost(
    place: Place, client: Client, contacts: Contacts, renamed: str, lost: str
) -> None:
    """Nobody is invited before all are in, and nothing is done twice; what is stuck is told until the name is back."""
    chain = tuple(place.workflow.services)
    place.use(parse_file=IN_PAIRS)
    place.lose(lost, skip=lost == "import_contacts")
    run = fetch(place, client, contacts(5))
    assert status(place, run).state is RunState.WAITING
    other = {"other": {"kind": renamed}}
    settings = place.config.services.get(renamed)
    if settings:
        place.settings["other"] = settings
    change_workflow(place, {"contacts": tuple("other" if name == renamed else name for name in chain)}, **other)
    found, plan = status(place, run), look(place, run)
    assert found.state is RunState.WAITING
    if any(each.open for each in found.gone):
        assert plan.is_empty
        assert f"when workflow.yml has {renamed} again" in said_of(place, run)
        change_workflow(place, {"contacts": chain})
    assert resend(place, run) == 1
    for chain_of_today in (tuple(place.workflow.services), chain):
        change_workflow(place, {"contacts": chain_of_today}, **other)
        assert_ended_as_usual(place, run)
        assert "unaccounted for" not in said_of(place, run)


def test_tick_is_not_told_of_the_work_of_runs(place: Place, client: Client, contacts: Contacts) -> None:
    """What a tick sent to a service that is gone since is of the run that it began."""
    chain = tuple(place.workflow.services)
    fetch(place, client, contacts(3))
    tick = next(key.split("/")[1] for key in place.keys("ledger/") if not key.startswith("ledger/acme-etl-"))
    change_workflow(place, {"contacts": (chain[0], "parse_b", *chain[2:])})
    found = status(place, tick)
    assert (found.state, found.gone) == (RunState.FINISHED, ())


def test_mark_of_a_waived_batch_keeps_a_fan_in_open(place: Place, client: Client, contacts: Contacts) -> None:
    """Who gives up the only batch of a run lets the invitation go on: under its old name it is still to be done."""
    chain = tuple(place.workflow.services)
    place.lose("import_contacts")
    run = fetch(place, client, contacts(3))
    Waivers(place.workflow, place.bucket, place.queues).waive(run, "import_contacts", "0", "They are sent anew.")
    change_workflow(place, {"contacts": (*chain[:4], "schedule_b")})
    found = status(place, run)
    assert (found.state, [(each.service, each.open) for each in found.gone]) == (
        RunState.WAITING,
        [("schedule_distribution", (WHOLE_RUN,))],
    )
    assert "make waive STAGE=prod SERVICE=schedule_distribution RUN=" in said_of(place, run)


@pytest.mark.parametrize("begun", [False, True])
def test_work_of_a_service_that_was_removed_is_given_up(
    place: Place, client: Client, contacts: Contacts, begun: bool
) -> None:
    """A reminder that no service sends any more is waived: then its run is finished, and stands still no longer."""
    chain = tuple(place.workflow.services)
    if begun:
        place.fault("forbidden", path="*/reminders", method="POST", count=10)
    else:
        place.lose("schedule_reminder")
    run = fetch(place, client, contacts(3))
    delete_letters(place, "schedule_reminder")
    entry = place.entry("schedule_reminder", run=run)
    assert (entry.state if entry else None) is (State.FAILED if begun else None)
    change_workflow(place, {"contacts": chain[:5]})
    assert status(place, run).state is RunState.WAITING
    waivers = Waivers(place.workflow, place.bucket, place.queues)
    assert waivers.waive(run, "schedule_reminder", None, "The client wants none.").is_waived
    found = status(place, run)
    assert (found.state, found.gone[0].open, place.scheduled()) == (RunState.FINISHED, (), ["Invite"])


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("import_contacts", "import_contacts worked on batches, and workflow.yml no longer has it"),
        ("import_contact", "'import_contact' is no service of workflow.yml, and run acme-etl-"),
    ],
)
def test_batch_of_a_service_that_is_gone_is_not_given_up(
    place: Place, client: Client, contacts: Contacts, service: str, said: str
) -> None:
    """Nobody knows who waits for it: it has to come back first."""
    chain = tuple(place.workflow.services)
    place.lose("import_contacts")
    run = fetch(place, client, contacts(3))
    change_workflow(place, {"contacts": (*chain[:3], "import_b", *chain[4:])})
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        Waivers(place.workflow, place.bucket, place.queues).waive(run, service, "0", "They are sent anew.")


@pytest.mark.parametrize("before", ["import_contacts", "schedule_distribution"])
def test_new_service_between_two_changes_nothing_for_older_runs(
    place: Place, client: Client, contacts: Contacts, before: str
) -> None:
    """A second import beside the first is not waited for by a run that went without it, and not done."""
    chain = tuple(place.workflow.services)
    place.use(parse_file=IN_PAIRS)
    place.lose("import_contacts", skip=1)
    run = fetch(place, client, contacts(5))
    at = chain.index(before)
    change_workflow(place, {"contacts": (*chain[:at], "import_b", *chain[at:])})
    found = status(place, run)
    assert found.outgrown
    assert {each.service: each.batches(Progress.NOT_COME) for each in found.services if each.pieces} == {
        "parse_file": (),
        "create_mailing_list": (),
        "import_contacts": (),
        "schedule_distribution": (WHOLE_RUN,),
    }
    assert "workflow.yml has changed since" in said_of(place, run)
    assert resend(place, run) == 1
    if before == "import_contacts":
        assert_ended_as_usual(place, run)
        assert "import_b" not in said_of(place, run)
    assert (status(place, run).state, place.scheduled()) == (RunState.FINISHED, ["Invite", "Reminder"])


def test_chain_that_came_later_invites_nobody_of_older_runs(place: Place, client: Client, contacts: Contacts) -> None:
    """It is told of the one batch that was still to come, never of the others; that is said, and can be given up."""
    chain = tuple(place.workflow.services)
    place.use(parse_file=IN_PAIRS)
    place.lose("import_contacts", skip=1)
    run = fetch(place, client, contacts(5))
    change_workflow(place, {"contacts": chain, "second": (*chain[:4], "schedule_b")})
    assert resend(place, run) == 1
    place.clock.advance(timedelta(days=5).total_seconds())
    assert resend(place, run) == 0
    assert place.scheduled() == ["Invite", "Reminder"]
    said = said_of(place, run)
    assert "schedule_b waits for batches 00000, 00002, ended, and told to another service: never for all" in said
    assert (f"make waive STAGE=prod SERVICE=schedule_b RUN={run}" in said, "make resend" in said) == (True, False)
    Waivers(place.workflow, place.bucket, place.queues).waive(run, "schedule_b", None, "It came later.")
    assert_ended_as_usual(place, run)


def test_chain_that_came_later_and_imports_on_never_has_all(place: Place, client: Client, contacts: Contacts) -> None:
    """Batches that ended before it came are not queued in it: nothing waits for what nobody sends."""
    chain = tuple(place.workflow.services)
    place.use(parse_file=IN_PAIRS)
    place.lose("import_contacts", skip=1)
    run = fetch(place, client, contacts(5))
    change_workflow(place, {"contacts": chain, "second": (*chain[:4], "import_b", "schedule_b")})
    assert resend(place, run) == 1
    assert (resend(place, run), place.scheduled()) == (0, ["Invite", "Reminder"])
    (wait,) = status(place, run).waits
    assert (wait.service, wait.batches, wait.never) == ("schedule_b", ("00000", "00002"), True)
    Waivers(place.workflow, place.bucket, place.queues).waive(run, "schedule_b", None, "It came later.")
    assert (status(place, run).state, place.scheduled()) == (RunState.FINISHED, ["Invite", "Reminder"])


def test_chain_that_came_later_waits_while_another_branch_is_open(
    place: Place, client: Client, contacts: Contacts
) -> None:
    """Marks alone tell when a service has its turn, not that the batches before it have ended."""
    chain = tuple(place.workflow.services)
    place.settings["schedule_c"] = place.config.services["schedule_distribution"]
    branches = {"contacts": chain, "b": (*chain[:3], "import_b", "schedule_b")}
    change_workflow(place, branches, parse_file=IN_PAIRS)
    place.lose("import_contacts", skip=1)
    place.lose("import_b")
    run = fetch(place, client, contacts(5))
    change_workflow(place, {**branches, "c": (*chain[:4], "schedule_c")}, schedule_c={"kind": "schedule_distribution"})
    assert resend(place, run, service="import_contacts") == 1
    assert [each.service for each in look(place, run).lost] == ["import_b"]
    assert resend(place, run) == 1
    assert sorted(place.scheduled()) == ["Invite", "Invite", "Reminder"]
    assert [each.service for each in status(place, run).waits] == ["schedule_c"]


def test_fan_in_that_is_gone_comes_first(place: Place, client: Client, contacts: Contacts) -> None:
    """Until who waits for the other batches is back, no command says how to end one that would tell another."""
    chain = tuple(place.workflow.services)
    place.use(parse_file=IN_PAIRS)
    place.fault("failed_job")
    run = fetch(place, client, contacts(5))
    change_workflow(place, {"contacts": (*chain[:4], "schedule_b")})
    said = said_of(place, run)
    assert ("make redrive" in said, "SERVICE=import_contacts" in said, "make resend" in said) == (False, False, True)
    (open_one,) = {each.why_not for each in look(place, run).lost}
    assert open_one == "workflow.yml no longer has schedule_distribution: bring it back and deploy first"
    with pytest.raises(ConfigurationError, match="schedule_distribution waits for the other batches, and workflow"):
        Waivers(place.workflow, place.bucket, place.queues).waive(run, "import_contacts", "0", "They are sent anew.")
    change_workflow(place, {"contacts": chain})  # whose queues are new: the letter is gone
    assert resend(place, run) == 1
    assert_ended_as_usual(place, run)


def test_batches_that_told_two_names_invite_nobody_twice(place: Place, client: Client, contacts: Contacts) -> None:
    """With both names in workflow.yml neither is whole: both are said, and somebody has to decide."""
    chain = tuple(place.workflow.services)
    place.use(parse_file=IN_PAIRS)
    place.lose("import_contacts", skip=1)
    run = fetch(place, client, contacts(5))
    late = look(place, run)
    change_workflow(place, {"contacts": (*chain[:4], "schedule_b")})
    Resending(place.workflow, place.bucket, place.queues).send(late)
    place.run()
    change_workflow(place, {"contacts": chain, "second": (*chain[:4], "schedule_b")})
    place.clock.advance(timedelta(days=5).total_seconds())
    assert resend(place, run) == 0
    assert (place.scheduled(), status(place, run).state) == ([], RunState.WAITING)
    assert [each.service for each in status(place, run).waits if each.never] == ["schedule_distribution", "schedule_b"]


@pytest.mark.parametrize("changed", ["create_mailing_list", "schedule_distribution"])
def test_work_of_an_outgrown_run_is_given_up(place: Place, client: Client, contacts: Contacts, changed: str) -> None:
    """Who has lost a batch, and renamed what told it, gives it up by the command that status says."""
    chain = tuple(place.workflow.services)
    place.use(parse_file=IN_PAIRS)
    if changed == "create_mailing_list":
        place.fault("failed_job")
    else:
        place.lose("schedule_reminder")
    run = fetch(place, client, contacts(5))
    service, batch = ("import_contacts", "00000") if changed == "create_mailing_list" else ("schedule_reminder", None)
    other = {"other": {"kind": changed}}
    place.settings["other"] = place.config.services.get(changed, {})
    change_workflow(place, {"contacts": tuple("other" if name == changed else name for name in chain)}, **other)
    waivers = Waivers(place.workflow, place.bucket, place.queues)
    if batch:
        assert f'make waive STAGE=prod SERVICE={service} RUN={run} BATCH="{batch}"' in said_of(place, run)
        with pytest.raises(ConfigurationError, match=r"has not come to import_contacts yet, with batch 00002\.0"):
            waivers.waive(run, service, "00002.0", "It never was.")
    assert waivers.waive(run, service, batch, "They are sent anew.").is_waived
    place.run()
    assert (status(place, run).state, place.scheduled()) == (
        RunState.FINISHED,
        ["Invite", "Reminder"] if batch else ["Invite"],
    )


def test_end_that_a_gone_service_would_hear_of_is_not_repeated(
    place: Place, client: Client, contacts: Contacts
) -> None:
    """What is left behind done work waits until who is told with it is back: no message ends as a dead letter."""
    chain = tuple(place.workflow.services)
    run = fetch(place, client, contacts(3))
    for key in place.keys(f"outcomes/{run}/"):
        place.bucket.delete(key)
    change_workflow(place, {"contacts": (*chain[:4], "schedule_b")})
    (left,) = look(place, run).lost
    assert left.why_not == "it tells schedule_distribution as well, which workflow.yml no longer has"
    change_workflow(place, {"contacts": chain})
    assert resend(place, run) == 1
    assert place.keys(f"outcomes/{run}/") != []


def test_empty_file_still_tells_who_waits(place: Place, client: Client) -> None:
    """Without batches nobody imports: that a renamed import was left out is told by what was recorded, too."""
    chain = tuple(place.workflow.services)
    place.lose("schedule_distribution")
    run = fetch(place, client, b"email,first_name,last_name\n")
    change_workflow(place, {"contacts": (*chain[:3], "import_b", *chain[4:])})
    assert status(place, run).state is RunState.WAITING
    assert resend(place, run) == 1
    assert status(place, run).state is RunState.FINISHED


def test_rows_of_work_that_was_given_up_at_a_gone_service_are_counted(
    place: Place, client: Client, contacts: Contacts
) -> None:
    """Five rows that came to no list are waived, whether the service is back or not."""
    chain = tuple(place.workflow.services)
    place.lose("create_mailing_list")
    run = fetch(place, client, contacts(5))
    change_workflow(place, {"contacts": (*chain[:2], "list_b", *chain[3:])})
    Waivers(place.workflow, place.bucket, place.queues).waive(run, "create_mailing_list", None, "Sent anew.")
    assert "unaccounted" not in said_of(place, run)
    change_workflow(place, {"contacts": chain})
    assert "+ 5 waived\n" in said_of(place, run)


def test_lost_message_goes_where_it_went(place: Place, client: Client, contacts: Contacts) -> None:
    """An intake that is now before the run's own takes nothing over."""
    chain = tuple(place.workflow.services)
    place.lose("parse_file")
    run = fetch(place, client, contacts(3))
    intake = {"kind": "fetch_sftp_file"}
    change_workflow(place, {"second": ("fetch_b", *SECOND[1:]), "contacts": chain}, fetch_b=intake)
    assert resend(place, run) == 1
    assert_ended_as_usual(place, run, people=3)
    assert place.keys(f"ledger/{run}/parse_b/") == []


def test_service_behind_a_finished_run_is_not_waited_for(place: Place, client: Client, contacts: Contacts) -> None:
    """A reminder that was added to the workflow is none of the runs that had ended before."""
    chain = tuple(place.workflow.services)
    place.use(*chain[:-1])
    run = fetch(place, client, contacts(3))
    place.use(*chain)
    place.clock.advance(timedelta(days=5).total_seconds())
    assert status(place, run).state is RunState.FINISHED
    assert "make resend" not in said_of(place, run)


# --- what was left to do behind a record ------------------------------------------------------------------------------


def test_fates_of_rows_that_were_not_published_are(place: Place, client: Client, contacts: Contacts) -> None:
    """Who died behind the record left rows unaccounted for; the message, sent again, has it written down."""
    place.use(parse_file=IN_PAIRS)
    first_mark = "/schedule_distribution/arrived/00000/00000"
    place.mishap(first_mark, meanwhile=lambda: place.lose("import_contacts", again=True))
    run = fetch(place, client, contacts(5))
    open_rows = "Batch 00000 is done, and what became of its rows was not written down yet: make resend."
    assert open_rows in receipt(place, run)
    assert ("import_contacts", "00000", State.DONE) in [(e.service, e.batch, e.state) for e in look(place, run).lost]
    assert "import_contacts batch 00000: `done`, sent again to finish" in "\n".join(lines_of(look(place, run), "prod"))
    resend(place, run)
    assert receipt(place, run).count("loaded") == 5
    assert_ended_as_usual(place, run)


def test_post_that_was_not_closed_is(poster: Poster, place: Place) -> None:
    """The client's key stands for its run for good, also when the ledger of the run has expired."""
    place.mishap("send ", skip=1, meanwhile=lambda: place.lose("receive_post", again=True))
    run = poster.post_until_accepted()
    place.run()
    assert resend(place, run) >= 1
    assert_ended_as_usual(place, run, people=3)
    place.clock.advance(timedelta(days=92).total_seconds())
    for key in [*place.keys(f"ledger/{run}/"), *place.keys(f"payloads/{run}/")]:
        place.bucket.delete(key)
    assert poster.post() is not None
    place.run()
    assert (len(place.lists()), place.scheduled()) == (1, ["Invite", "Reminder"])


def test_whole_block_of_marks_is_told(place: Place, client: Client, contacts: Contacts) -> None:
    """Who died between the last mark of a block and saying that it is whole does not hold the invitation up."""
    place.use(parse_file={"settings": {"rows_per_batch": 1}})
    place.fault("failed_job", skip=50)
    place.fault("failed_job", skip=101)
    run = fetch(place, client, contacts(103))
    first, second = (each.batch for each in letters(place).seen)
    assert (int(first) < 100, int(second) >= 100) == (True, True)
    wiring = place.step("import_contacts")._wiring
    place.mishap("/schedule_distribution/complete/00000", RetryableError("S3 is away."))
    with pytest.raises(RetryableError):
        Waivers(place.workflow, wiring.objects, wiring.queues).waive(run, "import_contacts", first, "Sent anew.")
    delete_letters(place, "import_contacts")
    assert resend(place, run) == 1
    assert (status(place, run).state, place.scheduled()) == (RunState.FINISHED, ["Invite", "Reminder"])


# --- when it is suggested ---------------------------------------------------------------------------------------------


def test_letters_that_can_not_all_be_seen_are_not_said_to_be_gone(
    place: Place, client: Client, contacts: Contacts
) -> None:
    """Of a FIFO queue ten letters are seen: of the others nobody says that they were deleted, and none is doubled."""
    place.use(parse_file={"settings": {"rows_per_batch": 1}}, import_contacts={"concurrency": "serial"})
    place.fault("failed_job", count=12)
    run = fetch(place, client, contacts(12))
    some = Letters(letters(place).seen[:10], frozenset({"import_contacts"}))
    found = status_of(place.workflow, place.bucket, run, some)
    assert found is not None
    assert "no letter is seen" not in "\n".join(status_lines(found, "prod", place.clock.now()))
    plan = Resending(place.workflow, place.bucket, place.queues).look(run, some, place.clock.now())
    assert (plan.is_empty, Counter(each.why_not.partition(":")[0] for each in plan.lost)) == (
        True,
        {"its dead letter is there": 10, "its dead letter may be among those not seen now": 2},
    )


def test_tick_is_never_suggested(place: Place, client: Client, contacts: Contacts) -> None:
    """A tick that failed and has no letter any more is looked at by the next one."""
    place.steps["fetch_sftp_file"] = FetchNothing
    client.drop(content=contacts(2), age_seconds=600)
    client.tick()
    place.run()
    delete_letters(place, "fetch_sftp_file")
    tick = place.keys("ledger/")[0].split("/")[1]
    assert "(no letter is seen)" in said_of(place, tick)
    assert "make resend" not in said_of(place, tick)


def test_erased_run_is_refused(place: Place, client: Client, contacts: Contacts) -> None:
    """What is open of a run without its data can't be worked on, so nothing is sent and nothing suggested."""
    place.lose("create_mailing_list")
    run = fetch(place, client, contacts(3))
    for key in place.keys(f"payloads/{run}/"):
        place.bucket.delete(key)
    place.bucket.put(erased_key(run), b'{"erased": [{"at": "2026-11-22T09:10:00Z"}]}')
    place.clock.advance(timedelta(days=5).total_seconds())
    assert "make resend" not in said_of(place, run)
    with pytest.raises(ConfigurationError, match=r"was erased on 2026-11-22T09:10:00Z, so what is open"):
        look(place, run)


def test_lost_message_beside_a_letter_is_suggested(place: Place, client: Client, contacts: Contacts) -> None:
    """A run that has a dead letter as well may have lost others."""
    place.use(parse_file=IN_PAIRS)
    place.fault("failed_job")
    place.lose("import_contacts", skip=1)
    run = fetch(place, client, contacts(5))
    assert len(letters(place).seen) == 1
    assert "make resend" not in said_of(place, run)
    place.clock.advance(timedelta(days=4, minutes=1).total_seconds())
    assert f"make resend STAGE=prod RUN={run}   # nothing has changed for 4 days" in said_of(place, run)


def test_run_whose_first_message_was_lost_is_listed(place: Place, client: Client, contacts: Contacts) -> None:
    """A file that was taken, and of which no service has heard, is a run, and after four days it is said what to do."""
    place.lose("parse_file")
    run = fetch(place, client, contacts(2))
    assert recent_runs(place.workflow, place.bucket, 9, place.clock.now()) == [run]
    place.clock.advance(timedelta(days=4, minutes=1).total_seconds())
    assert f"make resend STAGE=prod RUN={run}   # nothing has changed for 4 days" in said_of(place, run)


def test_post_of_which_no_service_has_heard_is_listed(poster: Poster, place: Place) -> None:
    """What was answered with 202 is a run from that moment on."""
    place.lose("receive_post")
    run = poster.post_until_accepted()
    place.run()
    assert recent_runs(place.workflow, place.bucket, 9, place.clock.now()) == [run]
    place.clock.advance(timedelta(days=4, minutes=1).total_seconds())
    assert f"make resend STAGE=prod RUN={run}   # nothing has changed for 4 days" in said_of(place, run)


def test_service_is_named_where_nothing_of_it_is_open(place: Place, client: Client, contacts: Contacts) -> None:
    """That nothing is open at one service does not say that nothing is open."""
    place.lose("import_contacts")
    run = fetch(place, client, contacts(2))
    assert list(lines_of(look(place, run, service="create_mailing_list"), "prod", "create_mailing_list")) == [
        f"Run {run}: nothing of it is open at create_mailing_list, so nothing is sent."
    ]


def receipt(place: Place, run: str) -> str:
    """Return the receipt of a run."""
    out = io.StringIO()
    write_receipt(place.workflow, place.bucket, run, "import_contacts", out)
    return out.getvalue()


class FetchNothing(FetchSftpFile):
    """No file can be used."""

    @override
    def keep_file(self, name: str) -> bool:
        raise InputError("It can't be used.", remedy="Mend it.", file=name)


def delete_letters(place: Place, service: str) -> None:
    """Delete the dead letters of a service, as somebody does in the console."""
    queue = place.queues.dead_letters_of(service)
    while received := queue.receive():
        for each in received:
            queue.delete(each.receipt)
