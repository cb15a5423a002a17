"""The connection of a calling step: it lasts from message to message, and learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qualtrics_etl.errors import RetryableError
from qualtrics_etl.steps.base import Delivery, Step

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place


def handle(place: Place, step: Step) -> None:
    """Give a warm function its next message."""
    (received,) = place.receive("create_mailing_list")
    step.handle(Delivery(received, lambda: place.remaining_seconds))


def test_renewed_secret_reaches_a_warm_function(place: Place) -> None:
    """A function that met a wrong secret reads it again for the next message, without a cold start."""
    step, token = place.step("create_mailing_list"), place.secrets["qualtrics_api_token"]
    place.secrets["qualtrics_api_token"] = "token-of-yesterday"
    place.order_list()
    handle(place, step)
    assert place.lists() == []
    place.secrets["qualtrics_api_token"] = token
    place.order_list()
    handle(place, step)
    assert len(place.lists()) == 1


def test_token_of_a_user_with_more_rights_reaches_a_warm_function(place: Place) -> None:
    """What is sent back after a 403 goes out with the token that stands there then."""
    step = place.step("create_mailing_list")
    place.fault("forbidden", path="*/mailinglists")
    place.order_list()
    handle(place, step)
    place.secrets["qualtrics_api_token"] = "token-of-today"
    place.redrive("create_mailing_list")
    handle(place, step)
    assert place.transport.sent[-1].headers["X-API-TOKEN"] == "token-of-today"


def test_waits_after_throttling_grow(place: Place) -> None:
    """A message that is throttled without being told for how long waits longer each time."""
    place.fault("throttle", path="*/mailinglists", count=6)
    place.order_list()
    delays = []
    for _ in range(6):
        began = place.clock.now()
        place.deliver("create_mailing_list")
        place.wait_for("create_mailing_list")
        delays.append((place.clock.now() - began).total_seconds())
    # Each wait is drawn from the upper half of 8, 16, 32 ... seconds, and reaches into another minute at least: a
    # refusal leaves nothing of its own.
    assert [4 * 2**n <= delay <= max(8 * 2**n, 60 + 1 + 40) for n, delay in enumerate(delays)] == [True] * 6
    assert delays[-1] > delays[0]


def test_reminder_is_found_under_whatever_list_and_type_it_is_shown(place: Place) -> None:
    """A reminder whose answer was lost is found by its key alone, so nobody is reminded twice."""
    place.begin(b"email\np0@client.example\n")
    place.mishap("/reminders", RetryableError("cut"), after=True)
    place.run(until=lambda: place.mishaps.armed[0].met)
    reminder = list(place.simulator.state.post.distributions.values())[-1]
    reminder.mailing_list_id, reminder.kind = "CG_Another", "Email"
    place.run()
    assert (place.calls("POST /reminders"), place.scheduled()) == (1, ["Invite", "Email"])
    assert (place.letters("schedule_reminder"), place.entry("schedule_reminder") is not None) == ([], True)
