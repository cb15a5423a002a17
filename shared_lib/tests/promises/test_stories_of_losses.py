"""Random stories of a run: messages lost, letters deleted and sent back, workers killed, messages made anew meanwhile.

However it goes, the run comes to the end of one to which nothing happened.
"""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

import pytest

from qualtrics_etl.local.dead_letters import dead_letters
from qualtrics_etl.receipt import write_receipt
from qualtrics_etl.status import DeadLetter, Letters, RunState, status_of
from qualtrics_etl.steps.resending import Resending

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared_lib.tests.steps.conftest import Client, Place

CHAIN = ("fetch_sftp_file", "parse_file", "create_mailing_list", "import_contacts")
BOUNDARIES = ("/arrived/", "/complete/", "put ledger/", "put outcomes/", "send ", "POST ")
EVENTS = 60


class Story:
    """One run in two branches, and what happens to it.

    Args:
        seed: Tells all of it.
    """

    def __init__(self, place: Place, client: Client, content: bytes, seed: int) -> None:
        self.place = place
        self.random = random.Random(seed)
        place.settings["schedule_b"] = place.config.services["schedule_distribution"]
        serial: dict[str, object] = {"concurrency": "serial"} if seed % 4 == 3 else {}
        place.workflow = place.workflow_of(
            {
                "a": (*CHAIN, "schedule_distribution", "schedule_reminder"),
                "b": (*CHAIN, "import_b", "schedule_b"),
            },
            {
                "parse_file": {"settings": {"rows_per_batch": self.random.randint(1, 4)}},
                "import_contacts": serial,
                "import_b": {"kind": "import_contacts"},
                "schedule_distribution": serial,
                "schedule_b": {"kind": "schedule_distribution"},
            },
        )
        place.rebuild_queues()
        client.drop(content=content, age_seconds=600)
        for _ in range(2):
            client.tick()
            place.run(until=lambda: bool(place.waiting("parse_file")))
        (taken,) = (key for key in place.keys("files/") if not key.startswith("files/seen/"))
        self.run = f"acme-etl-{taken.removeprefix('files/')[:12]}"

    @property
    def letters(self) -> Letters:
        """What stands in the dead-letter queues."""
        found = dead_letters(self.place.workflow, self.place.queues)
        return Letters(
            tuple(DeadLetter(each.service, each.run, each.batch, each.error, each.cause, each.remedy) for each in found)
        )

    def resend(self) -> None:
        """Make messages anew, lost or not."""
        resending = Resending(self.place.workflow, self.place.bucket, self.place.queues)
        resending.send(resending.look(self.run, self.letters, self.place.clock.now()))

    def happen(self) -> None:
        """Let something happen, or nothing, and deliver to a service."""
        place, service = self.place, self.random.choice([*self.place.workflow.services])
        queue = place.queues.dead_letters_of(service)
        match self.random.randint(0, 24):
            case 0 | 1 | 2:
                place.lose(service)
            case 3 | 4 | 5:
                after, skip = self.random.random() < 0.5, self.random.randint(0, 3)
                place.mishap(self.random.choice(BOUNDARIES), after=after, skip=skip)
            case 6:
                place.fault("failed_job")
            case 7:
                place.redrive(service)
            case 8:
                for received in queue.receive():
                    queue.delete(received.receipt)
            case 9 | 10 | 11:
                self.resend()
        place.deliver(service)
        place.clock.advance(self.random.choice([0, 1, 5, 31, 130, 400]))

    def mend(self) -> None:
        """Let nothing more happen, and bring the run to its end as somebody on call does."""
        self.place.mishaps.armed.clear()
        self.place.losing.clear()
        for _ in range(12):
            self.place.run()
            self.place.clock.advance(700)
            self.resend()
            self.place.run()
            if self.state is RunState.FINISHED:
                return
            for service in self.place.workflow.services:
                self.place.redrive(service)

    @property
    def state(self) -> RunState:
        """How far the run is."""
        found = status_of(self.place.workflow, self.place.bucket, self.run, self.letters)
        assert found is not None
        return found.state


def check(place: Place, client: Client, contacts: Callable[..., bytes], seed: int) -> None:
    """Let a story happen, and look how it ended."""
    story = Story(place, client, contacts(5), seed)
    for _ in range(story.random.randint(15, EVENTS)):
        story.happen()
    story.mend()
    people = [f"p{n}@client.example" for n in range(5)]
    assert (story.state, story.letters.seen) == (RunState.FINISHED, ())
    assert (len(place.lists()), place.members(), place.contacts()) == (1, people, people)
    assert sorted(place.scheduled()) == ["Invite", "Invite", "Reminder"]
    for importer in ("import_contacts", "import_b"):
        sums = write_receipt(place.workflow, place.bucket, story.run, importer, io.StringIO())
        assert (sums.is_balanced, sums.outcomes["loaded"] + sums.outcomes["updated"]) == (True, 5)


@pytest.mark.parametrize("seed", range(24))
def test_run_ends_as_if_nothing_had_happened(
    place: Place, client: Client, contacts: Callable[..., bytes], seed: int
) -> None:
    """One list, everybody in it once, one invitation a branch, one reminder; each row is accounted for."""
    check(place, client, contacts, seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(24, 424))
def test_run_ends_so_in_many_stories(place: Place, client: Client, contacts: Callable[..., bytes], seed: int) -> None:
    """The same at night, for many more of them."""
    check(place, client, contacts, seed)
