"""Thousands of rows through the deployed functions while all goes wrong that a plan says: nothing lost or twice."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from tests.conftest import Bake
from tests.deployment.deployable import Deployable, deployable

from qualtrics_etl.local.emulator import open_directly
from qualtrics_etl.local.place import running_place, sftp_folder
from qualtrics_etl.simulator import Simulator
from qualtrics_etl.testing.chaos import Chaos, Ended, chaos, table
from qualtrics_etl.testing.chaos_plan import ChaosPlan
from qualtrics_etl.testing.runs import mails_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deployment")]

TIMEOUT_SECONDS = 10
"""Of each function: a lease is 60 seconds longer, 14 in all on the store's fast clock."""
VISIBILITY_SECONDS = 12
SMALL_FILES = 2
"""Besides the large one, so that the serial service has more than one message to do."""
BAD_EVERY = 50
RECORDER = '''

class Recorded(type(handler)):
    """Writes down when each call begins and ends."""

    def __call__(self, event, context):
        import json, os, time
        bodies = [each["body"] for each in event.get("Records", [])]
        def note(what):
            line = json.dumps([what, os.getpid(), time.time(), bodies]) + "\\n"
            target = os.open("{file}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(target, line.encode())
            os.close(target)
        note("begins")
        try:
            return super().__call__(event, context)
        finally:
            note("ends")


handler = Recorded(handler.step)
'''


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is to do, and how much must go wrong.

    Attributes:
        rows: Of the large file.
        faults: That are injected at least.
        killed: Workers that are killed at least.
        kinds: Which must be among the faults.
    """

    rows: int
    rows_per_batch: int
    plan: ChaosPlan
    faults: int
    killed: int
    deadline_seconds: float
    kinds: frozenset[str]


USUAL = frozenset(
    {
        *("s3: error", "s3: error after the effect", "s3: throttled", "s3: cut before the effect"),
        *("s3: cut after the effect", "sqs: message sent twice"),
        *("qualtrics: throttle_retry_after", "qualtrics: cut_connection", "qualtrics: slow_jobs"),
    }
)
SELDOM = frozenset(
    {
        *("s3: half an answer", "s3: error at each attempt", "s3: effect, and error at each attempt"),
        *("sqs: error", "sqs: error after the effect", "sqs: throttled", "s3: worker killed before the call"),
        *("qualtrics: unavailable", "qualtrics: timeout", "qualtrics: cut_after_effect", "qualtrics: late_effect"),
        *("qualtrics: error_after_effect", "qualtrics: failed_job", "qualtrics: empty_job", "qualtrics: lagging_lists"),
    }
)
SHORT_PLAN = ChaosPlan(7, chance=0.12, chance_twice=0.6, hard=0.4, intensity=0.4)
SHORT = Sizes(1_200, 100, SHORT_PLAN, faults=80, killed=0, deadline_seconds=900, kinds=USUAL)
LONG = Sizes(10_000, 400, ChaosPlan(11), faults=500, killed=5, deadline_seconds=2_400, kinds=USUAL | SELDOM)
"""The deadlines are those of a machine that is busy with other things."""


@pytest.fixture
def repository(baked: Bake, tools: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Deployable]:
    """A repository from default answers, with a place on this machine of its own."""
    with deployable(baked(), tmp_path / "acme-etl", tools, environment) as made:
        yield made


@pytest.mark.parametrize(
    "sizes", [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.nightly)]
)
def test_every_row_is_accounted_for_and_nobody_is_invited_twice(
    repository: Deployable, sizes: Sizes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Under faults of Qualtrics, S3, SQS and the workers, the end is that of a run that nobody disturbs."""
    people = prepare(repository, sizes)
    repository.make("deploy", "STAGE=local")
    place = running_place(repository.folder)
    assert place is not None
    with capfd.disabled(), chaos(repository.folder, place, sizes.plan, visibility_seconds=VISIBILITY_SECONDS) as made:
        drop(repository, people)
        try:
            ended = made.await_end(2 + SMALL_FILES, 1 + SMALL_FILES, sizes.deadline_seconds, tell=typer.echo)
        except TimeoutError:
            typer.echo(repository.make("logs", "STAGE=local")[-20000:])
            raise
        finally:
            typer.echo(table(made.injected()))
        typer.echo(f"{len(made.proxy.log.killed)} workers killed, {report(ended)}")
        injected = made.injected()
    assert ended.unexplained == []
    assert injected.total() >= sizes.faults
    assert sizes.kinds - injected.keys() == set()
    assert len(made.proxy.log.killed) >= sizes.killed
    check_rows(ended, people)
    check_people(place.base_url, people)
    check_serial(repository, made)


def prepare(repository: Deployable, sizes: Sizes) -> dict[str, list[list[str]]]:
    """Set the repository up for a short life, and return the people of each content by the name of its first file."""
    path = repository.folder / "workflow.yml"
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    for service in content["services"].values():
        service["timeout_seconds"] = TIMEOUT_SECONDS
    content["services"]["parse_file"]["settings"]["rows_per_batch"] = sizes.rows_per_batch
    content["services"]["import_contacts"]["concurrency"] = 3
    content["services"]["create_mailing_list"]["concurrency"] = "serial"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    repository.change("config/local.yml", "stable_seconds: 1 #", "stable_seconds: 5 #")
    repository.change("config/local.yml", "look_after_seconds: 1", "look_after_seconds: 5")
    with (repository.folder / "services" / "create_mailing_list" / "handler.py").open("a") as handler:
        handler.write(RECORDER.replace("{file}", str(intervals(repository))))
    files = {"large.csv": people_of("large", sizes.rows)}
    files |= {f"small-{n}.csv": people_of(f"small{n}", 3) for n in range(SMALL_FILES)}
    return files


def people_of(name: str, rows: int) -> list[list[str]]:
    """Return rows of a file; each fiftieth has no e-mail address."""
    return [
        [
            f"{name}-{n}@client.example" if n % BAD_EVERY != BAD_EVERY - 1 else "nobody",
            f"First{n}",
            f"Last{n}",
            ("DE", "EN", "FR")[n % 3],
            "Riverside",
            "2025-03-03",
        ]
        for n in range(rows)
    ]


def drop(repository: Deployable, people: dict[str, list[list[str]]]) -> None:
    """Put the files on the client's SFTP server, the large one under two names."""
    server = sftp_folder(repository.folder)
    for name, rows in people.items():
        text = io.StringIO()
        csv.writer(text).writerows([["email", "first_name", "last_name", "language", "branch", "visited_on"], *rows])
        for copy in (name, f"copy-of-{name}") if name == "large.csv" else (name,):
            (server / copy).write_text(text.getvalue(), encoding="utf-8")


def good(rows: list[list[str]]) -> set[str]:
    """Return the addresses of those who can be invited."""
    return {row[0] for row in rows if "@" in row[0]}


def intervals(repository: Deployable) -> Path:
    """Return where the serial service writes down when it works."""
    return repository.folder / ".qetl" / "intervals.log"


def report(ended: Ended) -> str:
    """Return what came of it, as lines."""
    rows = [f"{run.file_name}: {next(iter(run.rows.values()))}" for run in ended.runs]
    letters = [f"{count} letters sent back of {what}" for what, count in ended.letters.items()]
    return "\n".join([f"ended after {ended.seconds:.0f} s", *letters, *rows])


def check_rows(ended: Ended, people: dict[str, list[list[str]]]) -> None:
    """The ledger's own sums: each row of each content once."""
    found = {}
    for run in ended.runs:
        (rows,) = run.rows.values()
        assert rows.unaccounted == 0, run
        name = run.file_name.removeprefix("copy-of-")
        found[name] = (rows.read, rows.loaded + rows.updated, rows.rejected)
    assert found == {name: (len(rows), len(good(rows)), len(rows) - len(good(rows))) for name, rows in people.items()}


def check_people(base_url: str, people: dict[str, list[list[str]]]) -> None:
    """Qualtrics: a list for each content, everybody in it once; one invitation and one reminder for each."""
    simulator = Simulator.load(open_directly(f"{base_url}/_sim/dump"))
    state = simulator.state
    addresses = [
        sorted(state.directories[each.directory_id].contacts[member].email or "" for member in each.members)
        for each in state.mailing_lists.values()
    ]
    assert sorted(addresses) == sorted(sorted(good(rows)) for rows in people.values())
    everybody = [address for rows in people.values() for address in good(rows)]
    expected = Counter({(address, kind): 1 for address in everybody for kind in ("Invite", "Reminder")})
    assert mails_of(simulator) == expected


def check_serial(repository: Deployable, made: Chaos) -> None:
    """The serial service: no two of its calls at the same time, its messages first begun in the order of sending."""
    calls = calls_of_serial(repository, made)
    overlaps = [(one, two) for one, two in pairwise(calls) if two.began < one.ended]
    assert overlaps == []
    (sent,) = made.proxy.log.serial.values()
    assert list(dict.fromkeys(call.body for call in calls if call.body in sent)) == list(dict.fromkeys(sent))
    assert len(set(sent)) == 1 + SMALL_FILES


@dataclass(frozen=True, slots=True)
class SerialCall:
    """A call of the serial service's function, by the machine's clock."""

    began: float
    ended: float
    body: str


def calls_of_serial(repository: Deployable, made: Chaos) -> list[SerialCall]:
    """Return the calls that were written down, by their beginning; one without an end was killed."""
    notes = [json.loads(line) for line in intervals(repository).read_text(encoding="utf-8").splitlines()]
    calls = []
    for number, (what, worker, began, bodies) in enumerate(notes):
        if what == "begins" and bodies:
            following = next((note for note in notes[number + 1 :] if note[1] == worker), None)
            killed = made.proxy.log.killed.get(worker, began + TIMEOUT_SECONDS)
            calls.append(SerialCall(began, following[2] if following else killed, bodies[0]))
    return sorted(calls, key=lambda call: call.began)
