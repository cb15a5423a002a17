"""No secret and no personal data is in logs, errors, ledger, queues, dead letters or addresses, whatever goes wrong.

The library writes no metrics of its own: those that a stage has are counted by AWS, of queues and functions.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from typing_extensions import override

from qualtrics_etl import Contact, ImportContacts, RowContext, RowRejectedError, RowValues
from qualtrics_etl.json_log import JsonFormatter
from qualtrics_etl.ports import Outgoing
from qualtrics_etl.qualtrics import Request, Response

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Client, Place, Poster

CANARIES = (
    "canaria.vogel",
    "Canaria",
    "Kanarienweg",
    "+49 30 1234567",
    "ExampleTokenOf",
    "canary-sftp-password",
    "canary-signing-secret",
    "canary key",
    "canary-key",
)
ROWS_BELONG = ("payloads+/", "rejects", "simulator.json", "sftp/")
FILE = b"""email,first_name,phone,street
canaria.vogel@client.example,Canaria,+49 30 1234567,Kanarienweg 1
canaria.vogel.bad,Canaria,+49 30 1234567,Kanarienweg 2
canaria.vogel@client.example,Canaria,+49 30 1234567,Kanarienweg 3,too many
"""


def assert_nothing_leaked(place: Place, logged: Callable[[], str], *, but: str = "payloads/") -> None:
    """Search all that is written now, but for the payloads and the reject files, which are there for the data.

    Args:
        but: Keys that begin so are left out too.
    """
    written = {key: text for key, text in now_written(place).items() if not key.startswith(but)}
    assert leaks_in({**written, "log": logged()}) == []


def now_written(place: Place) -> dict[str, str]:
    """Return what stands anywhere outside the payloads, by where it stands: keys and addresses too."""
    written = {"keys": "\n".join(place.keys("")), "addresses": "\n".join(sent.url for sent in place.transport.sent)}
    for key in place.keys(""):
        if not key.startswith(("payloads/", "rejects/")):
            written[key] = place.text(key)
    for service in place.workflow.services:
        for number, each in enumerate((*place.waiting(service), *place.letters(service))):
            written[f"queue of {service}, {number}"] = f"{each.body} {dict(each.attributes)}"
    return written


def leaks_in(written: dict[str, str]) -> list[tuple[str, str]]:
    """Return where which canary is."""
    return [(where, canary) for where, text in written.items() for canary in CANARIES if canary in text]


def run_watched(place: Place) -> None:
    """Run to the end, and search before every delivery: what is overwritten or taken from a queue was written too."""
    leaks: list[tuple[str, str]] = []

    def look() -> bool:
        leaks.extend(leaks_in(now_written(place)))
        return False

    place.run(until=look)
    assert leaks == []


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
    run_watched(place)
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
    """What a hook raises or returns is not quoted where others read it.

    The reason that it gives a row stands in rejects and outcomes, which expire with the rows.
    """
    place.use(parse_file={"settings": {"max_reject_ratio": 1.0}})
    place.steps["import_contacts"] = step
    place.begin(FILE)
    place.run()
    assert_nothing_leaked(place, logged, but="outcomes/" if step is CarelessReject else "payloads/")


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


def test_posts_leak_nothing(poster: Poster, place: Place, logged: Callable[[], str]) -> None:
    """Neither what a client POSTs nor its key, its name, or the secret is anywhere but in the payloads."""
    place.use("receive_post", "parse_file", parse_file={"settings": {"max_reject_ratio": 1.0}})
    answers = [
        poster.post(FILE),
        poster.post(FILE + FILE),  # another content under the key
        poster.post(FILE, "canary key"),
        poster.post(FILE, name="canaria.vogel/"),
        poster.post(FILE, age_seconds=1000),
    ]
    place.secrets["post_signing_secret"] = "canary-signing-secret"
    answers.append(poster.post(FILE))
    run_watched(place)
    assert [answer and answer[0] for answer in answers] == [202, 409, 400, 400, 401, 503]
    assert leaks_in({"answers": str(answers)}) == []
    assert_nothing_leaked(place, logged)


class Echoing:
    """The network, behind which every answer quotes what was sent, token included."""

    def __init__(self, status: int) -> None:
        self.sent: list[Request] = []
        self._status = status

    def send(self, request: Request) -> Response:
        """Refuse a request in its own words."""
        self.sent.append(request)
        proof = f"{dict(request.headers)}"
        error = {"errorCode": proof, "errorMessage": f"{proof} {(request.body or b'').decode()}"}
        return Response(self._status, {}, orjson.dumps({"meta": {"requestId": proof, "error": error, "notice": proof}}))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 500, 503])
def test_answer_that_quotes_the_request_leaks_nothing(place: Place, logged: Callable[[], str], status: int) -> None:
    """What Qualtrics says of an import that it refuses may hold the rows and the headers: neither gets further."""
    place.use(parse_file={"settings": {"max_reject_ratio": 1.0}})
    place.begin(FILE)
    place.run(until=lambda: bool(place.waiting("import_contacts")))
    place.transport = Echoing(status)  # type: ignore[assignment]
    run_watched(place)
    # A refusal of what a request holds becomes the reason of rejected rows, all others a dead letter.
    is_about_rows = status in (400, 413)
    assert (bool(place.keys("outcomes/")), bool(place.letters("import_contacts"))) == (is_about_rows, not is_about_rows)
    assert_nothing_leaked(place, logged)


@pytest.mark.parametrize(
    "body",
    [
        FILE.decode(),
        orjson.dumps({"version": CANARIES[0]}).decode(),
        orjson.dumps({"version": 1, "workflow": CANARIES[1] + " " + CANARIES[3]}).decode(),
    ],
)
def test_error_of_a_foreign_message_does_not_quote_it(place: Place, logged: Callable[[], str], body: str) -> None:
    """A message that is none of ours stays a dead letter as it came; its cause and the log don't quote it."""
    place.queues.of("parse_file").send([Outgoing(body)])
    place.run()
    (letter,) = place.letters("parse_file")
    assert leaks_in({"attributes": str(dict(letter.attributes)), "log": logged()}) == []


def test_lines_of_the_log_leak_nothing(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """The lines as they reach the log of a function, exceptions with them, hold nothing of a row that broke a hook."""
    caplog.set_level("DEBUG")
    place.use(parse_file={"settings": {"max_reject_ratio": 1.0}})
    place.steps["import_contacts"] = Careless
    place.begin(FILE)
    run_watched(place)
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert any("step_dead_lettered" in line for line in lines)
    assert leaks_in({"lines": "\n".join(lines)}) == []


def test_run_on_this_machine_leaks_nothing(make_repository: Callable[..., Path], tmp_path: Path) -> None:
    """What `qetl run` prints and leaves behind holds no row, but where rows belong.

    That is: payloads and rejects of the bucket, the rejects for the reader, the servers of client and Qualtrics.
    """
    root, file = make_repository(parse_file={"max_reject_ratio": 1.0}), tmp_path / "contacts.csv"
    file.write_bytes(FILE)
    command = [sys.executable, "-m", "qualtrics_etl", "run", str(file)]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    state = root / ".qetl"
    files = {str(path.relative_to(state)): path for path in state.rglob("*") if path.is_file()}
    written = {name: path.read_bytes().decode(errors="replace") for name, path in files.items()}
    places_of_rows = {name for name, _ in leaks_in(written)}
    assert result.returncode == 0, result.stderr
    assert leaks_in({"output": result.stdout + result.stderr, "names": "\n".join(files)}) == []
    assert sorted(name for name in places_of_rows if not any(part in name for part in ROWS_BELONG)) == []
    assert places_of_rows  # else nothing was searched
