"""A POST that was answered with 202 is never lost, and one key is one run, wherever its worker dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qualtrics_etl.errors import RetryableError
from qualtrics_etl.status import Letters, RunState, status_of

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place, Poster

RECEIVING = ["get files/posted/", "put payloads/", "put files/posted/", "send receive_post"]
"""What the entry does, in its order, before it answers."""
WORKING = ["put ledger/", "send parse_file", "put files/posted/"]
"""What its message does."""


def assert_one_run(place: Place, run: str) -> None:
    """Three people were invited, once, in this run."""
    assert place.members() == place.contacts() == [f"p{n}@client.example" for n in range(3)]
    assert (len(place.lists()), place.scheduled()) == (1, ["Invite", "Reminder"])
    assert {key.split("/")[1] for key in place.keys("ledger/")} == {run}
    told = status_of(place.workflow, place.bucket, run, Letters())
    assert told is not None
    assert (told.state, bool(told.summary.file_name), [each.service for each in told.services]) == (
        RunState.FINISHED,
        True,
        list(place.workflow.services),
    )


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("what", RECEIVING)
def test_entry_dies_and_the_client_repeats(poster: Poster, place: Place, what: str, *, after: bool) -> None:
    """Killed before or after any of its calls, the entry has answered nothing; the repeat is the one run."""
    place.mishap(what, after=after)
    assert poster.post() is None
    place.run()
    run = poster.post_until_accepted()
    place.run()
    assert_one_run(place, run)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("what", RECEIVING)
def test_entry_is_not_answered_and_asks_for_a_repeat(poster: Poster, place: Place, what: str, *, after: bool) -> None:
    """A store or queue that does not answer once, with or without effect, ends in the one run too."""
    place.mishap(what, RetryableError("No answer."), after=after)
    run = poster.post_until_accepted()
    place.run()
    assert_one_run(place, run)


def test_what_was_accepted_needs_no_repeat(poster: Poster, place: Place) -> None:
    """After the 202 the client may forget its POST: all that is needed is ours."""
    run = poster.post_until_accepted()
    place.run()
    assert_one_run(place, run)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("what", WORKING)
def test_message_dies_and_is_delivered_again(poster: Poster, place: Place, what: str, *, after: bool) -> None:
    """Killed at any call of its message, the run is begun by the next delivery, once."""
    run = poster.post_until_accepted()
    place.mishap(what, after=after)
    place.run()
    assert_one_run(place, run)


def test_client_that_heard_nothing_repeats_for_ever(poster: Poster, place: Place) -> None:
    """Ten repeats, before, while and after the run goes on, change nothing."""
    runs = {poster.post_until_accepted() for _ in range(5)}
    place.run(until=lambda: bool(place.lists()))
    runs |= {poster.post_until_accepted() for _ in range(5)}
    place.run()
    (run,) = runs
    assert_one_run(place, run)


def test_repeat_at_every_step_of_another(poster: Poster, place: Place) -> None:
    """A repeat that overtakes the first at any of its calls is the same run, with the same answer."""
    for what in RECEIVING:
        place.meanwhile(what, poster.post)
    run = poster.post_until_accepted()
    place.run()
    assert_one_run(place, run)
