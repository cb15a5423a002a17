"""A whole workflow on one machine: real handlers, real SFTP, a simulator; stopped, resumed, repeated."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typing_extensions import override

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.dead_letters import dead_letters
from qualtrics_etl.local.engine import Progress
from qualtrics_etl.local.repository import open_repository
from qualtrics_etl.local.run import LocalRun
from qualtrics_etl.summary import Rows, skipped_files, summarize_runs
from qualtrics_etl.testing import Disturbance, Outcome, WorkflowChecks, run_workflow

Make = Callable[..., Path]
COMMAND = [sys.executable, "-m", "qualtrics_etl", "run", "--no-rate-limits"]
OWN_FETCH = """\
from qualtrics_etl import FetchSftpFile, lambda_handler


class OwnSettings(FetchSftpFile.Settings):
    owner: str


class OwnFetch(FetchSftpFile):
    Settings = OwnSettings


handler = lambda_handler(OwnFetch)
"""


class Place:
    """A repository and its state folder, used for one run after another."""

    def __init__(self, root: Path) -> None:
        self.repository = open_repository(root)
        self.state = root / ".qetl"

    def run(self, *files: Path, duplicates: bool = False) -> LocalRun:
        """Drop files one after the other and run until nothing is left."""
        place = LocalRun(self.repository, self.state, duplicates=duplicates)
        with place:
            for file in files:
                place.drop(file)
            assert place.engine.run()
        return place

    def run_until(self, file: Path, calls: int) -> LocalRun:
        """Drop a file and stop after so many calls of handlers."""
        seen: list[Progress] = []

        def observe(progress: Progress) -> None:
            seen.append(progress)
            place.engine.stop_requested = len(seen) >= calls

        place = LocalRun(self.repository, self.state, observe=observe)
        with place:
            place.drop(file)
            assert not place.engine.run()
        return place

    def rows(self, place: LocalRun) -> list[Rows]:
        """Return what became of each file's rows, at each service that imports them."""
        runs = summarize_runs(self.repository.workflow, place.objects)
        return [rows for run in runs for rows in run.rows.values()]


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a file is there, or the process that writes it has ended."""
    while not path.exists() and process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.01)


def sends(place: LocalRun) -> list[tuple[str, int]]:
    """Return what is scheduled in the simulator: kind and number of people of each."""
    scheduled = place.simulator.mailings()["scheduled"]
    assert isinstance(scheduled, list)
    return [(each["kind"], each["recipients"]) for each in scheduled]


def people(place: LocalRun) -> list[int]:
    """Return how many are in each mailing list."""
    return [len(each.members) for each in place.simulator.state.mailing_lists.values()]


def test_file_becomes_list_invitation_and_reminder(make_repository: Make, write_contacts: Make) -> None:
    """Good rows are in the list once, bad ones are put aside, one invitation and one reminder are scheduled."""
    here = Place(make_repository(parse_file={"rows_per_batch": 2}))
    place = here.run(write_contacts(good=5, bad=1))
    assert here.rows(place) == [Rows(read=6, loaded=5, rejected=1)]
    assert people(place) == [5]
    assert [kind for kind, _ in sends(place)] == ["Invite", "Reminder"]
    assert list(dead_letters(here.repository.workflow, place.queues)) == []


def test_same_content_under_another_name_imports_nothing(make_repository: Make, write_contacts: Make) -> None:
    """The second file is recognised by its content and begins no run, in the same session or a later one."""
    here = Place(make_repository())
    here.run(write_contacts(), write_contacts(name="again.csv"))
    place = here.run(write_contacts(name="later.csv"))
    assert here.rows(place) == [Rows(read=5, loaded=5)]
    assert (people(place), len(sends(place))) == ([5], 2)
    assert skipped_files(here.repository.workflow, place.objects)[0].startswith("Its content was taken before: run ")


def test_every_message_twice_ends_the_same(make_repository: Make, write_contacts: Make) -> None:
    """What a queue may do to each message changes nothing."""
    here = Place(make_repository(parse_file={"rows_per_batch": 2}))
    place = here.run(write_contacts(good=7), duplicates=True)
    assert (people(place), len(sends(place)), here.rows(place)) == ([7], 2, [Rows(read=7, loaded=7)])


@pytest.mark.parametrize("calls", range(1, 10))
def test_stopped_run_is_finished_by_the_next(make_repository: Make, write_contacts: Make, calls: int) -> None:
    """Wherever a run was stopped, what is on disk is enough to finish it, and nothing is done again."""
    here = Place(make_repository(parse_file={"rows_per_batch": 2}))
    assert here.run_until(write_contacts(), calls).is_unfinished
    place = here.run()
    assert not place.is_unfinished
    assert (people(place), len(sends(place)), here.rows(place)) == ([5], 2, [Rows(read=5, loaded=5)])


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6, 1.0])
def test_run_killed_at_any_moment_is_finished_by_the_next(
    make_repository: Make, write_contacts: Make, seconds: float
) -> None:
    """SIGKILL saves nothing: what was saved before fits together, and the rest is done again, once."""
    root, file = make_repository(parse_file={"rows_per_batch": 1}), write_contacts(good=40)
    process = subprocess.Popen([*COMMAND, str(file)], cwd=root, stdout=subprocess.DEVNULL)
    wait_for(root / ".qetl" / "state.json", process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.wait()
    here = Place(root)
    place = here.run()
    assert (people(place), len(sends(place)), here.rows(place)) == ([40], 2, [Rows(read=40, loaded=40)])


def test_state_that_was_half_written_is_not_used(make_repository: Make, write_contacts: Make) -> None:
    """A kill before a save is valid leaves the last one: the new simulator's file is not taken for its."""
    here = Place(make_repository())
    here.run_until(write_contacts(), 2)
    saves = json.loads((here.state / "state.json").read_text())["saves"]
    (here.state / f"simulator-{saves + 1}.json").write_text("half of it")
    place = here.run()
    assert (people(place), here.rows(place)) == ([5], [Rows(read=5, loaded=5)])


def test_settings_of_a_clients_own_are_known_where_a_file_is_dropped(
    make_repository: Make, write_contacts: Make
) -> None:
    """A fetching step with a setting of its own takes files like any other."""
    root = make_repository(fetch_sftp_file={"owner": "crm"})
    (root / "services" / "fetch_sftp_file" / "handler.py").write_text(OWN_FETCH)
    here = Place(root)
    assert here.rows(here.run(write_contacts())) == [Rows(read=5, loaded=5)]


def test_wholly_wrong_file_never_reaches_qualtrics(make_repository: Make, write_contacts: Make) -> None:
    """Too many bad rows stop the file; it waits with its cause, and Qualtrics hears of nothing."""
    here = Place(make_repository())
    place = here.run(write_contacts(good=1, bad=9))
    (letter,) = dead_letters(here.repository.workflow, place.queues)
    assert letter.service == "parse_file"
    assert letter.cause == (
        "contacts.csv: 9 of 10 rows were rejected, more than max_reject_ratio (20%) allows; nothing of it was sent to"
        " Qualtrics."
    )
    assert place.simulator.state.calls == {}


def test_file_without_rows_mails_nobody(make_repository: Make, write_contacts: Make) -> None:
    """A header alone is no mistake of anybody's: the run ends, and no list and no invitation are made."""
    here = Place(make_repository())
    place = here.run(write_contacts(good=0))
    assert (here.rows(place), people(place), sends(place)) == ([Rows()], [], [])
    assert list(dead_letters(here.repository.workflow, place.queues)) == []


def test_file_that_no_service_takes_is_told(make_repository: Make, write_contacts: Make) -> None:
    """A name that fits no pattern would wait on the server for ever."""
    here = Place(make_repository())
    with pytest.raises(ConfigurationError) as caught:
        here.run(write_contacts(name="contacts.txt"))
    assert str(caught.value) == (
        "No service would take contacts.txt: the patterns are *.csv (fetch_sftp_file)."
        " Rename the file, or change `pattern` in workflow.yml."
    )


def test_marker_file_lets_a_file_be_taken_at_once(make_repository: Make, write_contacts: Make) -> None:
    """Where the client writes markers, the run puts one too."""
    here = Place(make_repository(fetch_sftp_file={"marker_suffix": ".done", "folder": "/outbox"}))
    assert here.rows(here.run(write_contacts())) == [Rows(read=5, loaded=5)]


def test_branch_accounts_for_every_row_at_each_import(make_branch: Make, write_contacts: Make) -> None:
    """Two imports behind one parse each have the whole file, and each sum is right by itself."""
    here = Place(make_branch(parse_file={"rows_per_batch": 2}))
    (run,) = summarize_runs(here.repository.workflow, here.run(write_contacts(good=5, bad=1)).objects)
    sums = {name: (rows.read, rows.loaded + rows.updated, rows.unaccounted) for name, rows in run.rows.items()}
    assert sums == {"import_contacts": (6, 5, 0), "import_staff": (6, 5, 0)}
    assert sum(rows.loaded for rows in run.rows.values()) == 5


def test_checks_of_a_workflow_hold_for_a_branch(make_branch: Make, write_contacts: Make) -> None:
    """What the generated repository's own test asks of the sum is asked of each import."""
    root, file = make_branch(), write_contacts()

    class Checks(WorkflowChecks):
        @override
        def run(self, disturbance: Disturbance | None = None) -> Outcome:
            return run_workflow(root, str(file), disturbance or Disturbance())

    Checks().test_every_row_is_accounted_for()


def test_small_batches_are_several_in_a_clients_checks(make_repository: Make, write_contacts: Make) -> None:
    """The checks cut a small file into several batches, whatever the settings say, and the end is the same."""
    root, file = make_repository(), str(write_contacts(good=5))
    whole, cut = (run_workflow(root, file, Disturbance(rows_per_batch=rows)) for rows in (0, 2))
    assert (whole.done["import_contacts"], cut.done["import_contacts"]) == (1, 3)
    assert cut.end_state == whole.end_state


def test_serial_service_does_its_work_too(make_repository: Make, write_contacts: Make) -> None:
    """A FIFO queue holds back what has to wait, and the run still comes to its end."""
    root = make_repository(parse_file={"rows_per_batch": 2})
    path = root / "workflow.yml"
    path.write_text(path.read_text().replace("concurrency: 2", "concurrency: serial"))
    here = Place(root)
    place = here.run(write_contacts())
    assert (people(place), len(sends(place)), here.rows(place)) == ([5], 2, [Rows(read=5, loaded=5)])


def test_posted_file_goes_the_same_way_once(make_post_repository: Make, write_contacts: Make) -> None:
    """Where the workflow begins with a POST, the file is POSTed; the same content again begins no second run."""
    here = Place(make_post_repository())
    place = here.run(write_contacts())
    assert (people(place), len(sends(place)), here.rows(place)) == ([5], 2, [Rows(read=5, loaded=5)])
    first = place.posted_run
    place = here.run(write_contacts())
    assert (place.posted_run, people(place), len(sends(place))) == (first, [5], 2)
    assert list(dead_letters(here.repository.workflow, place.queues)) == []


def test_session_begins_after_all_that_an_earlier_one_wrote(make_repository: Make, write_contacts: Make) -> None:
    """However fast it is started: objects tell their time in whole seconds, and what is older is not this session's."""
    place = Place(make_repository())
    place.run(write_contacts())
    latest = max(each.last_modified for each in place.run().objects.list(""))
    assert LocalRun(place.repository, place.state).now() > latest


def test_second_post_says_that_it_begins_nothing(make_post_repository: Make, write_contacts: Make) -> None:
    """Who POSTs the same content again is told which run it is, and how to have it done anew."""
    root, file = make_post_repository(), write_contacts()
    outputs = [
        subprocess.run([*COMMAND, str(file)], cwd=root, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert ["The POST began no run" in output for output in outputs] == [False, True]
    assert "--fresh forgets earlier runs" in outputs[1]


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("write", [1, 2, 3, 4])
def test_post_is_repeated_where_the_store_fails(
    make_post_repository: Make, write_contacts: Make, write: int, *, after_effect: bool
) -> None:
    """The client that is told to come again does so: the end is that of an undisturbed run."""
    root, file = make_post_repository(), str(write_contacts())
    failing = Disturbance(service="receive_post", failing_write=write, after_effect=after_effect)
    disturbed = run_workflow(root, file, failing)
    assert disturbed.end_state == run_workflow(root, file, Disturbance()).end_state
    assert disturbed.dead_letters == ()


def test_post_that_is_refused_is_told(make_post_repository: Make, write_contacts: Make) -> None:
    """What the service answers is what the person reads."""
    here = Place(make_post_repository())
    with pytest.raises(ConfigurationError, match="receive_post answered 400: The `X-File-Name` can't be used"):
        here.run(write_contacts(name="-contacts.csv"))
