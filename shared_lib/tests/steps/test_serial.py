"""A serial service works on one message at a time, in order: waiting blocks, and failures are told from waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from qualtrics_etl import CreateMailingList
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.objects import MemoryObjects
from qualtrics_etl.local.secrets import FixedSecrets
from qualtrics_etl.steps.base import Wiring

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Place

SERIAL = {"concurrency": "serial", "max_receive_count": 3}


@pytest.fixture
def serial(place: Place) -> Place:
    """A place whose lists, imports and invitations are serial."""
    place.use(create_mailing_list=SERIAL, import_contacts=SERIAL, schedule_distribution=SERIAL)
    return place


def test_run_with_serial_services_ends_alike(serial: Place, contacts: Callable[..., bytes]) -> None:
    """FIFO queues lead to the same end state."""
    serial.begin(contacts(3))
    serial.run()
    assert (serial.members(), serial.scheduled()) == (
        [f"p{n}@client.example" for n in range(3)],
        ["Invite", "Reminder"],
    )


def test_waiting_message_blocks_those_behind_it(serial: Place) -> None:
    """A throttled message waits at the head of its queue; the next one is not worked on before it."""
    serial.fault("throttle_retry_after", path="*/mailinglists", seconds=30)
    serial.order_list()
    serial.clock.advance(1)
    serial.send(serial.message("create_mailing_list", batch="second"))
    assert serial.deliver("create_mailing_list") == [False]
    assert serial.deliver("create_mailing_list") == []
    serial.wait_for("create_mailing_list")
    serial.deliver("create_mailing_list")
    assert (serial.entry("create_mailing_list") is not None, serial.entry("create_mailing_list", "second")) == (
        True,
        None,
    )


def test_throttling_is_no_failure(serial: Place) -> None:
    """Though each deferral is a receive, a serial message that is throttled often is not put aside."""
    serial.fault("throttle_retry_after", path="*/mailinglists", seconds=30, count=12)
    serial.order_list()
    serial.run(until=lambda: bool(serial.waiting("import_contacts")))
    assert (len(serial.lists()), serial.letters("create_mailing_list")) == (1, [])


def test_failure_after_throttling_is_the_first_one(serial: Place) -> None:
    """One failure after many deferrals does not put the message aside."""
    serial.fault("throttle_retry_after", path="*/mailinglists", seconds=30, count=12)
    serial.fault("server_error", path="*/mailinglists", method="POST")
    serial.order_list()
    serial.run(until=lambda: bool(serial.waiting("import_contacts")))
    assert (len(serial.lists()), serial.letters("create_mailing_list")) == (1, [])


def test_call_that_always_fails_does_not_block_for_ever(serial: Place) -> None:
    """After as many failures as allowed the message is put aside, and the next one is worked on."""
    serial.fault("server_error", path="*/mailinglists", method="POST", count=3)
    serial.order_list()
    serial.clock.advance(1)
    serial.send(serial.message("create_mailing_list", batch="second"))
    serial.run()
    assert serial.entry("create_mailing_list").failures == 3  # type: ignore[union-attr]  # it is there, or the test fails
    assert (serial.calls("POST /mailinglists"), len(serial.lists())) == (4, 1)


def test_wrong_token_is_put_aside_after_an_hour(serial: Place) -> None:
    """A wrong token blocks a serial service for an hour, not for ever."""
    serial.secrets["qualtrics_api_token"] = "wrong"
    serial.order_list()
    began = serial.clock.now()
    serial.run()
    assert (serial.clock.now() - began).total_seconds() == 3600
    assert "qualtrics_api_token" in serial.cause("create_mailing_list")


def test_looks_at_a_job_that_all_fail_end(serial: Place, contacts: Callable[..., bytes]) -> None:
    """A job that can't be looked at blocks a serial service no longer than a job may run."""
    serial.settings["import_contacts"] = {"max_wait_seconds": 120}
    serial.begin(contacts(1))
    serial.fault("unavailable", method="GET", path="*/transactioncontacts/*", count=None)
    serial.run()
    assert "status 503" in serial.cause("import_contacts")


def test_handler_of_another_kind_is_refused(place: Place) -> None:
    """A handler that runs another step than workflow.yml says can't start."""
    wiring = Wiring(
        place.workflow,
        "schedule_reminder",
        place.config,
        MemoryObjects(place.clock),
        place.queues,
        FixedSecrets({}),
        place.clock,
    )
    with pytest.raises(ConfigurationError) as caught:
        CreateMailingList(wiring)
    assert str(caught.value) == (
        "services/schedule_reminder/handler.py runs CreateMailingList (kind create_mailing_list), and workflow.yml"
        " says that schedule_reminder is of kind schedule_reminder. Make the two agree; `make check` shows both."
    )
