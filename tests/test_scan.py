"""What comes out of the template is clean to every scanner, and the scanners do find what is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.answers import PAIRWISE, SUPPORTED, Answers, nightly_besides, pairs
from tests.conftest import Bake
from tests.terraform.environments import node_modules, python_environment, scanner_programs

from qualtrics_etl.deployment.scan import ScanResult, scan
from qualtrics_etl.deployment.scanners import SCANNERS

MOST_SCANNED = 12
# One worker scans: the scanners keep both processors busy by themselves.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("scan")]

Scan = Callable[[Path], tuple[ScanResult, list[str]]]
Spoilt = tuple[Path, list[tuple[str, str, str]], ScanResult, list[str]]


CHOSEN = PAIRWISE[:MOST_SCANNED]


@pytest.fixture(scope="session")
def tools() -> dict[str, str]:
    """Where the tools of the scan are."""
    return {
        "QETL_SCAN_BIN": str(scanner_programs()),
        "QETL_SLS": str(node_modules() / ".bin" / "sls"),
        "QETL_EMULATOR_PYTHON": str(python_environment("emulator")),
    }


@pytest.fixture(scope="session")
def scanned(tools: dict[str, str]) -> Scan:
    """Scan a repository, and return the result and what was told meanwhile."""

    def run(repository: Path) -> tuple[ScanResult, list[str]]:
        told: list[str] = []
        return scan(repository, tools, told.append), told

    return run


@pytest.fixture
def own(baked: Bake, tmp_path: Path) -> Path:
    """A generated repository that the test may change."""
    return Path(shutil.copytree(baked(), tmp_path / "acme-etl"))


def test_chosen_combinations_cover_every_answer() -> None:
    """At most twelve repositories are scanned; they have every answer, and all pairs of answers but one at most."""
    covered = set().union(*map(pairs, CHOSEN))
    assert len(CHOSEN) <= MOST_SCANNED
    assert {item for pair in covered for item in pair} == {item for answers in SUPPORTED for item in answers.items()}
    assert len(set().union(*map(pairs, SUPPORTED)) - covered) <= 1


@nightly_besides(CHOSEN)
def test_fresh_repository_is_clean(baked: Bake, scanned: Scan, answers: Answers, tmp_path: Path) -> None:
    """Fresh from the template, there is nothing to mend and no exception too many, to any scanner."""
    result, _ = scanned(Path(shutil.copytree(baked(**answers), tmp_path / "acme-etl")))
    assert (result.findings, result.stale) == ((), ())


def append(path: Path, text: str) -> None:
    """Add lines to a file."""
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def plant(repository: Path) -> Iterator[tuple[str, str, str]]:
    """Do what must not be done, once for each scanner; yield scanner, rule and file of what must be found."""
    ci = repository / ".github" / "workflows" / "ci.yml"
    text = ci.read_text(encoding="utf-8")
    ci.write_text(
        text.replace("actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "actions/checkout@v6")
    )
    yield "zizmor", "unpinned-uses", ".github/workflows/ci.yml"

    append(repository / ".github" / "workflows" / "nightly.yml", "      - run: test -e $HOME/x && rm $1\n")
    yield "actionlint", "shellcheck", ".github/workflows/nightly.yml"

    statement = 'Statement = [{ Effect = "Allow", Action = "*", Resource = "*" }]'
    policy = f'policy = jsonencode({{\n    Version = "2012-10-17"\n    {statement}\n  }})'
    append(repository / "terraform" / "permissions.tf", f'\nresource "aws_iam_policy" "open" {{\n  {policy}\n}}\n')
    yield "checkov", "CKV_AWS_62", "terraform/permissions.tf"

    # In two halves, so that nobody takes this file's for a real one.
    key = "".join(reversed(("Q3EGSZ4TVNKM7P2X", "AKIA")))
    append(repository / "services" / "fetch_sftp_file" / "handler.py", f'\nACCESS_KEY = "{key}"\n')
    yield "checkov", "CKV_SECRET_2", "services/fetch_sftp_file/handler.py"

    append(repository / "services" / "parse_file" / "handler.py", '\nimport os\n\nos.system("ls " + os.environ["X"])\n')
    yield "bandit", "B605", "services/parse_file/handler.py"

    append(repository / "services" / "import_contacts" / "handler.py", "\nimport pickle  # nosec\n")
    yield "bandit", "B403", "services/import_contacts/handler.py"
    yield "bandit", "inline-exception", "services/import_contacts/handler.py"

    append(repository / "Makefile", "\nremove:\n\trm -rf $$HOME/$$NAME\n")
    yield "shellcheck", "SC2086", "Makefile"

    queue = "Type: AWS::SQS::Queue\n      Properties:\n        DelaySeconds: 5000"
    append(repository / "serverless.yml", f"\nresources:\n  Resources:\n    Late:\n      {queue}\n")
    yield "cfn-lint", "E3034", "build/scan/cloudformation.json"


@pytest.fixture(scope="session")
def spoilt(baked: Bake, scanned: Scan, tmp_path_factory: pytest.TempPathFactory) -> Spoilt:
    """A repository where everything was done that must not be, and what the scanners say."""
    repository = Path(shutil.copytree(baked(), tmp_path_factory.mktemp("spoilt") / "acme-etl"))
    return repository, list(plant(repository)), *scanned(repository)


def test_each_scanner_finds_what_it_is_for(spoilt: Spoilt) -> None:
    """An unpinned action, an open policy, a secret, a shell command from outside and others are all found."""
    _, planted, result, told = spoilt
    found = {(finding.tool, finding.rule, finding.file) for finding in result.findings}
    assert [each for each in planted if each not in found] == []
    assert {tool for tool, _, _ in planted} == {scanner.name for scanner in SCANNERS}
    assert sorted(line.split()[0] for line in told) == sorted(scanner.name for scanner in SCANNERS)


def test_lines_of_findings_are_those_of_the_faults(spoilt: Spoilt) -> None:
    """A finding names the line of the fault: in a recipe too, and in the stack's template, which is kept for that."""
    repository, _, result, _ = spoilt
    lines = {
        finding.rule: (repository / finding.file).read_text(encoding="utf-8").splitlines()[finding.line - 1].strip()
        for finding in result.findings
    }
    assert {
        rule: lines[rule].split(" ")[0] for rule in ("B605", "CKV_SECRET_2", "E3034", "SC2086", "unpinned-uses")
    } == {
        "B605": 'os.system("ls',
        "CKV_SECRET_2": "ACCESS_KEY",
        "E3034": '"DelaySeconds":',
        "SC2086": "rm",
        "unpinned-uses": "-",
    }


def qetl_scan(repository: Path, tools: dict[str, str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `qetl scan` in a repository."""
    command = [str(Path(sys.executable).with_name("qetl")), "scan"]
    environment = os.environ | tools | variables
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)


def test_command_fails_on_an_exception_too_many(own: Path, tools: dict[str, str]) -> None:
    """`qetl scan` ends with 1 when there is something to mend, be it only in scan.yml, and says what."""
    append(own / "scan.yml", "bandit:\n  B602:\n    reason: The shell is only given words of our own.\n")
    result = qetl_scan(own, tools)
    assert result.returncode == 1, result.stderr
    line = len((own / "scan.yml").read_text(encoding="utf-8").splitlines()) - 1
    assert result.stderr == (
        f"scan.yml:{line}: bandit no longer finds B602. Delete the exception, so that it covers nothing new.\n"
    )
    assert "\n0 to mend, 1 exceptions to delete. (" in result.stdout


def test_command_cannot_run_without_its_scanners(own: Path, tools: dict[str, str]) -> None:
    """`qetl scan` ends with 2 where it could not look, which is not the same as clean."""
    result = qetl_scan(own, tools, QETL_SCAN_BIN="nowhere")
    assert result.returncode == 2
    assert result.stderr == (
        f"error: The scanner checkov is not installed: there is no {own}/nowhere/checkov."
        " Run `make scan`, which installs the scanners; QETL_SCAN_BIN names another folder.\n"
    )
    assert result.stdout == ""


def test_command_does_not_take_a_failed_tool_for_findings(own: Path, tools: dict[str, str]) -> None:
    """Where sls can't package the functions, `qetl scan` ends with 2 and says what sls said."""
    append(own / "serverless.yml", "\nunknown: true\n")
    result = qetl_scan(own, tools)
    assert result.returncode == 2
    assert result.stderr.startswith("error: sls can't package the functions:\n")
    assert "unrecognized property 'unknown'" in result.stderr
