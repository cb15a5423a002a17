"""A whole workflow on one machine: real handlers, real SFTP, a simulator; stopped, resumed, repeated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.engine import Progress
from qualtrics_etl.local.repository import open_repository
from qualtrics_etl.local.run import LocalRun
from qualtrics_etl.local.summary import Rows, dead_letters, skipped_files, summarize_runs

Make = Callable[..., Path]


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
        """Return what became of each file's rows."""
        return [run.rows for run in summarize_runs(self.repository.workflow, place.objects)]


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


def test_killed_run_is_finished_from_the_objects_alone(make_repository: Make, write_contacts: Make) -> None:
    """Without the saved queues, the client's file is fetched again and everything falls to what is recorded."""
    here = Place(make_repository())
    here.run_until(write_contacts(), 6)
    (here.state / "state.json").unlink()
    place = here.run(write_contacts())
    assert (people(place), len(sends(place)), here.rows(place)) == ([5], 2, [Rows(read=5, loaded=5)])


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


def test_serial_service_does_its_work_too(make_repository: Make, write_contacts: Make) -> None:
    """A FIFO queue holds back what has to wait, and the run still comes to its end."""
    root = make_repository(parse_file={"rows_per_batch": 2})
    path = root / "workflow.yml"
    path.write_text(path.read_text().replace("concurrency: 2", "concurrency: serial"))
    here = Place(root)
    place = here.run(write_contacts())
    assert (people(place), len(sends(place)), here.rows(place)) == ([5], 2, [Rows(read=5, loaded=5)])
