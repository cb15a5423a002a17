"""With limits on, many messages and workers use what Qualtrics allows, and are hardly ever refused."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from qualtrics_etl.messages import FileParsed
from qualtrics_etl.testing.pacing import START, Load, Paced, run_paced

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place

TENTH = 0.1
"""Limits are a tenth of the documented ones, for us and for the simulator, so that a tenth of the calls is enough."""


def test_imports_use_their_limit_without_being_refused() -> None:
    """60 batches, 16 workers, 10 imports a minute: at least 9 of 10 are used, none is refused, no receive is burnt."""
    paced = run_paced(Load(batches=60, scale=TENTH))
    assert paced.share_used(10, "POST transactioncontacts") >= 0.9
    assert (paced.refused, paced.most_receives, paced.dead_letters) == (0, 1, 0)
    assert sum(count for (_, name), count in paced.requests.items() if name == "POST transactioncontacts") == 60
    assert sum(count for (_, name), count in paced.requests.items() if name == "POST distributions") == 1


def test_whole_brand_is_used_without_being_refused() -> None:
    """Lists, imports, looks and invitations share 300 requests a minute: at least 270 are used, none is refused."""
    paced = run_paced(Load(batches=40, lists=150, invitations=600, scale=TENTH))
    assert paced.share_used(300) >= 0.9
    assert (paced.share_refused < 0.01, paced.most_receives, paced.dead_letters) == (True, 1, 0)


@pytest.mark.parametrize(
    ("minutes", "share"),
    [
        pytest.param([20, 100, 80, 40, 1], 0.9, id="the-end-does-not-count"),
        pytest.param([20, 100, 0, 80, 40], 0.6, id="an-empty-minute-does"),
        pytest.param([20, 0, 0, 0, 100], 0.25, id="so-do-those-before-the-last-ones"),
        pytest.param([500, 100, 10], 1.0, id="the-first-has-begun-before"),
    ],
)
def test_share_is_taken_of_minutes_with_enough_to_do(minutes: list[int], share: float) -> None:
    """Of a limit of 100, for two endpoints together: what is left over counts as long as there was work for it."""
    paced = Paced(requests=Counter({(_minute(n), f"GET {n % 2}"): count for n, count in enumerate(minutes)}))
    assert paced.share_used(100) == pytest.approx(share)


def test_share_of_an_endpoint_knows_no_other() -> None:
    """A minute is full for an endpoint by its own requests alone, and with none that is full there is no answer."""
    paced = Paced()
    paced.requests[_minute(0), "GET looks"] = 5
    paced.requests[_minute(1), "GET looks"] = 80
    paced.requests[_minute(1), "POST imports"] = 9
    paced.requests[_minute(2), "POST imports"] = 1
    assert paced.share_used(10, "POST imports") == pytest.approx(0.9)
    with pytest.raises(ValueError, match="give more to do"):
        paced.share_used(100)


def _minute(number: int) -> datetime:
    return START.replace(second=0) + timedelta(minutes=number)


def test_without_pacing_most_requests_would_be_refused() -> None:
    """The same imports, told that ten times as much were theirs, are refused: the count of refusals can fail."""
    paced = run_paced(Load(batches=60, scale=TENTH, share=1.0))
    assert (paced.share_refused > 0.01, paced.most_receives, paced.dead_letters) == (True, 1, 0)


def test_who_waits_for_the_minute_writes_nothing(place: Place) -> None:
    """Where a warm worker knows that a minute has nothing left, a new message leaves no entry and no stored body."""
    worker = place.step("create_mailing_list")
    place.fault("throttle", path="*/mailinglists", method="POST")
    place.order_list()
    place.handle_with(worker, "create_mailing_list")
    place.send(place.message("create_mailing_list", batch="second"))
    before = place.keys("")
    place.handle_with(worker, "create_mailing_list")
    assert (place.keys(""), place.entry("create_mailing_list", "second")) == (before, None)


def test_one_refusal_is_not_many(place: Place) -> None:
    """After a 429 the other messages of that minute are not even sent; in the next one all are."""
    place.fault("throttle", path="*/mailinglists", method="POST")
    parsed = FileParsed(1, "payloads/any/parse_file/batches", 1, 1, 0)
    for number in range(5):
        place.send(place.message("create_mailing_list", parsed, run=f"acme-etl-{number:012}"))
    for _ in range(5):
        place.deliver("create_mailing_list")
    assert place.calls("POST /mailinglists") == 1
    place.run_only("create_mailing_list")
    assert place.calls("POST /mailinglists") == 6
    assert (len(place.waiting("import_contacts")), place.letters("create_mailing_list")) == (5, [])
