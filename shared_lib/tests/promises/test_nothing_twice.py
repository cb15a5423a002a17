"""Nothing happens twice: no second list, no second contact, no second mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from qualtrics_etl import RunContext, ScheduleDistribution
from qualtrics_etl.errors import RetryableError
from qualtrics_etl.ledger import State
from qualtrics_etl.messages import DistributionScheduled, MailingListCreated

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place

LISTS = "*/mailinglists"
IMPORTS = "*/transactioncontacts"
INVITATIONS = "/distributions"
REMINDERS = "*/reminders"
SETTLED = 120


def assert_once(place: Place, people: int) -> None:
    """One list, one contact and one membership a person, one invitation, one reminder."""
    assert place.lists() == ["contacts.csv [0123456789ab]"]
    assert place.contacts() == place.members() == sorted(f"p{n}@client.example" for n in range(people))
    assert place.scheduled() == ["Invite", "Reminder"]


def invite(place: Place) -> None:
    """Bring a run to where the invitation is due, with a list and nobody in it."""
    place.use("fetch_sftp_file", "parse_file", "create_mailing_list", "schedule_distribution")
    place.order_list()
    place.deliver("create_mailing_list")


def test_every_message_delivered_twice(place: Place, contacts: Callable[..., bytes]) -> None:
    """A queue that delivers everything twice leads to the same end state."""
    place.duplicates = True
    place.use(parse_file={"settings": {"rows_per_batch": 2}})
    place.begin(contacts(7))
    place.run()
    assert_once(place, 7)


@pytest.mark.parametrize("path", [LISTS, IMPORTS, INVITATIONS, REMINDERS])
@pytest.mark.parametrize("scenario", ["error_after_effect", "cut_after_effect", "late_effect", "cut_late_effect"])
def test_lost_answer_leads_to_no_second_effect(
    place: Place, contacts: Callable[..., bytes], scenario: str, path: str
) -> None:
    """A call that had its effect, or has it later, and whose answer is lost, is found again and not repeated."""
    place.fault(scenario, path=path)
    place.begin(contacts(3))
    place.run()
    assert_once(place, 3)


@pytest.mark.parametrize("path", [LISTS, IMPORTS, INVITATIONS, REMINDERS])
@pytest.mark.parametrize(
    "scenario", ["server_error", "unavailable", "gateway_page", "throttle", "throttle_retry_after"]
)
def test_call_without_effect_is_made_again(
    place: Place, contacts: Callable[..., bytes], scenario: str, path: str
) -> None:
    """A call that failed and had no effect is made again, until it has it: once."""
    place.fault(scenario, path=path, count=2)
    place.begin(contacts(3))
    place.run()
    assert_once(place, 3)


def test_lists_that_lag_lead_to_no_second_list(place: Place, contacts: Callable[..., bytes]) -> None:
    """A list whose creation went unanswered, and that listings show later, is still found before a second is made."""
    place.fault("lagging_lists", path=LISTS, seconds=100)
    place.fault("error_after_effect", path=LISTS)
    place.begin(contacts(3))
    place.run()
    assert_once(place, 3)


def test_absence_counts_after_two_looks_and_settle_time(place: Place) -> None:
    """An unanswered call is made again only when two looks, both after the settle time, did not find its effect."""
    place.fault("server_error", path=LISTS)
    place.order_list()
    began, looks = place.clock.now(), []
    while place.calls("POST /mailinglists") < 2:
        place.deliver("create_mailing_list")
        looks.append((round((place.clock.now() - began).total_seconds()), place.calls("GET /mailinglists")))
        place.wait_for("create_mailing_list") if place.calls("POST /mailinglists") < 2 else None
    assert [count for _, count in looks] == [0, 1, 2, 3]
    assert [seconds >= SETTLED for seconds, _ in looks] == [False, False, True, True]


def test_second_worker_waits_while_the_lease_lives(place: Place) -> None:
    """A message delivered while another worker is at it is deferred until that one's lease has ended."""
    place.mishap("POST /API/v3/directories/POOL_ExampleDirector/mailinglists")
    place.order_list()
    place.order_list()
    assert place.deliver("create_mailing_list") == [None]
    assert place.deliver("create_mailing_list") == [True]
    (waiting,) = [each for each in place.waiting("create_mailing_list") if each.state == "delayed"]
    assert (waiting.due_at - place.clock.now()).total_seconds() == 121


def test_ended_lease_is_taken_over_and_the_call_looked_for(place: Place) -> None:
    """When the lease of a worker that died after its call has ended, the next one finds what it did."""
    place.mishap("POST /API/v3/directories/POOL_ExampleDirector/mailinglists", after=True)
    place.order_list()
    place.run(until=lambda: bool(place.waiting("import_contacts")))
    assert place.lists() == ["acme-etl [0123456789ab]"]
    entry = place.entry("create_mailing_list")
    assert entry is not None
    assert (entry.state, entry.attempt, place.calls("POST /mailinglists")) == (State.DONE, 2, 1)


def test_call_that_was_not_made_is_made_at_once(place: Place) -> None:
    """After a refusal that had no effect (429) the next attempt calls without looking first, in the next minute."""
    place.fault("throttle_retry_after", path=LISTS, seconds=7)
    place.order_list()
    place.deliver("create_mailing_list")
    place.wait_for("create_mailing_list")
    place.deliver("create_mailing_list")
    assert (place.calls("POST /mailinglists"), place.calls("GET /mailinglists")) == (2, 0)
    assert (place.clock.now().minute, len(place.lists())) == (1, 1)


def test_unanswered_import_without_deduplication_is_not_repeated(place: Place, contacts: Callable[..., bytes]) -> None:
    """Where the directory does not de-duplicate, an import of unknown outcome waits for a person."""
    place.no_deduplication()
    place.fault("error_after_effect", path=IMPORTS)
    place.begin(contacts(3))
    place.run()
    assert place.contacts() == [f"p{n}@client.example" for n in range(3)]
    assert place.calls("POST /transactioncontacts") == 1
    assert place.letters("import_contacts")[0].attributes["error"] == "OutcomeUnknownError"
    assert place.cause("import_contacts") == (
        "Whether batch 00000 was imported is unknown, and directory POOL_ExampleDirector does not de-duplicate:"
        " importing it again could make every contact twice. Look into the mailing list. When the batch is missing,"
        " send the message back; when it is there, switch de-duplication on in the directory's settings first: the"
        " repeat then changes nothing."
    )


def test_answer_of_a_person_to_an_unknown_outcome_is_followed(place: Place, contacts: Callable[..., bytes]) -> None:
    """An import of unknown outcome that a person sends back is made: the question was generation 1, the answer is 2."""
    place.no_deduplication()
    place.fault("server_error", path=IMPORTS)
    place.begin(contacts(3))
    place.run()
    place.redrive("import_contacts")
    place.run()
    entry = place.entry("import_contacts", "00000")
    assert entry is not None
    assert (entry.state, entry.generation) == (State.DONE, 2)
    assert_once(place, 3)


def test_failed_job_without_deduplication_asks_before_it_is_repeated(
    place: Place, contacts: Callable[..., bytes]
) -> None:
    """A job that ended badly may have done part of its work: sent back, it asks, and sent back again, it is made."""
    place.no_deduplication()
    place.fault("failed_job")
    place.begin(contacts(3))
    place.run()
    place.redrive("import_contacts")
    place.run()
    assert place.letters("import_contacts")[0].attributes["error"] == "OutcomeUnknownError"
    assert place.calls("POST /transactioncontacts") == 1
    place.redrive("import_contacts")
    place.run()
    assert_once(place, 3)


@pytest.mark.parametrize("scenario", ["forbidden", "wrong_token"])
def test_refused_look_is_no_proof_that_nothing_happened(place: Place, scenario: str) -> None:
    """While an earlier call is open, a look that is refused never leads to a second call, not even when sent back."""
    invite(place)
    place.fault("error_after_effect", path=INVITATIONS)
    place.fault(scenario, method="GET", path=INVITATIONS, count=5)
    place.run()
    while place.letters("schedule_distribution"):
        assert place.entry("schedule_distribution").state is State.INTENT  # type: ignore[union-attr]  # it is there, or the test fails
        place.redrive("schedule_distribution")
        place.run()
    assert (place.scheduled(), place.calls("POST /distributions")) == (["Invite"], 1)


def test_request_that_expired_is_not_built_anew_over_an_open_call(place: Place) -> None:
    """An invitation of unknown outcome, whose stored request is gone, is not sent a second time."""
    invite(place)
    place.fault("error_after_effect", path=INVITATIONS)
    place.deliver("schedule_distribution")
    for key in place.keys("payloads/acme-etl-0123456789ab/schedule_distribution/"):
        place.bucket.delete(key)
    place.run()
    place.redrive("schedule_distribution")
    place.run()
    assert (place.scheduled(), place.calls("POST /distributions")) == (["Invite"], 1)
    assert "is gone" in place.cause("schedule_distribution")


def test_call_that_always_fails_is_not_made_for_ever(place: Place) -> None:
    """A mail whose call fails again and again is given up after as many failures as the service allows."""
    invite(place)
    place.fault("server_error", path=INVITATIONS, method="POST", count=None)
    place.run()
    assert (place.calls("POST /distributions"), len(place.letters("schedule_distribution"))) == (3, 1)


def test_letter_of_a_call_that_always_failed_has_its_tries_again(place: Place) -> None:
    """Sent back after the API is well again, it looks first, then calls in the same generation."""
    invite(place)
    place.fault("server_error", path=INVITATIONS, method="POST", count=4)
    place.run()
    place.redrive("schedule_distribution")
    place.run()
    entry = place.entry("schedule_distribution")
    assert entry is not None
    assert (entry.state, entry.generation, place.scheduled()) == (State.DONE, 0, ["Invite"])


class OtherSubject(ScheduleDistribution):
    """What is deployed between two attempts: it would send at another time."""

    @override
    def choose_send_date(self, *, context: RunContext) -> object:
        raise AssertionError("the request was fixed at the first claim")


def test_every_attempt_sends_the_same_bytes(place: Place) -> None:
    """What is deployed between two attempts changes nothing of the request that was fixed at the first claim."""
    invite(place)
    place.fault("throttle", path=INVITATIONS)
    place.deliver("schedule_distribution")
    place.steps["schedule_distribution"] = OtherSubject
    place.settings["schedule_distribution"] = {"subject": "Another subject"}
    place.run()
    first, second = [each.body for each in place.transport.sent if each.path.endswith("/distributions")]
    assert first == second
    assert place.scheduled() == ["Invite"]


def test_done_work_only_sends_its_outputs_again(place: Place) -> None:
    """A message that comes again after its work was done calls nothing and tells the next service the same."""
    place.order_list()
    place.deliver("create_mailing_list")
    place.order_list()
    place.deliver("create_mailing_list")
    first, second = place.waiting("import_contacts")
    assert (first.body, place.calls("POST /mailinglists")) == (second.body, 1)


def test_two_services_of_one_kind_make_a_list_each(place: Place) -> None:
    """Each finds its own list again: their names differ."""
    chains = {
        "contacts": ("fetch_sftp_file", "parse_file", "create_mailing_list"),
        "staff": ("fetch_sftp_file", "parse_file", "create_staff_list"),
    }
    _use_chains(place, chains, create_staff_list={"kind": "create_mailing_list"})
    place.fault("server_error", path=LISTS)
    place.order_list()
    place.send(place.message("create_staff_list"))
    place.run()
    assert sorted(place.lists()) == [
        "acme-etl [0123456789ab create_mailing_list]",
        "acme-etl [0123456789ab create_staff_list]",
    ]


def _use_chains(place: Place, chains: dict[str, tuple[str, ...]], **services: dict[str, object]) -> None:
    place.workflow = place.workflow_of(chains, services)
    place.rebuild_queues()


def test_redelivered_reminder_is_found_again(place: Place) -> None:
    """A reminder whose answer was lost is found under the key that its request carries."""
    place.order_list()
    place.deliver("create_mailing_list")
    list_id = next(iter(place.simulator.state.mailing_lists))
    place.send(place.message("schedule_distribution", MailingListCreated(list_id, "x")))
    place.mishap("/reminders", RetryableError("answer lost"), after=True)
    place.run()
    assert place.scheduled() == ["Invite", "Reminder"]
    reminder = place.entry("schedule_reminder")
    assert reminder is not None
    assert reminder.fact is not None
    assert not isinstance(reminder.fact, DistributionScheduled)
