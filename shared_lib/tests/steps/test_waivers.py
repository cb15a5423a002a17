"""Waivers: what can be given up and what can't, who wins when several are at it, and that a broken one is finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from qualtrics_etl.errors import ConfigurationError, LostClaimError, RetryableError
from qualtrics_etl.ledger import Entry, How, Output, State, entry_key
from qualtrics_etl.messages import Message
from qualtrics_etl.steps.waivers import Candidate, Waivers, check_reason

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Client, Place

RUN = "acme-etl-0123456789ab"
IMPORTS = f"ledger/{RUN}/import_contacts/"
WHY = "The client sends them anew."


def waivers(place: Place) -> Waivers:
    """Return what a person's command works with; its writes meet the place's mishaps."""
    wiring = place.step("import_contacts")._wiring
    return Waivers(place.workflow, wiring.objects, wiring.queues)


def waive(place: Place, batch: str | None, service: str = "import_contacts") -> Candidate:
    """Give a piece of work up."""
    return waivers(place).waive(RUN, service, batch, WHY)


def begin_with_a_dead_letter(place: Place, contacts: Callable[..., bytes]) -> None:
    """Run a file of six people in three batches, of which the second fails."""
    place.use(parse_file={"settings": {"rows_per_batch": 2}})
    place.fault("failed_job", skip=1)
    place.begin(contacts(6))
    place.run()
    (letter,) = place.letters("import_contacts")
    assert Message.decode(letter.body).batch == FAILED


FAILED = "00001"


def put_entry(place: Place, entry: Entry, batch: str = FAILED, service: str = "import_contacts") -> None:
    """Write an entry over whatever is there."""
    place.bucket.put(entry_key(RUN, service, batch), entry.encode())


def arrived(place: Place) -> list[str]:
    """Return the batches that the invitation counts as there."""
    return [key.rpartition("/")[2] for key in place.keys(f"ledger/{RUN}/schedule_distribution/arrived/")]


def test_waived_entry_keeps_what_was_known_and_says_why(place: Place, contacts: Callable[..., bytes]) -> None:
    """State, reason, rows and what is to be told are recorded; cause, job and request of the failure stay."""
    begin_with_a_dead_letter(place, contacts)
    before = place.entry("import_contacts", FAILED)
    assert before is not None
    waive(place, "1")
    after = place.entry("import_contacts", FAILED)
    assert after is not None
    assert (after.state, after.skipped, after.notes["waived"], after.fact) == (State.WAIVED, WHY, 2, None)
    assert (after.cause, after.job_id, after.request_key) == (before.cause, before.job_id, before.request_key)
    assert [(each.how, Message.decode(each.message).service) for each in after.outputs] == [
        (How.ARRIVE, "schedule_distribution")
    ]
    assert sorted(arrived(place)) == ["00000", "00001", "00002"]


def test_looking_changes_nothing(place: Place, contacts: Callable[..., bytes]) -> None:
    """Before a person has decided, rows and consequences are told, and the entry is as it was."""
    begin_with_a_dead_letter(place, contacts)
    before = place.text(entry_key(RUN, "import_contacts", FAILED))
    candidate = waivers(place).look(RUN, "import_contacts", FAILED)
    assert (candidate.rows, candidate.refusal, candidate.is_waived, candidate.may_have_acted) == (2, "", False, True)
    assert place.text(entry_key(RUN, "import_contacts", FAILED)) == before
    assert sorted(arrived(place)) == ["00000", "00002"]


def test_done_work_is_not_waived(place: Place, contacts: Callable[..., bytes]) -> None:
    """What is done stays done, and is called so."""
    begin_with_a_dead_letter(place, contacts)
    before = place.text(f"{IMPORTS}00000")
    assert waive(place, "0").refusal == "It is done: there is nothing to waive."
    assert place.text(f"{IMPORTS}00000") == before


def test_work_under_a_live_lease_is_not_waived(place: Place, contacts: Callable[..., bytes]) -> None:
    """While a worker holds the entry, the person is told until when; behind that it can be waived."""
    begin_with_a_dead_letter(place, contacts)
    put_entry(place, Entry(State.INTENT, nonce="theirs", lease_seconds=120, call_possible=True))
    refused = waive(place, FAILED)
    until = place.clock.now().replace(microsecond=0).timestamp() + 121
    assert refused.refusal.startswith("A worker is at it. Try again after ")
    place.clock.advance(until - place.clock.now().timestamp())
    assert waive(place, FAILED).is_waived


def test_running_job_can_be_waived(place: Place, contacts: Callable[..., bytes]) -> None:
    """Nobody holds a job of Qualtrics: it can be given up, and the person is told that it may still take effect."""
    begin_with_a_dead_letter(place, contacts)
    put_entry(place, Entry(State.STARTED, nonce="theirs", job_id="PGRS_1"))
    candidate = waive(place, FAILED)
    assert (candidate.is_waived, candidate.may_have_acted) == (True, True)


def test_batch_without_an_entry_can_be_waived(place: Place, contacts: Callable[..., bytes]) -> None:
    """A message that never got as far as its claim is given up by an entry that nobody may claim any more."""
    begin_with_a_dead_letter(place, contacts)
    place.bucket.delete(f"{IMPORTS}{FAILED}")
    assert waive(place, FAILED).is_waived
    place.redrive("import_contacts")
    place.run()
    entry = place.entry("import_contacts", FAILED)
    assert entry is not None
    assert (entry.state, len(place.members())) == (State.WAIVED, 4)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ("3", f"Run {RUN} has no batch 00003. Its batches are 00000 to 00002."),
        ("x", "'x' is no batch. Its batches are 00000 to 00002."),
        ("1.2", "'1.2' is no batch. Its batches are 00000 to 00002."),
        ("1.0", f"import_contacts has no batch 00001.0 in run {RUN}: batch 00001 was not halved there."),
        (None, "import_contacts works on batches. Say which: --batch 00000."),
    ],
)
def test_batch_that_is_not_there_is_refused(
    place: Place, contacts: Callable[..., bytes], batch: str | None, message: str
) -> None:
    """A mistyped batch makes no entry; the error names what there is."""
    begin_with_a_dead_letter(place, contacts)
    before = place.keys("ledger/")
    with pytest.raises(ConfigurationError) as caught:
        waive(place, batch)
    assert str(caught.value).startswith(message)
    assert place.keys("ledger/") == before


def test_run_that_is_not_there_is_refused(place: Place) -> None:
    """A mistyped run makes no entry."""
    with pytest.raises(ConfigurationError, match=r"^There is no run acme-etl-ffff\. "):
        waivers(place).waive("acme-etl-ffff", "import_contacts", "0", WHY)
    assert place.keys("") == []


def test_batches_that_have_not_come_are_refused(place: Place, contacts: Callable[..., bytes]) -> None:
    """Before the run has come to a service, nothing of it can be given up there: what that is isn't known yet."""
    place.begin(contacts(6))
    place.run_only("parse_file")
    with pytest.raises(ConfigurationError, match=rf"^Run {RUN} has not come to import_contacts yet"):
        waive(place, "0")


def test_intake_is_not_waived(place: Place) -> None:
    """The next tick would look again, so nothing would be given up."""
    with pytest.raises(ConfigurationError, match=r"^fetch_sftp_file takes input in"):
        waive(place, None, "fetch_sftp_file")


def test_reason_is_asked_for(place: Place, contacts: Callable[..., bytes]) -> None:
    """Nothing is given up without a word why."""
    begin_with_a_dead_letter(place, contacts)
    with pytest.raises(ConfigurationError, match=r"^A waiver needs a reason"):
        waivers(place).waive(RUN, "import_contacts", FAILED, "  ")


# --- who wins ---------------------------------------------------------------------------------------------------------


def test_second_waiver_keeps_the_first_reason(place: Place, contacts: Callable[..., bytes]) -> None:
    """Two people at once: one reason is recorded, both are told of it, and the run goes on once."""
    begin_with_a_dead_letter(place, contacts)
    place.meanwhile(f"put {IMPORTS}{FAILED}", lambda: waivers(place).waive(RUN, "import_contacts", FAILED, "First."))
    second = waive(place, FAILED)
    assert second.held is not None
    assert (second.is_waived, second.held.entry.skipped) == (True, "First.")
    place.run()
    assert (place.scheduled(), place.calls("POST /distributions")) == (["Invite", "Reminder"], 1)


def test_worker_that_takes_the_entry_first_wins(place: Place, contacts: Callable[..., bytes]) -> None:
    """A redriven message that is claimed between look and put is under way: the waiver changes nothing, and says so."""
    begin_with_a_dead_letter(place, contacts)
    held = Entry(State.INTENT, generation=1, nonce="theirs", lease_seconds=120, call_possible=True)
    place.meanwhile(f"put {IMPORTS}{FAILED}", lambda: put_entry(place, held))
    assert waive(place, FAILED).refusal.startswith("A worker is at it.")
    assert place.entry("import_contacts", FAILED) == held


def test_worker_that_ends_first_wins(place: Place, contacts: Callable[..., bytes]) -> None:
    """What is done between look and put is not undone."""
    begin_with_a_dead_letter(place, contacts)
    done = Entry(State.DONE, nonce="theirs")
    place.meanwhile(f"put {IMPORTS}{FAILED}", lambda: put_entry(place, done))
    assert waive(place, FAILED).refusal == "It is done: there is nothing to waive."


def test_worker_whose_entry_was_waived_gives_way(with_slow_jobs: Place, contacts: Callable[..., bytes]) -> None:
    """A job that ends well after its batch was given up is not recorded over the waiver."""
    place = with_slow_jobs
    place.begin(contacts(2))
    place.meanwhile(f"put {IMPORTS}00000", lambda: place.meanwhile(f"put {IMPORTS}00000", lambda: waive(place, "0")))
    place.mishaps.armed[0].skip = 1
    place.run()
    assert [each.met for each in place.mishaps.armed] == [True, True]
    entry = place.entry("import_contacts", "00000")
    assert entry is not None
    assert (entry.state, place.letters("import_contacts"), place.scheduled()) == (
        State.WAIVED,
        [],
        ["Invite", "Reminder"],
    )


def test_entry_that_others_change_again_and_again_is_left(place: Place, contacts: Callable[..., bytes]) -> None:
    """A waiver does not go on for ever against others."""
    begin_with_a_dead_letter(place, contacts)
    for number in range(9):
        failed = Entry(State.FAILED, nonce=str(number))
        place.meanwhile(f"put {IMPORTS}{FAILED}", lambda failed=failed: put_entry(place, failed))
    with pytest.raises(LostClaimError):
        waive(place, FAILED)


# --- what breaks off --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "boundary",
    [
        f"put {IMPORTS}{FAILED}",
        f"put ledger/{RUN}/schedule_distribution/arrived/",
        f"put ledger/{RUN}/schedule_distribution/complete/",
        "send schedule_distribution",
    ],
)
def test_waiver_that_breaks_off_is_finished_by_the_next(
    place: Place, contacts: Callable[..., bytes], boundary: str, after: bool
) -> None:
    """Cut off anywhere, the same command again finishes it; the run goes on, once."""
    begin_with_a_dead_letter(place, contacts)
    place.mishap(boundary, KeyboardInterrupt(), after=after)
    with pytest.raises(KeyboardInterrupt):
        waive(place, FAILED)
    assert waive(place, FAILED).is_waived
    place.run()
    assert (place.scheduled(), place.calls("POST /distributions"), len(place.members())) == (
        ["Invite", "Reminder"],
        1,
        4,
    )


def test_waiver_that_breaks_off_is_finished_by_the_message(place: Place, contacts: Callable[..., bytes]) -> None:
    """Recorded but not told: the dead letter, sent back, tells those that wait, and does nothing else."""
    begin_with_a_dead_letter(place, contacts)
    place.mishap(f"put ledger/{RUN}/schedule_distribution/arrived/", RetryableError("S3 is away"))
    with pytest.raises(RetryableError):
        waive(place, FAILED)
    place.run()
    assert place.scheduled() == []
    place.redrive("import_contacts")
    place.run()
    assert (place.scheduled(), len(place.members()), place.letters("import_contacts")) == (
        ["Invite", "Reminder"],
        4,
        [],
    )


def test_unanswered_put_of_a_waiver_is_known_as_its_own(place: Place, contacts: Callable[..., bytes]) -> None:
    """A put that got through without an answer is the waiver, and is told like any other."""
    begin_with_a_dead_letter(place, contacts)
    place.mishap(f"put {IMPORTS}{FAILED}", RetryableError("no answer"), after=True)
    assert waive(place, FAILED).is_waived
    place.run()
    assert place.scheduled() == ["Invite", "Reminder"]


# --- several services, halves, services that work on runs -------------------------------------------------------------


def chain_of_two(place: Place, **settings: object) -> None:
    """Let two services that work on batches follow each other."""
    place.use(
        "fetch_sftp_file",
        "parse_file",
        "create_mailing_list",
        "import_contacts",
        "import_again",
        "schedule_distribution",
        import_again={"kind": "import_contacts"},
        parse_file={"settings": {"rows_per_batch": 2}},
        **settings,
    )


def test_waived_batch_counts_as_there_beyond_the_services_that_it_misses(
    place: Place, contacts: Callable[..., bytes]
) -> None:
    """Where two services work on batches, the second never hears of it, and the invitation doesn't wait for it."""
    chain_of_two(place)
    place.fault("failed_job", skip=1)
    place.begin(contacts(6))
    place.run()
    assert place.scheduled() == []
    (letter,) = place.letters("import_contacts")
    failed = Message.decode(letter.body).batch
    waive(place, failed)
    place.run()
    assert (place.scheduled(), len(place.keys(f"ledger/{RUN}/import_again/"))) == (["Invite"], 2)
    with pytest.raises(ConfigurationError) as caught:
        waive(place, failed, "import_again")
    assert str(caught.value) == (
        f"Batch {failed} was waived at import_contacts, so it never comes to import_again. There is nothing to do."
    )


def test_batch_that_another_service_still_works_on_is_refused(place: Place, contacts: Callable[..., bytes]) -> None:
    """Given up where it has not come yet, it would let the others go on before the service at work was done with it."""
    chain_of_two(place)
    place.fault("failed_job", skip=1)
    place.begin(contacts(6))
    place.run()
    (letter,) = place.letters("import_contacts")
    failed = Message.decode(letter.body).batch
    with pytest.raises(ConfigurationError) as caught:
        waive(place, failed, "import_again")
    assert str(caught.value) == (
        f"Batch {failed} has not come to import_again: import_contacts is not done with it."
        " Waive it at import_contacts: that counts for the services behind it too."
    )


def test_halved_batch_is_waived_by_its_halves(place: Place, contacts: Callable[..., bytes]) -> None:
    """A batch that was cut in two is done; the half that failed is what can be given up, and then the run goes on."""
    begin_with_a_dead_letter(place, contacts)
    entry = place.entry("import_contacts", FAILED)
    assert entry is not None
    told = place.letters("import_contacts")[0].body
    message = Message.decode(told)
    halves = tuple(
        Output(How.SEND, message.after("import_contacts", batch=f"{FAILED}.{half}").encode()) for half in (0, 1)
    )
    split = Output(How.SPLIT, message.after("schedule_distribution").encode())
    put_entry(place, Entry(State.DONE, nonce="x", skipped="It is larger.", outputs=(split, *halves)))
    place.queues.of("import_contacts")
    place.step("import_contacts")._outbox.send_all((split,))
    refused = waive(place, FAILED)
    assert refused.refusal == (
        "Batch 00001 was too large for one request of import_contacts: 00001.0 and 00001.1 took its place."
        " Name the half that is meant, or both."
    )
    assert waive(place, f"{FAILED}.0").is_waived
    assert place.waiting("schedule_distribution") == []
    assert waive(place, f"{FAILED}.1").is_waived
    assert [Message.decode(each.body).batch for each in place.waiting("schedule_distribution")] == ["all"]


def test_waived_service_of_a_run_ends_its_chain(place: Place, contacts: Callable[..., bytes]) -> None:
    """A run-level service that is given up tells nobody: what stands behind it is not done."""
    place.fault("forbidden", method="POST", path="/distributions")
    place.begin(contacts(4))
    place.run()
    assert waive(place, None, "schedule_distribution").is_waived
    place.redrive("schedule_distribution")
    place.run()
    assert (place.scheduled(), place.keys(f"ledger/{RUN}/schedule_reminder/")) == ([], [])
    assert place.letters("schedule_distribution") == []


def test_run_level_service_can_be_waived_before_it_is_reached(place: Place, contacts: Callable[..., bytes]) -> None:
    """Who does not want the invitation of a run says so before it is made; contacts are imported, nobody is mailed."""
    place.begin(contacts(4))
    place.run(until=lambda: bool(place.lists()))
    assert waive(place, None, "schedule_distribution").is_waived
    place.run()
    assert (place.scheduled(), len(place.members())) == ([], 4)


@pytest.mark.parametrize("service", ["create_mailing_list", "schedule_distribution", "create_more", "parse_more"])
def test_run_level_service_that_the_run_has_not_come_to_is_refused(
    place: Place, contacts: Callable[..., bytes], service: str
) -> None:
    """Before the file is parsed nobody knows how many rows are given up; another chain's service gives up none."""
    more = {"fetch_more": "fetch_sftp_file", "parse_more": "parse_file", "create_more": "create_mailing_list"}
    place.workflow = place.workflow_of(
        {
            "contacts": (
                "fetch_sftp_file",
                "parse_file",
                "create_mailing_list",
                "import_contacts",
                "schedule_distribution",
            ),
            "more": (*more, "import_more"),
        },
        {name: {"kind": kind} for name, kind in more.items()} | {"import_more": {"kind": "import_contacts"}},
    )
    place.rebuild_queues()
    put_entry(place, Entry(State.INTENT, nonce="theirs"), "all", "parse_file")
    place.begin(contacts(4))
    before = place.keys("ledger/")
    with pytest.raises(ConfigurationError) as caught:
        waive(place, None, service)
    assert str(caught.value) == (
        f"Run {RUN} has not come to {service} yet, so {service} can't be waived."
        f" Where it is: make status STAGE=... RUN={RUN}"
    )
    assert place.keys("ledger/") == before


def test_file_that_nobody_could_parse_can_be_given_up(client: Client, place: Place) -> None:
    """Work that failed before it wrote anything down is known by the file that began its run."""
    run = letter_of_parse_file(client, place)
    assert place.keys(f"ledger/{run}/") == []
    assert waivers(place).waive(run, "parse_file", None, WHY).is_waived
    place.redrive("parse_file")
    place.run()
    assert (place.letters("parse_file"), place.lists()) == ([], [])


def letter_of_parse_file(client: Client, place: Place) -> str:
    """Let a fetched file's tries at `parse_file` be used up, before it writes anything down; return its run."""
    for _ in range(3):
        place.mishap("/batches/", RetryableError("No answer."))
    client.drop(age_seconds=600)
    for _ in range(2):
        client.tick()
        place.run()
    (letter,) = place.letters("parse_file")
    return Message.decode(letter.body).run


@pytest.mark.parametrize("why", ["  ", "...", "?"])
def test_reason_has_words(why: str) -> None:
    """A command that is pasted as it was shown has no reason in it yet."""
    with pytest.raises(ConfigurationError, match=r"^A waiver needs a reason, in words"):
        check_reason(why)
