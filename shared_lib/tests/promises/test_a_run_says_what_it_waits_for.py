"""A run that stands still says for what, by name; somebody decides, and it goes on: with that work, or without it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from qualtrics_etl.cli.status import lines_of, wait_lines
from qualtrics_etl.errors import RetryableError
from qualtrics_etl.ledger import PUTS, Entry, How, Output, State, entry_key
from qualtrics_etl.local.dead_letters import dead_letters
from qualtrics_etl.messages import Message
from qualtrics_etl.receipt import write_receipt
from qualtrics_etl.runs import recent_runs
from qualtrics_etl.status import DeadLetter, Letters, Progress, RunState, RunStatus, Wait, status_of
from qualtrics_etl.steps.waivers import Waivers
from qualtrics_etl.summary import Rows, summarize_runs

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Client, Place, Poster

RUN = "acme-etl-0123456789ab"
WHY = "The client sends them anew."
Contacts = Callable[..., bytes]


def status(place: Place, run: str = RUN) -> RunStatus:
    """Return how far the run is."""
    letters = (
        DeadLetter(each.service, each.run, each.batch, each.error, each.cause, each.remedy)
        for each in dead_letters(place.workflow, place.queues)
    )
    found = status_of(place.workflow, place.bucket, run, Letters(tuple(letters)))
    assert found is not None
    return found


def waive(place: Place, service: str, batch: str | None = None, run: str = RUN) -> bool:
    """Give a piece of work up."""
    return Waivers(place.workflow, place.bucket, place.queues).waive(run, service, batch, WHY).is_waived


def receipt(place: Place) -> list[str]:
    """Return the lines of the run's receipt, which accounts for every row."""
    out = io.StringIO(newline="")
    assert write_receipt(place.workflow, place.bucket, RUN, "import_contacts", out).is_balanced
    return out.getvalue().splitlines()[1:]


def fail_second_batch(place: Place, contacts: Contacts) -> None:
    """Run a file of six people in three batches, of which the second fails."""
    place.use(parse_file={"settings": {"rows_per_batch": 2}})
    place.fault("failed_job", skip=1)
    place.begin(contacts(6))
    place.run()


def progress(found: RunStatus) -> dict[str, list[str]]:
    """Return how far each piece of each service is, in words."""
    return {each.service: [piece.value for piece in each.pieces.values()] for each in found.services}


def test_run_with_a_dead_letter_waits_for_it_by_name(place: Place, contacts: Contacts) -> None:
    """The invitation waits for one batch, and it is said for which, why, and what comes next."""
    fail_second_batch(place, contacts)
    found = status(place)
    assert (found.state, found.waits) == (
        RunState.DEAD_LETTERED,
        (Wait("schedule_distribution", "import_contacts", ("00001",)),),
    )
    assert progress(found) == {
        "parse_file": ["done"],
        "create_mailing_list": ["done"],
        "import_contacts": ["done", "dead-lettered", "done"],
        "schedule_distribution": ["not come"],
        "schedule_reminder": ["not come"],
    }
    (letter,) = found.dead
    text = "\n".join(lines_of(found, "prod", place.clock.now()))
    assert "schedule_distribution waits for import_contacts batch 00001 (dead-lettered)" in text
    assert f"import_contacts batch 00001: PermanentError\n  cause:  {letter.cause}\n  remedy: {letter.remedy}" in text
    assert text.endswith(
        "Next:\n"
        "  make redrive STAGE=prod SERVICE=import_contacts   # when the cause is gone\n"
        f'  make waive STAGE=prod SERVICE=import_contacts RUN={RUN} BATCH="00001" WHY="..."   # to go on without it'
    )
    assert (found.summary.rows["import_contacts"].unaccounted, place.scheduled()) == (2, [])


def test_waiver_lets_the_run_go_on_without_the_batch(place: Place, contacts: Contacts) -> None:
    """The others are invited, once; the rows of the batch are counted as waived, and the sum is right."""
    fail_second_batch(place, contacts)
    assert waive(place, "import_contacts", "1")
    place.run()
    found = status(place)
    assert (place.scheduled(), len(place.members()), found.state) == (["Invite", "Reminder"], 4, RunState.FINISHED)
    assert found.summary.rows == {"import_contacts": Rows(read=6, loaded=4, waived=2)}
    assert (found.summary.rows["import_contacts"].unaccounted, found.waits, found.dead) == (0, (), ())
    assert receipt(place) == [
        *(f"{line},loaded,," for line in (2, 3)),
        *(f"{line},waived,,{WHY}" for line in (4, 5)),
        *(f"{line},loaded,," for line in (6, 7)),
    ]
    assert place.calls("POST /distributions") == 1


def test_redrive_lets_the_run_go_on_with_the_batch(place: Place, contacts: Contacts) -> None:
    """When the cause is gone, the letter is sent back instead, and everybody is invited."""
    fail_second_batch(place, contacts)
    place.redrive("import_contacts")
    place.run()
    found = status(place)
    assert (place.scheduled(), len(place.members()), found.state) == (["Invite", "Reminder"], 6, RunState.FINISHED)
    assert found.summary.rows == {"import_contacts": Rows(read=6, loaded=6)}


def test_waived_letter_that_is_sent_back_does_nothing(place: Place, contacts: Contacts) -> None:
    """After the waiver, redriving only drains the dead-letter queue: nobody is added, nobody invited again."""
    fail_second_batch(place, contacts)
    assert waive(place, "import_contacts", "1")
    place.run()
    calls = len(place.transport.sent)
    place.duplicates = True
    place.redrive("import_contacts")
    place.run()
    assert (len(place.transport.sent), len(place.members()), place.letters("import_contacts")) == (calls, 4, [])
    assert status(place).state is RunState.FINISHED


def test_waived_batch_is_there_for_all_branches(place: Place, contacts: Contacts) -> None:
    """What is given up in one branch is not given up in the other."""
    place.workflow = place.workflow_of(
        {
            "contacts": ("fetch_sftp_file", "parse_file", "create_mailing_list", "import_contacts"),
            "staff": ("fetch_sftp_file", "parse_file", "create_staff_list", "import_staff", "schedule_distribution"),
        },
        {
            "create_staff_list": {"kind": "create_mailing_list"},
            "import_staff": {"kind": "import_contacts"},
            "parse_file": {"settings": {"rows_per_batch": 2}},
        },
    )
    place.rebuild_queues()
    place.fault("failed_job", count=2)
    place.begin(contacts(4))
    place.run()
    for letter in status(place).dead:
        assert waive(place, letter.service, letter.batch)
    place.run()
    found = status(place)
    assert (found.state, place.scheduled()) == (RunState.FINISHED, ["Invite"])
    sums = {
        name: (rows.loaded + rows.updated, rows.waived, rows.unaccounted) for name, rows in found.summary.rows.items()
    }
    assert sum(waived for _, waived, _ in sums.values()) == 4
    assert {unaccounted for *_, unaccounted in sums.values()} == {0}


def test_waived_list_ends_the_run_and_its_rows(place: Place, contacts: Contacts) -> None:
    """A run without a list imports nobody and invites nobody: everything behind will not run, every row is waived."""
    place.fault("forbidden", path="*/mailinglists")
    place.begin(contacts(5))
    place.run()
    found = status(place)
    assert found.waits == (Wait("import_contacts", "create_mailing_list", ("all",)),)
    assert list(wait_lines(found)) == ["import_contacts waits for create_mailing_list (dead-lettered)"]
    assert waive(place, "create_mailing_list")
    place.redrive("create_mailing_list")
    place.run()
    found = status(place)
    assert (place.lists(), place.members(), place.scheduled()) == ([], [], [])
    assert progress(found) == {
        "parse_file": ["done"],
        "create_mailing_list": ["waived"],
        "import_contacts": ["will not come"],
        "schedule_distribution": ["will not come"],
        "schedule_reminder": ["will not come"],
    }
    assert (found.state, found.summary.rows) == (
        RunState.FINISHED,
        {"import_contacts": Rows(read=5, waived=5)},
    )
    assert receipt(place) == [f"{line},waived,,{WHY}" for line in range(2, 7)]


def test_run_waits_at_the_first_of_two_services(place: Place, contacts: Contacts) -> None:
    """In a chain of services that work on batches, it is said at which of them a batch is."""
    place.use(
        "fetch_sftp_file",
        "parse_file",
        "create_mailing_list",
        "import_contacts",
        "import_again",
        "schedule_distribution",
        import_again={"kind": "import_contacts"},
        parse_file={"settings": {"rows_per_batch": 2}},
    )
    place.fault("failed_job", skip=1)
    place.begin(contacts(6))
    place.run()
    found = status(place)
    (letter,) = found.dead
    assert letter.service == "import_contacts"
    assert found.waits == (Wait("schedule_distribution", "import_contacts", (letter.batch,)),)
    assert sorted(progress(found)["import_again"]) == ["done", "done", "not come"]
    assert waive(place, "import_contacts", letter.batch)
    place.run()
    found = status(place)
    assert (found.state, found.summary.rows) == (
        RunState.FINISHED,
        {
            "import_contacts": Rows(read=6, loaded=4, waived=2),
            "import_again": Rows(read=6, updated=4, waived=2),
        },
    )


def test_run_is_told_by_the_chain_that_it_goes_through(place: Place, contacts: Contacts) -> None:
    """Where chains of several intakes end alike, what the other chain would have done is not missed, nor waited for."""
    kinds = {
        "fetch_other": "fetch_sftp_file",
        "parse_other": "parse_file",
        "create_other": "create_mailing_list",
        "import_other": "import_contacts",
        "import_again": "import_contacts",
    }
    end = ("import_again", "schedule_distribution")
    place.workflow = place.workflow_of(
        {
            "other": ("fetch_other", "parse_other", "create_other", "import_other", *end),
            "contacts": ("fetch_sftp_file", "parse_file", "create_mailing_list", "import_contacts", *end),
        },
        {name: {"kind": kind} for name, kind in kinds.items()} | {"parse_file": {"settings": {"rows_per_batch": 2}}},
    )
    place.rebuild_queues()
    place.fault("failed_job", skip=2)
    place.begin(contacts(4))
    place.run()
    found = status(place)
    (letter,) = found.dead
    assert [each.service for each in found.services] == ["parse_file", "create_mailing_list", "import_contacts", *end]
    assert found.waits == (Wait("schedule_distribution", letter.service, (letter.batch,)),)
    assert letter.service == "import_again"
    assert waive(place, letter.service, letter.batch)
    place.run()
    assert (status(place).state, place.scheduled()) == (RunState.FINISHED, ["Invite"])


def test_half_that_waits_is_named(place: Place, contacts: Contacts) -> None:
    """Of a batch that was cut in two, the half that is missing is what is waited for."""
    fail_second_batch(place, contacts)
    message = Message.decode(place.letters("import_contacts")[0].body)
    halves = [Output(How.SEND, message.after("import_contacts", batch=f"00001.{n}").encode()) for n in (0, 1)]
    split = Output(How.SPLIT, message.after("schedule_distribution").encode())
    entries = {
        "00001": Entry(State.DONE, nonce="x", outputs=(split, *halves)),
        "00001.0": Entry(State.DONE, nonce="y"),
        "00001.1": Entry(State.INTENT, nonce="z"),
    }
    for batch, entry in entries.items():
        place.bucket.put(entry_key(RUN, "import_contacts", batch), entry.encode())
    found = status(place)
    assert found.waits == (Wait("schedule_distribution", "import_contacts", ("00001.1",)),)
    assert {each.service: each.pieces for each in found.services}["import_contacts"] == {
        "00000": Progress.DONE,
        "00001.0": Progress.DONE,
        "00001.1": Progress.UNDER_WAY,
        "00002": Progress.DONE,
    }


def test_waiver_that_was_not_told_is_seen(place: Place, contacts: Contacts) -> None:
    """A waiver that broke off before it told anybody is named, with the command that finishes it."""
    fail_second_batch(place, contacts)
    wiring = place.step("import_contacts")._wiring
    place.mishap(f"put ledger/{RUN}/schedule_distribution/arrived", RetryableError("S3 is away"))
    with pytest.raises(RetryableError):
        Waivers(place.workflow, wiring.objects, wiring.queues).waive(RUN, "import_contacts", "1", WHY)
    found = status(place)
    assert (found.state, found.waits) == (
        RunState.WAITING,
        (
            Wait("schedule_distribution", "import_contacts", ("00001",), untold=True, waived=True),
            Wait("schedule_reminder", "schedule_distribution", ("all",)),
        ),
    )
    assert "   # again, to finish it" in "\n".join(lines_of(found, "prod", place.clock.now()))
    assert waive(place, "import_contacts", "1")
    place.run()
    assert status(place).state is RunState.FINISHED


def test_many_batches_are_named_by_the_first_few_and_their_number(place: Place, contacts: Contacts) -> None:
    """A run of many batches that all wait is told in a line, with all of them for machines."""
    place.use(parse_file={"settings": {"rows_per_batch": 1}})
    place.begin(contacts(12))
    place.run(until=lambda: bool(place.waiting("import_contacts")))
    found = status(place)
    assert list(wait_lines(found)) == [
        "schedule_distribution waits for import_contacts batches 00000, 00001, 00002, 00003, 00004 and 7 more"
    ]
    assert (found.state, len(found.waits[0].batches)) == (RunState.WAITING, 12)


def test_file_without_good_rows_is_finished(place: Place) -> None:
    """A run that has no batches waits for none."""
    place.use(parse_file={"settings": {"max_reject_ratio": 1.0}})
    place.begin(b"email,first_name\n")
    place.run()
    assert (status(place).state, status(place).waits) == (RunState.FINISHED, ())


def test_refused_file_is_dead_lettered_until_it_is_given_up(place: Place) -> None:
    """A file that can't be used keeps nobody waiting but its own letter; given up, the run is finished."""
    place.begin(b"email,first_name\nx,y,z\n")
    place.run()
    assert status(place).state is RunState.DEAD_LETTERED
    assert waive(place, "parse_file")
    found = status(place)
    assert (found.state, found.dead) == (RunState.FINISHED, ())


def test_runs_are_listed_with_their_files_the_latest_first(client: Client, place: Place) -> None:
    """Runs of files are listed, ticks are not; of each its file is named."""
    for number in range(3):
        client.drop(f"contacts-{number}.csv", f"email\np{number}@client.example\n".encode(), age_seconds=600)
        client.tick()
        place.run()
        client.tick()
        place.run()
        place.clock.advance(3600)
    runs = recent_runs(place.workflow, place.bucket, 2, place.clock.now())
    assert [status(place, run).summary.file_name for run in runs] == ["contacts-2.csv", "contacts-1.csv"]
    assert {run.run for run in summarize_runs(place.workflow, place.bucket)} >= set(runs)


def test_listing_of_runs_jumps_over_large_ones(place: Place) -> None:
    """A run with thousands of marks costs a page or two, and hides none of its neighbours."""
    for run, keys in (("aa", 3), ("bb", 2500), ("bb-fetch_more", 1), ("bb1", 1), ("cc", 1000), ("dd", 1)):
        for number in range(keys):
            place.bucket.put(f"ledger/acme-etl-{run}/import_contacts/{number:05}", b"")
        place.clock.advance(60)
    runs = recent_runs(place.workflow, place.bucket, 10, place.clock.now())
    assert runs == [f"acme-etl-{run}" for run in ("dd", "cc", "bb1", "bb-fetch_more", "bb", "aa")]


def test_run_that_nobody_knows_has_no_status(place: Place) -> None:
    """A mistyped run is not a finished one."""
    assert status_of(place.workflow, place.bucket, "acme-etl-ffffffffffff", Letters()) is None


# --- what is wrong before, between and behind the entries -------------------------------------------------------------


def break_off(place: Place, boundary: str) -> None:
    """Let all three tries of a message break off there."""
    for _ in range(3):
        place.mishap(boundary, RetryableError("No answer."))


def suggested(place: Place, found: RunStatus) -> list[str]:
    """Return the commands that come next, without what is said of them."""
    text = "\n".join(lines_of(found, "prod", place.clock.now()))
    return [line.split("   #")[0].strip() for line in text.partition("\nNext:\n")[2].splitlines()]


def check_waivers_are_taken(place: Place, found: RunStatus) -> int:
    """Look at every piece that `Next:` says can be waived: none is refused. Return how many there are."""
    count = 0
    for command in suggested(place, found):
        if named := re.fullmatch(
            r'make waive STAGE=prod SERVICE=(\w+) RUN=(\S+)(?: BATCH="(.*)")? WHY="\.\.\."', command
        ):
            for batch in named[3].split() if named[3] else [None]:
                candidate = Waivers(place.workflow, place.bucket, place.queues).look(named[2], named[1], batch)
                assert candidate.refusal == ""
                count += 1
    return count


def test_run_that_wrote_nothing_down_is_there_by_its_letter(place: Place, client: Client) -> None:
    """A file whose parsing breaks off again and again has no ledger: its letter tells, and it can be given up."""
    break_off(place, "/batches/")
    client.drop(age_seconds=600)
    for _ in range(2):
        client.tick()
        place.run()
    (letter,) = place.letters("parse_file")
    run = Message.decode(letter.body).run
    found = status(place, run)
    assert (found.state, found.summary.file_name) == (RunState.DEAD_LETTERED, "contacts.csv")
    assert progress(found)["parse_file"] == ["dead-lettered"]
    for lettered in ((), (run,)):
        assert recent_runs(place.workflow, place.bucket, 9, place.clock.now(), lettered) == [run]
    month_later = place.clock.now() + timedelta(days=31)
    assert recent_runs(place.workflow, place.bucket, 9, month_later) == []
    assert recent_runs(place.workflow, place.bucket, 9, month_later, (run,)) == [run]
    assert check_waivers_are_taken(place, found) == 1
    for each in place.queues.dead_letters_of("parse_file").receive():
        place.queues.dead_letters_of("parse_file").delete(each.receipt)
    assert progress(status(place, run))["parse_file"] == ["queued"]


def test_post_is_there_from_its_answer_on(place: Place, poster: Poster) -> None:
    """What was accepted waits, though none of its services has written anything down."""
    found = status(place, poster.post_until_accepted())
    assert (found.state, progress(found)["receive_post"]) == (RunState.WAITING, ["queued"])
    assert [each.service for each in found.services] == list(place.workflow.services)


def test_intake_that_could_not_tell_is_sent_back_not_waived(place: Place, poster: Poster) -> None:
    """A POST whose service is done and could tell nobody is dead-lettered; only its letter helps."""
    run = poster.post_until_accepted()
    break_off(place, f"send {place.queues.of('parse_file').name}")
    place.run()
    found = status(place, run)
    assert (found.state, suggested(place, found)) == (
        RunState.DEAD_LETTERED,
        ["make redrive STAGE=prod SERVICE=receive_post"],
    )


def test_tick_is_there_by_its_letter(place: Place, client: Client) -> None:
    """A look for files that failed is no run of a file: of it only the look is told."""
    for _ in range(PUTS):
        break_off(place, "put ledger/fetch_sftp_file")
    client.tick()
    place.run()
    (letter,) = place.letters("fetch_sftp_file")
    run = Message.decode(letter.body).run
    found = status(place, run)
    assert (found.state, progress(found)) == (RunState.DEAD_LETTERED, {"fetch_sftp_file": ["dead-lettered"]})
    assert suggested(place, found) == ["make redrive STAGE=prod SERVICE=fetch_sftp_file"]


@pytest.mark.parametrize(
    ("service", "boundary"),
    [
        ("create_mailing_list", "send import-contacts"),
        ("import_contacts", "send schedule-distribution"),
        ("import_contacts", "put outcomes/"),
        ("import_contacts", f"put ledger/{RUN}/schedule_distribution/arrived"),
    ],
)
def test_letter_of_work_that_is_done_is_seen(place: Place, contacts: Contacts, service: str, boundary: str) -> None:
    """Done, but the tries were used up before all were told: the run stands still, and only the letter helps."""
    what, _, where = boundary.partition(" ")
    break_off(place, f"send {place.queues.of(where.replace('-', '_')).name}" if what == "send" else boundary)
    place.begin(contacts(2))
    place.run()
    found = status(place)
    assert (found.state, [(each.service, each.done) for each in found.dead]) == (
        RunState.DEAD_LETTERED,
        [(service, True)],
    )
    assert "RetryableError (done, but not all may have been told)" in "\n".join(
        lines_of(found, "prod", place.clock.now())
    )
    assert suggested(place, found) == [f"make redrive STAGE=prod SERVICE={service}"]
    place.redrive(service)
    place.run()
    assert (status(place).state, place.scheduled()) == (RunState.FINISHED, ["Invite", "Reminder"])


def test_suggested_waivers_are_taken(place: Place, contacts: Contacts) -> None:
    """A batch, a service of a run, and a file that was continued: what is suggested is not refused."""
    fail_second_batch(place, contacts)
    assert check_waivers_are_taken(place, status(place)) == 1
    (letter,) = place.letters("import_contacts")
    told = Message.decode(letter.body)
    onward = Output(How.SEND, told.after("parse_file", batch="c0001").encode())
    for batch, entry in (("all", Entry(State.DONE, outputs=(onward,))), ("c0001", Entry(State.FAILED))):
        place.bucket.put(entry_key(RUN, "parse_file", batch), entry.encode())
    letter = DeadLetter("parse_file", RUN, "c0001", "PermanentError", "It failed.", "Mend it.")
    found = status_of(place.workflow, place.bucket, RUN, Letters((letter,)))
    assert found is not None
    assert f'make waive STAGE=prod SERVICE=parse_file RUN={RUN} WHY="..."' in suggested(place, found)
    assert check_waivers_are_taken(place, found) == 2


def test_run_that_can_not_be_read_is_called_so(place: Place, contacts: Contacts) -> None:
    """An entry that is none ends no listing: its run is unreadable, and which object it is."""
    place.begin(contacts(2))
    place.run()
    key = entry_key(RUN, "import_contacts", "00000")
    place.bucket.put(key, b'{"state":"done"}')
    found = status(place)
    assert (found.state, found.services) == (RunState.UNREADABLE, ())
    assert found.unreadable.startswith(f"The ledger object {key} can't be read")
