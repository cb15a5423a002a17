"""Nothing is lost: whatever dies wherever, each row arrives, each invitation goes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from qualtrics_etl.errors import RetryableError

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place

PEOPLE = [f"p{n}@client.example" for n in range(5)]
BOUNDARIES = [
    "put payloads/acme-etl-0123456789ab/parse_file/batches/00000",
    "put payloads/acme-etl-0123456789ab/parse_file/batches/00001",
    "put payloads/acme-etl-0123456789ab/parse_file/manifest",
    "put ledger/acme-etl-0123456789ab/parse_file/all",
    "send create_mailing_list",
    "put payloads/acme-etl-0123456789ab/create_mailing_list/requests",
    "put ledger/acme-etl-0123456789ab/create_mailing_list/all",
    "POST /API/v3/directories/POOL_ExampleDirector/mailinglists",
    "send import_contacts",
    "put payloads/acme-etl-0123456789ab/import_contacts/requests/00001",
    "put ledger/acme-etl-0123456789ab/import_contacts/00001",
    "/transactioncontacts",
    "put ledger/acme-etl-0123456789ab/schedule_distribution/arrived",
    "put ledger/acme-etl-0123456789ab/schedule_distribution/complete",
    "send schedule_distribution",
    "put ledger/acme-etl-0123456789ab/schedule_distribution/all",
    "POST /API/v3/distributions",
    "send schedule_reminder",
    "put ledger/acme-etl-0123456789ab/schedule_reminder/all",
    "/reminders",
]


def assert_all_arrived(place: Place) -> None:
    """Each person is in the one list once, and gets one invitation and one reminder."""
    assert place.members() == PEOPLE
    assert place.contacts() == PEOPLE
    assert place.lists() == ["contacts.csv [0123456789ab]"]
    assert place.scheduled() == ["Invite", "Reminder"]
    assert {service: place.letters(service) for service in place.workflow.services if place.letters(service)} == {}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_worker_killed_at_a_boundary_changes_nothing(
    with_slow_jobs: Place, contacts: Callable[..., bytes], boundary: str, after: bool
) -> None:
    """A worker that dies before or after an effect leaves the end state of a run in which nobody died."""
    place = with_slow_jobs
    place.use(parse_file={"settings": {"rows_per_batch": 3}})
    place.mishap(boundary, after=after)
    place.begin(contacts(5))
    place.run()
    assert place.mishaps.armed[0].met
    assert_all_arrived(place)


@pytest.mark.parametrize("after", [False, True], ids=["refused", "answer lost"])
@pytest.mark.parametrize("boundary", [each for each in BOUNDARIES if each.startswith(("put", "send"))])
def test_storage_failure_at_a_boundary_changes_nothing(
    with_slow_jobs: Place, contacts: Callable[..., bytes], boundary: str, after: bool
) -> None:
    """A write or a send that fails, or whose answer is lost, leaves the end state of a run without failures."""
    place = with_slow_jobs
    place.use(parse_file={"settings": {"rows_per_batch": 3}})
    place.mishap(boundary, RetryableError("S3 or SQS is away"), after=after)
    place.begin(contacts(5))
    place.run()
    assert place.mishaps.armed[0].met
    assert_all_arrived(place)


@pytest.mark.parametrize("skip", range(1, 5))
@pytest.mark.parametrize("service", ["create_mailing_list", "import_contacts", "schedule_distribution"])
def test_record_that_is_not_written_changes_nothing(
    with_slow_jobs: Place, contacts: Callable[..., bytes], service: str, skip: int
) -> None:
    """A worker killed at any later write of its ledger entry leaves the same end state."""
    place = with_slow_jobs
    place.mishap(f"put ledger/acme-etl-0123456789ab/{service}/", skip=skip)
    place.begin(contacts(5))
    place.run()
    assert_all_arrived(place)


def test_clean_run_ends_with_everything_arrived(place: Place, contacts: Callable[..., bytes]) -> None:
    """Without any mishap the run ends as all the others must end."""
    place.begin(contacts(5))
    place.run()
    assert_all_arrived(place)


def test_parsing_goes_on_where_the_time_ran_out(place: Place, contacts: Callable[..., bytes]) -> None:
    """Near the deadline parsing hands over at a batch boundary; the run goes on as one, with every row in it."""
    place.use(parse_file={"settings": {"rows_per_batch": 2}})
    place.begin(contacts(5))
    place.remaining_seconds = 60 * 0.25
    place.steps["parse_file"] = _short_of_time()
    place.run()
    assert place.keys("ledger/acme-etl-0123456789ab/parse_file/") == [
        f"ledger/acme-etl-0123456789ab/parse_file/{batch}" for batch in ("all", "c0001", "c0002")
    ]
    assert place.keys("ledger/acme-etl-0123456789ab/create_mailing_list/") == [
        "ledger/acme-etl-0123456789ab/create_mailing_list/all"
    ]
    assert_all_arrived(place)


def _short_of_time() -> type:
    from qualtrics_etl import ParseFile

    class ShortOfTime(ParseFile):
        @override
        def _time_is_short(self, delivery: object) -> bool:
            return True

    return ShortOfTime
