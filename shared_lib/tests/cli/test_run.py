"""`qetl run`: what a person sees, and what a script can rely on: the exit codes."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Make = Callable[..., Path]
COMMAND = [sys.executable, "-m", "qualtrics_etl", "run"]


def qetl_run(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a repository, as a person would."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_summary_accounts_for_rows_ids_and_what_waits(make_repository: Make, write_contacts: Make) -> None:
    """At the end stand the sum of the rows, where the rejects are, and a line a service with what it made."""
    root = make_repository()
    result = qetl_run(root, write_contacts(good=9, bad=1))
    assert (result.returncode, result.stderr) == (0, "")
    assert "10 rows in = 9 imported (9 new, 0 known) + 1 rejected + 0 skipped" in result.stdout
    for service, made in {
        "create_mailing_list": "CG_",
        "schedule_distribution": "EMD_",
        "schedule_reminder": "EMD_",
    }.items():
        assert re.search(rf"^{service} +1 +0 +0 +\d\.\d\d +{made}\w{{15}} ", result.stdout, re.MULTILINE)
    (rejects,) = (root / ".qetl" / "rejects").glob("*.csv")
    assert [row["line"] for row in csv.DictReader(rejects.read_text().splitlines())] == ["11"]


def test_receipt_has_a_line_a_row(make_repository: Make, write_contacts: Make) -> None:
    """Each run has its receipt, whose place is said: a line for each row of the file."""
    root = make_repository(parse_file={"rows_per_batch": 4})
    result = qetl_run(root, write_contacts(good=9, bad=1))
    (receipt,) = (root / ".qetl" / "receipts").glob("acme-etl-*.csv")
    assert f"What became of each row: {receipt.relative_to(root)}" in result.stdout
    rows = [(row["line"], row["outcome"]) for row in csv.DictReader(receipt.read_text().splitlines())]
    assert rows == [*((str(line), "loaded") for line in range(2, 11)), ("11", "rejected")]


def test_rows_that_are_unaccounted_for_are_named_by_line(make_repository: Make, write_contacts: Make) -> None:
    """Where a run waits, the reader learns which lines of the file wait, and the receipt says for what."""
    root = make_repository()
    (root / "services" / "create_mailing_list" / "handler.py").write_text(
        "from qualtrics_etl import CreateMailingList, lambda_handler\n\n\n"
        "class Own(CreateMailingList):\n"
        "    def build_name(self, *, context):\n"
        "        return 7\n\n\n"
        "handler = lambda_handler(Own)\n"
    )
    result = qetl_run(root, write_contacts(good=4, bad=1))
    assert "5 rows in = 0 imported (0 new, 0 known) + 1 rejected + 0 skipped + 4 unaccounted for" in result.stdout
    assert "Unaccounted for: 4 rows, lines 2-5." in result.stdout


def test_branch_has_a_receipt_a_service(make_branch: Make, write_contacts: Make) -> None:
    """Where two services import the file's rows, each has a receipt."""
    root = make_branch()
    qetl_run(root, write_contacts(good=9, bad=1))
    receipts = sorted((root / ".qetl" / "receipts").glob("*.csv"))
    assert [path.name.split(".")[1] for path in receipts] == ["import_contacts", "import_staff"]
    assert {len(path.read_text().splitlines()) for path in receipts} == {11}


def test_branch_has_a_sum_a_service(make_branch: Make, write_contacts: Make) -> None:
    """Where two services import the file's rows, each has a line that sums up."""
    result = qetl_run(make_branch(), write_contacts(good=9, bad=1))
    assert re.findall(r"^  (\w+): 10 rows in = 9 imported \(.*\) \+ 1 rejected \+ 0 skipped$", result.stdout, re.M) == [
        "import_contacts",
        "import_staff",
    ]


def test_refused_file_has_its_rejects(make_repository: Make, write_contacts: Make) -> None:
    """A file with too many bad rows is a run too: the reader finds the reason of each row on this machine."""
    root = make_repository(parse_file={"rows_per_batch": 3})
    result = qetl_run(root, write_contacts(good=1, bad=9))
    assert "Refused as a whole by parse_file: its dead letter says why." in result.stdout
    (rejects,) = (root / ".qetl" / "rejects").glob("acme-etl-*.csv")
    assert f"Rejected rows, with line, field and reason: {rejects.relative_to(root)}" in result.stdout
    lines = [int(row["line"]) for row in csv.DictReader(rejects.read_text().splitlines())]
    assert lines == list(range(3, 12))


def test_same_content_again_says_so(make_repository: Make, write_contacts: Make) -> None:
    """The second file of the same content imports nothing, and the reader learns why."""
    root = make_repository()
    qetl_run(root, write_contacts())
    again = qetl_run(root, write_contacts(name="again.csv"))
    assert again.returncode == 0
    assert "The file began no run. Its content was taken before: run acme-etl-" in again.stdout


def test_fresh_forgets_what_was_taken(make_repository: Make, write_contacts: Make) -> None:
    """With --fresh the same file is a new one; the stage on this machine, which lies beside it, is not touched."""
    root = make_repository()
    qetl_run(root, write_contacts())
    kept = [root / ".qetl" / name for name in ("local/place.json", "deploy/dev/lock", "receipts/a-stages.csv")]
    for file in kept:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("kept")
    assert "5 imported (5 new, 0 known)" in qetl_run(root, write_contacts(), "--fresh").stdout
    assert [file.read_text() for file in kept] == ["kept"] * 3


def test_what_cannot_succeed_is_told_with_its_remedy(make_repository: Make, write_contacts: Make) -> None:
    """Exit code 1: something waits in a dead-letter queue; the text says why, who waits for it, and what to do."""
    result = qetl_run(make_repository(), write_contacts(good=1, bad=9))
    assert result.returncode == 1
    assert re.search(
        r"^parse_file: waits in the dead-letter queue \(run acme-etl-\w{12}, file contacts.csv\)$", result.stdout, re.M
    )
    assert "9 of 10 rows were rejected, more than max_reject_ratio (20%) allows" in result.stdout
    assert "Then mend delimiter, encoding, columns or the row model" in result.stdout
    assert "\n  create_mailing_list waits for parse_file (dead-lettered)\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: Give either a file or --resume. For example: qetl run tests/data/contacts.csv\n"),
        (["no.csv"], "error: no.csv: there is no such file. Give the path of the client's file.\n"),
        (["--resume"], "error: There is nothing to resume. Start a run: qetl run FILE\n"),
    ],
)
def test_wrong_usage_says_what_is_right(make_repository: Make, arguments: list[str], message: str) -> None:
    """Exit code 2, and one line that tells what to type."""
    result = qetl_run(make_repository(), *arguments)
    assert (result.returncode, result.stderr) == (2, message)


def test_outside_a_repository_it_says_where_to_be(tmp_path: Path) -> None:
    """The commonest mistake of a first evening."""
    result = qetl_run(tmp_path, "no.csv")
    assert result.returncode == 2
    assert result.stderr == (
        f"error: workflow.yml: there is no such file at {tmp_path}."
        " Run the command in the folder of a generated repository.\n"
    )


def test_handler_that_cannot_be_imported_is_named(make_repository: Make, write_contacts: Make) -> None:
    """A mistake in a handler is told with file and cause, not as a traceback."""
    root = make_repository()
    (root / "services" / "parse_file" / "handler.py").write_text("import nothing_like_this\n")
    assert qetl_run(root, write_contacts()).stderr == (
        "error: services/parse_file/handler.py can't be imported: ModuleNotFoundError:"
        " No module named 'nothing_like_this'. `make lint` shows where.\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_state_that_resume_finishes(
    make_repository: Make, write_contacts: Make, number: signal.Signals
) -> None:
    """Exit code 130; without --resume nothing new is started over it; with it, the run ends as if never stopped."""
    root = make_repository(parse_file={"rows_per_batch": 1})
    file = write_contacts(good=100)
    process = subprocess.Popen(
        [*COMMAND, str(file)], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait_for(root / ".qetl" / "run.log", "import_contacts")
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, "Stopped. Finish it with: qetl run --resume" in output) == (130, True)

    refused = qetl_run(root, file)
    assert refused.returncode == 2
    assert refused.stderr == (
        "error: A run that was stopped lies in .qetl. Finish it with `qetl run --resume`, or start anew with --fresh.\n"
    )
    resumed = qetl_run(root, "--resume")
    assert resumed.returncode == 0
    assert "100 rows in = 100 imported (100 new, 0 known) + 0 rejected + 0 skipped" in resumed.stdout


def test_help_teaches(tmp_path: Path) -> None:
    """The help says what happens, where it lies, what the exit codes mean, and shows commands to copy."""
    environment = {**os.environ, "COLUMNS": "100"}
    result = subprocess.run(
        [*COMMAND, "--help"], cwd=tmp_path, capture_output=True, text=True, env=environment, check=True
    )
    for text in (
        "No account and no network are needed",
        ".qetl",
        "--resume",
        "Exit code: 0",
        "qetl run tests/data/contacts.csv",
    ):
        assert text in " ".join(result.stdout.split())


def _wait_for(log: Path, text: str) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if log.exists() and text in log.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"{text} never appeared in the log")
