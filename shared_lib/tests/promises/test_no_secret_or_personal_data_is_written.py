"""No secret and no personal data is in logs, ledger, queues or dead letters, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from qualtrics_etl import Contact, ImportContacts, RowContext, RowRejectedError, RowValues

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Client, Place

CANARIES = ("canaria.vogel", "Canaria", "Kanarienweg", "+49 30 1234567", "ExampleTokenOf", "canary-sftp-password")
FILE = b"""email,first_name,phone,street
canaria.vogel@client.example,Canaria,+49 30 1234567,Kanarienweg 1
canaria.vogel.bad,Canaria,+49 30 1234567,Kanarienweg 2
canaria.vogel@client.example,Canaria,+49 30 1234567,Kanarienweg 3,too many
"""


def assert_nothing_leaked(place: Place, logged: Callable[[], str]) -> None:
    """Search all that was written, but for the payloads and the reject files, which are there for the data."""
    written = {"log": logged()}
    for key in place.keys(""):
        if not key.startswith(("payloads/", "rejects/")):
            written[key] = place.text(key)
    for service in place.workflow.services:
        for each in (*place.waiting(service), *place.letters(service)):
            written[f"queue of {service}"] = f"{each.body} {dict(each.attributes)}"
    leaks = [(where, canary) for where, text in written.items() for canary in CANARIES if canary in text]
    assert leaks == []
    assert all(canary not in key for key in place.keys("") for canary in CANARIES)


@pytest.mark.parametrize(
    "fault",
    [
        "none",
        "throttle",
        "server_error",
        "forbidden",
        "wrong_token",
        "cut_answer",
        "cut_after_effect",
        "gateway_page",
        "failed_job",
        "empty_job",
    ],
)
def test_run_with_a_fault_leaks_nothing(place: Place, logged: Callable[[], str], fault: str) -> None:
    """Whatever Qualtrics answers, nothing of the rows and no token gets out of the payloads."""
    place.use(parse_file={"settings": {"max_reject_ratio": 1.0}})
    if fault != "none":
        place.fault(fault, count=20, path="*/transactioncontacts")
    place.begin(FILE)
    place.run()
    assert_nothing_leaked(place, logged)


class Careless(ImportContacts):
    """Its hooks raise, or return, what they were given."""

    how = "raise"

    @override
    def build_contact(self, row: RowValues, *, context: RowContext) -> Contact:
        if self.how == "return":
            return row  # type: ignore[return-value]  # the mistake that is tested
        if self.how == "reject":
            raise RowRejectedError(f"{row} is no good.")
        raise ValueError(f"can't use {row}")


class CarelessReturn(Careless):
    how = "return"


class CarelessReject(Careless):
    how = "reject"


@pytest.mark.parametrize("step", [Careless, CarelessReturn, CarelessReject])
def test_careless_hook_leaks_nothing(place: Place, logged: Callable[[], str], step: type[Careless]) -> None:
    """What a hook raises or returns is not quoted where others read it."""
    place.use(parse_file={"settings": {"max_reject_ratio": 1.0}})
    place.steps["import_contacts"] = step
    place.begin(FILE)
    place.run()
    assert_nothing_leaked(place, logged)


def test_file_without_header_leaks_nothing(place: Place, logged: Callable[[], str]) -> None:
    """Where a person stands in the place of the header, the error does not quote it."""
    place.begin(FILE.partition(b"\n")[2])
    place.run()
    assert_nothing_leaked(place, logged)


def test_client_server_that_refuses_leaks_no_password(client: Client, place: Place, logged: Callable[[], str]) -> None:
    """A log-in that fails names the secret, and does not show it."""
    place.secrets["sftp_password"] = "canary-sftp-password-old"
    client.drop("a.csv", FILE)
    client.tick()
    place.run()
    assert "sftp_password" in place.cause("fetch_sftp_file")
    assert_nothing_leaked(place, logged)
