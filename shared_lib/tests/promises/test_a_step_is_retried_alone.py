"""A step that fails is retried alone: what was done before it is not done again, what is beside it goes on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from qualtrics_etl import ImportContacts, RowContext, RowValues
from qualtrics_etl.errors import RetryableError
from qualtrics_etl.ledger import State
from qualtrics_etl.steps.base import Delivery

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place

START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def test_failing_invitation_repeats_nothing_before_it(place: Place, contacts: Callable[..., bytes]) -> None:
    """An invitation that fails twice leads to no further call of the steps before it."""
    place.fault("server_error", path="/distributions", method="POST", count=2)
    place.begin(contacts(3))
    place.run()
    calls = [place.calls(f"POST {end}") for end in ("/mailinglists", "/transactioncontacts", "/distributions")]
    assert (calls, place.scheduled()) == ([1, 1, 3], ["Invite", "Reminder"])


def test_failing_batch_repeats_no_other(place: Place, contacts: Callable[..., bytes]) -> None:
    """Of three batches only the one whose import failed is imported again."""
    place.use(parse_file={"settings": {"rows_per_batch": 1}})
    place.fault("error_after_effect", path="*/transactioncontacts", skip=1)
    place.begin(contacts(3))
    place.run()
    entries = [place.entry("import_contacts", f"0000{n}") for n in range(3)]
    assert sorted(entry.attempt for entry in entries if entry) == [1, 1, 2]
    assert place.calls("POST /transactioncontacts") == 4


def test_one_failing_message_takes_none_of_its_invocation_along(place: Place, contacts: Callable[..., bytes]) -> None:
    """Of the messages that one invocation gets, only the failing one comes back."""
    place.use(parse_file={"settings": {"rows_per_batch": 1}}, import_contacts={"batch_size": 10})
    place.begin(contacts(3))
    place.run(until=lambda: len(place.waiting("import_contacts")) == 3)
    place.fault("unavailable", path="*/transactioncontacts", skip=1)
    assert sorted(map(str, place.deliver("import_contacts"))) == ["False", "True", "True"]


class Fragile(ImportContacts):
    """Its hook has a bug."""

    @override
    def keep_row(self, row: RowValues, *, context: RowContext) -> bool:
        raise KeyError("p0@client.example")


def test_bug_of_a_hook_takes_no_other_message_along(place: Place, contacts: Callable[..., bytes]) -> None:
    """Whatever a hook raises is this message's failure: tried again, then put aside; mended, the run goes on."""
    place.steps["import_contacts"] = Fragile
    place.begin(contacts(3))
    place.run()
    cause = place.cause("import_contacts")
    assert cause.startswith("KeyError at tests/promises/test_a_step_is_retried_alone.py:")
    assert cause.endswith(" Mend the code and deploy it, then send the message back.")
    del place.steps["import_contacts"]
    place.redrive("import_contacts")
    place.run()
    assert (len(place.members()), place.scheduled()) == (3, ["Invite", "Reminder"])


def test_throttling_burns_no_receive(place: Place) -> None:
    """A message that is throttled more often than it may fail is still not put aside."""
    place.fault("throttle_retry_after", path="*/mailinglists", seconds=30, count=20)
    place.order_list()
    place.run(until=lambda: bool(place.waiting("import_contacts")))
    entry = place.entry("create_mailing_list")
    assert entry is not None
    assert (entry.state, entry.attempt, entry.failures) == (State.DONE, 21, 0)
    assert place.letters("create_mailing_list") == []


def test_long_retry_after_is_waited_for_in_parts(place: Place) -> None:
    """What asks for a longer delay than a queue knows is deferred by the longest one."""
    place.fault("throttle_retry_after", path="*/mailinglists", seconds=3000)
    place.order_list()
    place.deliver("create_mailing_list")
    (waiting,) = place.waiting("create_mailing_list")
    assert (waiting.due_at - place.clock.now()).total_seconds() == 900


def test_message_near_the_deadline_is_left_to_another_invocation(place: Place) -> None:
    """With less than a quarter of the time left nothing is begun: the message goes back at once."""
    place.order_list()
    place.remaining_seconds = 14
    assert place.deliver("create_mailing_list") == [True]
    (waiting,) = place.waiting("create_mailing_list")
    assert (waiting.state, waiting.receive_count, place.keys("ledger/")) == ("visible", 0, [])


def test_wrong_token_waits_an_hour_then_for_a_person(place: Place) -> None:
    """A wrong token is looked at again for an hour; then the message waits with the remedy, and nothing was done."""
    place.secrets["qualtrics_api_token"] = "wrong"
    place.order_list()
    began = place.clock.now()
    place.run()
    assert ((place.clock.now() - began).total_seconds(), place.lists()) == (3600, [])
    assert "`make secret NAME=qualtrics_api_token STAGE=local`" in place.cause("create_mailing_list")


def test_hour_of_a_wrong_token_begins_when_it_is_wrong(with_slow_jobs: Place, contacts: Callable[..., bytes]) -> None:
    """Looks at a slow job are not counted as looks at a wrong token."""
    place = with_slow_jobs
    place.settings["import_contacts"] = {"look_after_seconds": 1}
    place.begin(contacts(1))
    place.run(until=lambda: place.clock.now() - START > timedelta(seconds=10))
    right, place.secrets["qualtrics_api_token"] = place.secrets["qualtrics_api_token"], "wrong"
    place.run(until=lambda: place.clock.now() - START > timedelta(minutes=40))
    place.secrets["qualtrics_api_token"] = right
    place.run()
    assert (place.letters("import_contacts"), place.scheduled()) == ([], ["Invite", "Reminder"])


def test_failed_deferral_leaves_the_message_in_its_queue(place: Place) -> None:
    """When not even the deferral can be sent, the queue keeps the message."""
    place.fault("throttle", path="*/mailinglists")
    place.mishap("send create_mailing_list", ValueError("a bug"))
    place.order_list()
    assert place.deliver("create_mailing_list") == [False]
    place.run(until=lambda: bool(place.waiting("import_contacts")))
    assert len(place.lists()) == 1


def test_message_sent_back_has_as_many_tries_again(place: Place) -> None:
    """What failed before a message was sent back does not count against it, though its first failure wrote nothing."""
    place.fault("unavailable", path="*/mailinglists", method="POST", count=3)
    place.order_list()
    place.run()
    assert len(place.letters("create_mailing_list")) == 1
    place.redrive("create_mailing_list")
    for _ in range(2):  # an entry is put twice before it is given up
        place.mishap("put ledger/", RetryableError("no answer"))
    assert place.deliver("create_mailing_list") == [False]
    assert place.letters("create_mailing_list") == []
    place.run(until=lambda: bool(place.waiting("import_contacts")))
    assert len(place.lists()) == 1


def test_back_off_doubles(place: Place) -> None:
    """A failing message waits 10 to 15 seconds at first, then twice as long."""
    place.fault("unavailable", path="*/mailinglists", count=None)
    place.order_list()
    waits = []
    for _ in range(2):
        (received,) = place.receive("create_mailing_list")
        place.step("create_mailing_list").handle(Delivery(received, lambda: 60.0))
        place.bucket.delete("ledger/acme-etl-0123456789ab/create_mailing_list/all")
        waits.append((place.waiting("create_mailing_list")[0].due_at - place.clock.now()).total_seconds())
        place.wait_for("create_mailing_list")
    assert [10 <= waits[0] <= 15, 20 <= waits[1] <= 30] == [True, True]
