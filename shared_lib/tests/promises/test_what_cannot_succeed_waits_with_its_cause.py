"""What can't succeed waits in the dead-letter queue, with what happened, what to do, and where it came from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from qualtrics_etl import CreateMailingList, RunContext
from qualtrics_etl.errors import InputError, PermanentError
from qualtrics_etl.ledger import State
from qualtrics_etl.messages import Message
from qualtrics_etl.ports import Outgoing

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place


def test_letter_carries_cause_remedy_request_and_queue(place: Place) -> None:
    """A refusal of Qualtrics is told with its request id, the remedy and the queue to send the message back to."""
    place.fault("forbidden", path="*/mailinglists")
    place.order_list()
    place.run()
    (letter,) = place.letters("create_mailing_list")
    request_id = letter.attributes["request_id"]
    assert letter.attributes == {
        "cause": "create_mailing_list: status 403 AuthZ_2.0 This user does not have access to this resource: it needs a"
        " permission.",
        "error": "PermanentError",
        "remedy": "Check qualtrics.directory_id in config/local.yml and that the user of the credentials may use it.",
        "request_id": request_id,
        "source_queue": "create_mailing_list",
    }
    assert len(request_id) == 36


def test_failure_is_recorded_before_the_letter_is_sent(place: Place) -> None:
    """A worker that dies before the letter is sent leaves a record from which the next one sends it; no second call."""
    place.fault("forbidden", path="*/mailinglists")
    place.mishap("send create_mailing_list-dlq")
    place.order_list()
    place.run()
    entry = place.entry("create_mailing_list")
    assert entry is not None
    assert (entry.state, place.calls("POST /mailinglists")) == (State.FAILED, 1)
    assert len(place.letters("create_mailing_list")) == 1


def test_redrive_begins_a_new_generation(place: Place) -> None:
    """A letter that is sent back as it is tries again under a new generation."""
    place.fault("forbidden", path="*/mailinglists")
    place.order_list()
    place.run()
    place.redrive("create_mailing_list")
    place.run(until=lambda: bool(place.waiting("import_contacts")))
    entry = place.entry("create_mailing_list")
    assert entry is not None
    assert (entry.state, entry.generation, len(place.lists())) == (State.DONE, 1, 1)


@pytest.mark.parametrize("times", [2, 3])
def test_each_redrive_tries_again(place: Place, times: int) -> None:
    """However often it failed, sent back it is tried again."""
    place.fault("forbidden", path="*/mailinglists", count=times)
    place.order_list()
    place.run()
    for _ in range(times):
        place.redrive("create_mailing_list")
        place.run(until=lambda: bool(place.waiting("import_contacts")))
    entry = place.entry("create_mailing_list")
    assert entry is not None
    assert (entry.state, entry.generation) == (State.DONE, times)


def test_redrive_that_is_deferred_still_tries_again(place: Place) -> None:
    """A letter that is sent back and deferred first has not forgotten that it asks for another try."""
    place.fault("forbidden", path="*/mailinglists")
    place.order_list()
    place.run()
    place.redrive("create_mailing_list")
    place.remaining_seconds = 1
    place.deliver("create_mailing_list")
    place.remaining_seconds = 60
    place.run(until=lambda: bool(place.waiting("import_contacts")))
    assert len(place.lists()) == 1


def test_second_copy_of_a_failed_message_tries_nothing(place: Place) -> None:
    """A failed message that comes again, without having been sent back, calls nothing."""
    place.fault("forbidden", path="*/mailinglists")
    place.order_list()
    place.order_list()
    place.run()
    assert place.calls("POST /mailinglists") == 1


def test_redrive_of_work_that_is_done_only_tells_the_next(place: Place) -> None:
    """A letter whose work was done meanwhile is settled without a call."""
    place.order_list()
    place.deliver("create_mailing_list")
    place.send(place.message("create_mailing_list"), cause="It was put aside by hand.")
    place.deliver("create_mailing_list")
    assert (place.calls("POST /mailinglists"), len(place.waiting("import_contacts"))) == (1, 2)


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("not json", "The message can't be read: it is not JSON (invalid literal, expected 'null')."),
        ("[]", "The message can't be read: it is not an object."),
        ("{}", "The message can't be read: its version is None, and this library reads 1."),
    ],
)
def test_malformed_message_is_put_aside(place: Place, body: str, cause: str) -> None:
    """What is not one of our messages waits as it came."""
    place.queues.of("create_mailing_list").send([Outgoing(body)])
    assert place.deliver("create_mailing_list") == [True]
    (letter,) = place.letters("create_mailing_list")
    assert (letter.body, letter.attributes["cause"]) == (body, cause)


def test_expired_message_is_refused(place: Place) -> None:
    """A message that outlived its time is not worked on: its ledger may be gone."""
    place.send(place.message("create_mailing_list", expires_at=place.clock.now()))
    place.deliver("create_mailing_list")
    assert place.cause("create_mailing_list") == (
        "The message of run acme-etl-0123456789ab expired at 2026-11-22 09:00 UTC. Its ledger may be gone, so working"
        " on it could do things twice. Have the client send the missing rows in a new file, then delete this message."
    )
    assert (place.transport.sent, place.keys("ledger/")) == ([], [])


def test_message_that_is_about_to_expire_is_worked_on(place: Place) -> None:
    """A second before it is still in time."""
    place.send(place.message("create_mailing_list", expires_at=place.clock.now() + timedelta(seconds=1)))
    place.deliver("create_mailing_list")
    assert len(place.lists()) == 1


def test_message_of_another_service_is_put_aside(place: Place) -> None:
    """A message in the wrong queue is not worked on."""
    stray = place.message("schedule_reminder")
    place.queues.of("create_mailing_list").send([Outgoing(stray.encode())])
    place.deliver("create_mailing_list")
    assert place.cause("create_mailing_list") == (
        "A message for schedule_reminder reached the queue of create_mailing_list."
        " Send the message back to the queue of its own service."
    )


class Refuses(CreateMailingList):
    """Its hook refuses the run."""

    @override
    def build_name(self, *, context: RunContext) -> str:
        raise InputError("This run\x00 is \ud800not for us.", remedy="Ask the client.")


def test_refusal_of_a_hook_is_recorded_and_put_aside(place: Place) -> None:
    """A hook that refuses the run for good ends it, in the ledger too, whatever characters its text holds."""
    place.steps["create_mailing_list"] = Refuses
    place.order_list()
    assert place.deliver("create_mailing_list") == [True]
    entry = place.entry("create_mailing_list")
    assert entry is not None
    assert entry.state is State.FAILED
    assert place.cause("create_mailing_list") == "This run? is ?not for us. Ask the client."


def test_empty_job_is_a_failure(place: Place, contacts: Callable[..., bytes]) -> None:
    """A job that is complete and did nothing is no success."""
    place.fault("empty_job")
    place.begin(contacts(3))
    place.run()
    assert "ended, but none of 3 contacts came in" in place.cause("import_contacts")
    assert place.scheduled() == []


def test_job_that_does_not_end_waits_for_a_person(place: Place, contacts: Callable[..., bytes]) -> None:
    """A job that runs longer than allowed is put aside; sent back after it has ended, it is found done."""
    place.settings["import_contacts"] = {"max_wait_seconds": 60}
    place.fault("slow_jobs", seconds=300)
    place.begin(contacts(3))
    place.run()
    assert place.cause("import_contacts").startswith("Job PGRS_")
    place.clock.advance(600)
    place.redrive("import_contacts")
    place.run()
    assert (place.calls("POST /transactioncontacts"), place.scheduled()) == (1, ["Invite", "Reminder"])


def test_look_that_is_refused_for_long_waits_for_a_person(place: Place, contacts: Callable[..., bytes]) -> None:
    """Looks at a job that all fail end in the dead-letter queue with the failure's own text; the job is not lost."""
    place.begin(contacts(3))
    place.fault("unavailable", method="GET", path="*/transactioncontacts/*", count=9)
    place.run()
    assert "status 503" in place.cause("import_contacts")
    place.redrive("import_contacts")
    place.run()
    assert (place.calls("POST /transactioncontacts"), place.scheduled()) == (1, ["Invite", "Reminder"])


def test_letter_says_its_generation(place: Place) -> None:
    """The letter is the message, with the generation that failed."""
    place.fault("forbidden", path="*/mailinglists", count=2)
    place.order_list()
    place.run()
    place.redrive("create_mailing_list")
    place.run()
    (letter,) = place.letters("create_mailing_list")
    assert Message.decode(letter.body).generation == 1


def test_service_that_is_gone_from_the_workflow_is_named(place: Place) -> None:
    """A run that goes on with a service that was taken out of the workflow waits until it is back."""
    place.order_list()
    place.mishap("send import_contacts", PermanentError("refused"))
    place.deliver("create_mailing_list")
    place.use("fetch_sftp_file", "parse_file", "create_mailing_list")
    place.send(place.message("create_mailing_list"))
    place.run()
    assert place.cause("create_mailing_list") == (
        "Run acme-etl-0123456789ab goes on with import_contacts, which workflow.yml no longer has."
        " Bring the service back, deploy, and send the message back; the run then goes on."
    )
