"""A worker may die at any of its calls: the end is that of a run in which nothing went wrong."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.testing import CrashKind, CrashMatrix, CrashReport
from qualtrics_etl.testing.__main__ import main
from qualtrics_etl.testing.boundaries import ACKNOWLEDGE

Make = Callable[..., Path]
FILE = "contacts.csv"
CHAIN = (
    "fetch_sftp_file",
    "parse_file",
    "create_mailing_list",
    "import_contacts",
    "schedule_distribution",
    "schedule_reminder",
)
DEATHS = (CrashKind.KILLED_AFTER, CrashKind.LATE)
"""Who dies before a call has died after the last one."""


def with_file(root: Path, **services: object) -> Path:
    """Put a file of five rows into a repository, one of them bad; change settings of all its services."""
    workflow = yaml.safe_load((root / "workflow.yml").read_text(encoding="utf-8"))
    workflow["services"]["parse_file"].setdefault("settings", {})["max_reject_ratio"] = 0.5
    for service in workflow["services"].values():
        service.update(services)
    (root / "workflow.yml").write_text(yaml.safe_dump(workflow, sort_keys=False), encoding="utf-8")
    good = [f"p{number}@client.example,P{number},North" for number in range(4)]
    lines = ["email,first_name,branch", *good[:3], "bad@client.example,Q,North,too many", *good[3:]]
    (root / FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


@pytest.mark.parametrize("service", [*CHAIN, "whole run"])
def test_default_workflow_ends_the_same_wherever_a_worker_dies(make_repository: Make, service: str) -> None:
    """Each call of each service, each kind of fault: every end equals the clean one, and no message is put aside."""
    with CrashMatrix(with_file(make_repository()), FILE) as matrix:
        report = matrix.run(services=[service])
    sys.stdout.write(f"\n{report}\n")
    assert report.is_good, f"\n{report}"
    assert [result.case for result in report.results if result.stopped_as_unknown] == []


def test_post_ends_the_same_wherever_its_worker_dies(make_post_repository: Make) -> None:
    """A client's POST that is killed, refused, unheard or overtaken at any call is repeated by the client: one run."""
    with CrashMatrix(with_file(make_post_repository()), FILE) as matrix:
        report = matrix.run(services=["receive_post"])
        met = {boundary.what.split("/")[0] for boundary in matrix.boundaries if boundary.service == "receive_post"}
    sys.stdout.write(f"\n{report}\n")
    assert report.is_good, f"\n{report}"
    assert met == {
        "get files",
        "put payloads",
        "put files",
        "send 1 to receive_post",
        "put ledger",
        "send 1 to parse_file",
        ACKNOWLEDGE,
    }


def test_import_of_unknown_outcome_stops_and_is_never_made_twice(make_repository: Make) -> None:
    """Where the directory knows nobody again, an import that may have been made waits for a person, and only then."""
    with CrashMatrix(with_file(make_repository()), FILE, deduplicates=False) as matrix:
        report = matrix.run(services=["import_contacts"])
    sys.stdout.write(f"\n{report}\n")
    assert report.is_good, f"\n{report}"
    # A worker that dies again may do so in any batch, so that such a case says nothing of its own call.
    cases = [result for result in report.results if result.case.kind != CrashKind.KILLED_AGAIN.value]
    stopped = {result.case for result in cases if result.stopped_as_unknown}
    unheard = {
        case
        for case in matrix.cases(services=["import_contacts"], kinds=[CrashKind.KILLED_AFTER, CrashKind.LOST_ANSWER])
        if case.what.startswith("POST ")
    }
    assert len(unheard) == 6
    assert unheard <= stopped
    harmless = (ACKNOWLEDGE, "send 1 to import_contacts", "GET ", "list ")
    assert [case for case in stopped if case.what.startswith(harmless)] == []


@pytest.mark.parametrize(
    "settings",
    [
        {"after_fetch": "delete"},
        {"after_fetch": "move:done"},
        {"after_fetch": "move:done", "marker_suffix": ".ok"},
    ],
    ids=["deleted", "moved", "marked"],
)
def test_client_file_is_put_away_once_wherever_a_worker_dies(make_repository: Make, settings: dict[str, str]) -> None:
    """The client's folders end as in the clean run: nothing lost, nothing moved twice, no marker left alone."""
    root = with_file(make_repository(fetch_sftp_file=settings))
    with CrashMatrix(root, FILE) as matrix:
        report = matrix.run(services=["fetch_sftp_file"], kinds=DEATHS)
    assert report.is_good, f"\n{report}"


@pytest.mark.parametrize("services", [{"concurrency": "serial"}, {"batch_size": 5}], ids=["serial", "batches"])
def test_other_queues_lose_nothing_either(make_repository: Make, services: dict[str, object]) -> None:
    """FIFO queues, and functions that are given several messages at once, all of which die with one."""
    with CrashMatrix(with_file(make_repository(), **services), FILE) as matrix:
        report = matrix.run(kinds=[CrashKind.KILLED_AFTER])
    assert report.is_good, f"\n{report}"


def test_branches_lose_nothing_either(make_branch: Make) -> None:
    """Two lists and two imports from one file, each with its own part of the chain."""
    with CrashMatrix(with_file(make_branch()), FILE) as matrix:
        report = matrix.run(services=["parse_file", "create_staff_list", "import_staff"], kinds=[CrashKind.LATE])
    assert report.is_good, f"\n{report}"
    assert {boundary.service for boundary in matrix.boundaries} >= {*CHAIN, "create_staff_list", "import_staff"}


def as_xml(table: bytes) -> bytes:
    """Return the file of five rows as XML; the bad one has an element twice."""
    names, *rows = [line.split(",") for line in table.decode().splitlines()]
    elements = [zip([*names, names[-1]], row, strict=False) for row in rows]
    records = ["".join(f"<{name}>{cell}</{name}>" for name, cell in each) for each in elements]
    return ("<all>\n" + "".join(f"<c>{record}</c>\n" for record in records) + "</all>").encode()


@pytest.mark.parametrize("form", [gzip.compress, as_xml], ids=["gzip", "xml"])
def test_files_that_are_read_from_their_beginning_lose_nothing_either(
    make_repository: Make, form: Callable[[bytes], bytes]
) -> None:
    """Who parses a packed file or XML after a worker that died there leaves the batches of the clean run."""
    root = with_file(make_repository())
    (root / FILE).write_bytes(form((root / FILE).read_bytes()))
    # As many lines as the file has: the beginning of an archive is none.
    with CrashMatrix(root, FILE, rows=1_000, rows_per_batch=2) as matrix:
        report = matrix.run(services=["parse_file"], kinds=DEATHS)
    assert report.is_good, f"\n{report}"
    assert any(each.what.endswith("/batches/00002") for each in matrix.boundaries)


LARGE_CONTACTS = """\
from dataclasses import replace

from qualtrics_etl import ImportContacts, lambda_handler


class Own(ImportContacts):
    def build_contact(self, row, *, context):
        contact = super().build_contact(row, context=context)
        return replace(contact, embedded_data={f"x{number}": "x" * 1000 for number in range(2600)})


handler = lambda_handler(Own)
"""


def test_halves_of_a_batch_lose_nothing_either(make_repository: Make) -> None:
    """A batch that is larger than one request takes is halved once, whoever dies at it."""
    root = with_file(make_repository())
    (root / "services/import_contacts/handler.py").write_text(LARGE_CONTACTS, encoding="utf-8")
    with CrashMatrix(root, FILE, rows=2) as matrix:
        report = matrix.run(services=["import_contacts"], kinds=[CrashKind.KILLED_AFTER])
    assert report.is_good, f"\n{report}"
    assert any(each.what.endswith("/halves/00000.1") for each in matrix.boundaries)


REFUSED_ROWS = b"""email,language
p0@client.example,EN
p1@client.example,Hochdeutsch
nobody@client,EN
p3@client.example,EN
"""
"""The second row refuses its whole batch; the third fails in the job of its own."""


def test_rows_that_qualtrics_refuses_end_the_same_wherever_a_worker_dies(make_repository: Make) -> None:
    """A batch is halved, and a report is read: each row's outcome and reject is that of the clean run, whoever dies."""
    root = with_file(make_repository())
    (root / FILE).write_bytes(REFUSED_ROWS)
    with CrashMatrix(root, FILE, rows=4) as matrix:
        report = matrix.run(services=["import_contacts"], kinds=DEATHS)
    assert report.is_good, f"\n{report}"
    assert [result.case for result in report.results if result.stopped_as_unknown] == []
    calls = [each.what for each in matrix.boundaries]
    assert any("/halves/00000.1" in each for each in calls)
    assert any(each.endswith("/report") for each in calls)


def test_every_call_is_a_boundary(make_repository: Make) -> None:
    """Store, queues, Qualtrics and the client's server: every kind of call is found, and each is a case both ways."""
    with CrashMatrix(with_file(make_repository()), FILE) as matrix:
        found = {(each.service, each.what.rpartition(" /")[0] or each.what.split(" ")[0]) for each in matrix.boundaries}
        assert {service for service, _ in found} == set(CHAIN)
        fetching = {what for service, what in found if service == "fetch_sftp_file"}
        assert fetching >= {"sftp list", "sftp open", "sftp lstat", "list", "put", "send", "acknowledge"}
        importing = {what for service, what in found if service == "import_contacts"}
        assert importing == {"POST", "GET", "get", "put", "list", "send", "acknowledge"}
        both = list(matrix.cases(kinds=[CrashKind.KILLED_BEFORE, CrashKind.KILLED_AFTER]))
        acknowledged = sum(each.what == ACKNOWLEDGE for each in matrix.boundaries)
        killed = [case for case in both if case.service in CHAIN]
        assert len(killed) == 2 * len(matrix.boundaries) - acknowledged


def test_report_counts_by_service(make_repository: Make) -> None:
    """The table says for each service how many boundaries it has, and how its cases ended."""
    with CrashMatrix(with_file(make_repository()), FILE) as matrix:
        report = matrix.run(services=["schedule_reminder"], kinds=[CrashKind.KILLED_BEFORE])
    lines = [line.split() for line in str(report).splitlines()]
    assert lines[0] == ["boundaries", "cases", "equal", "unknown", "failed"]
    assert ["schedule_reminder", "8", "8", "8", "0", "0"] in lines
    assert lines[-1] == ["all", str(len(matrix.boundaries)), "8", "8", "0", "0"]


def test_nothing_that_was_not_tried_is_good() -> None:
    """A report without cases proves nothing."""
    assert not CrashReport((), ()).is_good


def test_single_case_is_run_by_its_name(
    make_repository: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command of a report repeats one case, and shows every call from its beginning on."""
    monkeypatch.chdir(with_file(make_repository()))
    assert main([FILE, "schedule_distribution/6/killed_after"]) == 0
    shown = capsys.readouterr().out
    assert "schedule_distribution 6 POST /API/v3/distributions  <- killed_after\n" in shown
    assert "schedule_distribution 12 GET /API/v3/distributions\n" in shown


def test_case_that_does_not_exist_is_refused(
    make_repository: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong name ends with status 2 and says where the right ones are."""
    monkeypatch.chdir(with_file(make_repository()))
    assert main([FILE, "schedule_distribution/99/killed_after"]) == 2
    assert capsys.readouterr().err == (
        "There is no case schedule_distribution/99/killed_after."
        " Run all cases; the names of those that fail are in the report.\n"
    )


def test_service_that_does_not_exist_is_refused(make_repository: Make) -> None:
    """The cases of a service that the workflow does not have are not silently none."""
    with CrashMatrix(with_file(make_repository()), FILE) as matrix, pytest.raises(ConfigurationError) as refused:
        matrix.run(services=["import_contact"])
    assert str(refused.value) == f"The workflow has no service import_contact. It has: {', '.join(CHAIN)}."


def test_same_case_makes_the_same_calls(make_repository: Make) -> None:
    """A case is the same whether it runs first, last or alone: what fails once can be looked at again."""
    with CrashMatrix(with_file(make_repository()), FILE) as matrix:
        late, *_ = matrix.cases(services=["import_contacts"], kinds=[CrashKind.LATE])
        matrix.run_case(late)
        first = matrix.trace()
        matrix.run_case(matrix.case("parse_file/5/killed_after"))
        matrix.run_case(late)
        assert matrix.trace() == first
