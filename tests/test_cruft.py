"""A generated repository keeps its tie to the template: newer versions, and services added or removed later."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from tests.conftest import ROOT, SLUG_FOLDER, Bake, Git, listed_files, tree

Program = Callable[..., str]
Commit = Callable[[Path], str]


@pytest.fixture
def run(environment: dict[str, str]) -> Program:
    """Run a program in a folder, as a person there would, and return what it prints."""

    def start(folder: Path, *command: str, **variables: str) -> str:
        result = subprocess.run(
            command,
            cwd=folder,
            env=environment | {"PWD": str(folder)} | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return start


@pytest.fixture
def own_template(template: Path, tmp_path: Path) -> Path:
    """A checkout of the template that the test may change."""
    return Path(shutil.copytree(template, tmp_path / "etl-template"))


@pytest.fixture
def repository(own_template: Path, bake: Bake, commit_all: Commit, tmp_path: Path) -> Path:
    """The example repository, committed."""
    folder = bake(own_template, tmp_path)
    commit_all(folder)
    return folder


def test_cookiecutter_and_cruft_give_the_same(template: Path, baked: Bake, run: Program, tmp_path: Path) -> None:
    """Generated with cookiecutter or with cruft, a repository is the same, `.cruft.json` included."""
    run(tmp_path, "cruft", "create", "--no-input", str(template))
    assert tree(tmp_path / "acme-etl") == tree(baked())


@pytest.mark.parametrize(("place", "typed"), [("..", "./etl-template"), ("..", "etl-template"), (".", ".")])
def test_relative_address_becomes_a_full_one(
    own_template: Path, run: Program, tmp_path: Path, place: str, typed: str
) -> None:
    """However the template's folder was typed, the repository knows where it is."""
    output = tmp_path / "out"
    run((own_template / place).resolve(), "cookiecutter", typed, "--no-input", "--output-dir", str(output))
    state = json.loads((output / "acme-etl" / ".cruft.json").read_text(encoding="utf-8"))
    assert (state["template"], state["directory"]) == (str(own_template), None)
    assert state["context"]["cookiecutter"]["_template"] == str(own_template)


def test_template_in_a_folder_of_a_larger_repository(
    plain_template: Path, commit_all: Commit, run: Program, tmp_path: Path
) -> None:
    """A template that is one folder of a larger repository is named with this folder."""
    shutil.copytree(plain_template, tmp_path / "larger" / "etl")
    commit = commit_all(tmp_path / "larger")
    run(tmp_path, "cookiecutter", str(tmp_path / "larger"), "--directory", "etl", "--no-input")
    state = json.loads((tmp_path / "acme-etl" / ".cruft.json").read_text(encoding="utf-8"))
    place = [state[key] for key in ("template", "commit", "checkout", "directory")]
    assert place == [str(tmp_path / "larger"), commit, None, "etl"]


@pytest.mark.parametrize("inside_other_repository", [False, True])
def test_copy_without_git_is_not_tied(
    plain_template: Path, commit_all: Commit, run: Program, tmp_path: Path, *, inside_other_repository: bool
) -> None:
    """From a copy of the template that is no git checkout comes a repository without a tie, which says so."""
    if inside_other_repository:
        (tmp_path / ".gitignore").write_text("etl-template\n")
        commit_all(tmp_path)
    copy = Path(shutil.copytree(plain_template, tmp_path / "etl-template"))
    output = run(tmp_path, "cookiecutter", str(copy), "--no-input")
    assert output.splitlines() == [
        f"acme-etl is ready in {tmp_path / 'acme-etl'}. There:",
        "  git init && git add -A && git commit -m 'Generate from the template'",
        "  make test lint            its own tests, first time with a minute of set-up",
        "  make run FILE=tests/data/contacts.csv",
        "  make deploy STAGE=local   the same by Terraform and sls, on an AWS emulator here",
        "  .venv/bin/cruft link ADDRESS   ties it to the template (this copy of the template is no git checkout)",
    ]
    assert not (tmp_path / "acme-etl" / ".cruft.json").exists()


def test_uncommitted_template_is_said(own_template: Path, run: Program, tmp_path: Path) -> None:
    """Changes of the template that are not committed can't be named, and the user hears of it."""
    (own_template / SLUG_FOLDER / "README.md").write_text("changed\n")
    command = f"cookiecutter {own_template} --no-input 2>&1"
    output = run(tmp_path, "bash", "-c", command)
    assert output.startswith(
        "etl-template: the template has uncommitted changes, which .cruft.json can't name.\nacme-etl is ready"
    )


def test_hosted_template_can_be_updated_to_a_release(
    own_template: Path, commit_all: Commit, git: Git, home: Path, run: Program, tmp_path: Path
) -> None:
    """From `gh:...` at one tag to the next: the address is the full one, and check and update find it."""
    remote = tmp_path / "remotes" / "acme-org" / "etl-template.git"
    remote.parent.mkdir(parents=True)
    git(own_template, "tag", "v1")
    (own_template / SLUG_FOLDER / "README.md").write_text("Second release.\n")
    commit_all(own_template)
    git(own_template, "tag", "v2")
    git(tmp_path, "clone", "--quiet", "--bare", str(own_template), str(remote))
    redirect = tmp_path / "gitconfig"
    redirect.write_text(
        f'{(home / ".gitconfig").read_text()}[url "{remote.parent.parent}/"]\ninsteadOf = https://github.com/\n'
    )

    run(
        tmp_path,
        "cookiecutter",
        "gh:acme-org/etl-template",
        "--checkout",
        "v1",
        "--no-input",
        GIT_CONFIG_GLOBAL=str(redirect),
    )
    repository = tmp_path / "acme-etl"
    state = json.loads((repository / ".cruft.json").read_text(encoding="utf-8"))
    assert (state["template"], state["checkout"]) == ("https://github.com/acme-org/etl-template.git", "v1")
    commit_all(repository)
    run(repository, "cruft", "update", "--skip-apply-ask", "--checkout", "v2", GIT_CONFIG_GLOBAL=str(redirect))
    assert (repository / "README.md").read_text() == "Second release.\n"


def test_update_brings_changes_and_keeps_the_clients(
    own_template: Path, repository: Path, commit_all: Commit, run: Program
) -> None:
    """What the template changes arrives; what the client changed stays."""
    run(repository, "cruft", "check")
    handler = repository / "services" / "import_contacts" / "handler.py"
    handler.write_text(handler.read_text() + "\n# the client's own line\n")
    commit_all(repository)
    runbook = own_template / SLUG_FOLDER / "docs" / "runbook.md"
    runbook.write_text(runbook.read_text() + "\nA line of the next release.\n")
    commit_all(own_template)
    run(repository, "cruft", "update", "--skip-apply-ask")
    assert (repository / "docs" / "runbook.md").read_text().endswith("\nA line of the next release.\n")
    assert handler.read_text().endswith("\n# the client's own line\n")
    assert list(repository.rglob("*.rej")) == []


@pytest.mark.parametrize(
    ("change", "answers"),
    [
        ({"reminders": "3"}, {"reminders": "3"}),
        ({"reminders": "0", "send_surveys": "no"}, {"reminders": "0", "send_surveys": False}),
        ({"ci": "gitlab"}, {"ci": "gitlab"}),
    ],
    ids=["services added", "services removed", "other CI"],
)
def test_changed_answer_gives_what_it_would_have_given(
    own_template: Path,
    repository: Path,
    bake: Bake,
    run: Program,
    tmp_path: Path,
    change: dict[str, str],
    answers: dict[str, object],
) -> None:
    """An answer changed later gives the same repository as the same answer at the beginning."""
    run(repository, "cruft", "update", "--skip-apply-ask", "--variables-to-update", json.dumps(change))
    fresh = bake(own_template, tmp_path / "fresh", **answers)
    untied = (".git", ".cruft.json")
    assert tree(repository, without=untied) == tree(fresh, without=untied)
    state = json.loads((repository / ".cruft.json").read_text(encoding="utf-8"))
    assert {key: state["context"]["cookiecutter"][key] for key in answers} == answers


def test_hooks_leave_nothing_behind(template: Path, run: Program, tmp_path: Path) -> None:
    """Rendered hooks hold the answers, and cookiecutter leaves them in the temporary folder; ours remove themselves."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    run(tmp_path, "cookiecutter", str(template), "--no-input", TMPDIR=str(scratch))
    assert list(scratch.iterdir()) == []


# --- by the repository's own `make update-template`, with an owner who has made it their own

Make = Callable[..., subprocess.CompletedProcess[str]]
Test = TypeVar("Test", bound=Callable[..., None])
OWNERS_LINES = (
    ("workflow.yml", "rows_per_batch: 10000", "rows_per_batch: 500"),
    ("workflow.yml", "max_reject_ratio: 0.2 #", "max_reject_ratio: 0.1 #"),
    ("workflow.yml", "send_after_days: 3 #", "send_after_days: 5 #"),
    ("config/dev.yml", "aws_account_id: #", 'aws_account_id: "123456789012" #'),
    ("config/dev.yml", "survey_id: #", "survey_id: SV_abcdefghijklmno #"),
    ("config/dev.yml", "subject: #", "subject: Your visit to us #"),
    ("config/prod.yml", "host: # the client's server", "host: sftp.client.example"),
    ("config/prod.yml", "subject: #", "subject: How was it? #"),
    ("services/import_contacts/handler.py", '"branch": row["branch"], ', '"branch": row["branch"].title(), '),
    ("services/parse_file/handler.py", "lambda_handler(ParseContacts)", "lambda_handler(ParseContacts)  # ours"),
    ("README.md", "# acme-etl", "# acme-etl of the night shift"),
)
"""What the owner makes of a fresh repository: file, text, other text. Last lines of blocks are among them, since what
an update adds comes right behind."""


def by_make(test: Test) -> Test:
    """Mark a test that needs the environment of these: one worker makes it."""
    return pytest.mark.slow(pytest.mark.xdist_group("update")(test))


@pytest.fixture(scope="module")
def environment_of_updates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One environment for the repositories of these tests, which `make` brings up to date with each one's locks."""
    return tmp_path_factory.mktemp("environment") / "venv"


@pytest.fixture
def make(environment: dict[str, str], environment_of_updates: Path) -> Make:
    """Run make in a repository, without a terminal."""

    def run(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["make", f"VENV={environment_of_updates}", f"PYTHON={sys.executable}", *arguments]
        return subprocess.run(
            command,
            cwd=repository,
            env=environment | {"PWD": str(repository)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def owned(repository: Path, commit_all: Commit) -> Path:
    """A repository whose owner has edited handlers, settings and stages, committed."""
    for name, text, other in OWNERS_LINES:
        change(repository / name, text, other)
    commit_all(repository)
    return repository


def change(path: Path, text: str, other: str) -> None:
    """Replace a text that must be in a file."""
    content = path.read_text(encoding="utf-8")
    assert text in content, (path, text)
    path.write_text(content.replace(text, other), encoding="utf-8")


def lost_lines(repository: Path) -> list[tuple[str, str]]:
    """Return what of the owner's is no longer there."""
    return [
        (name, text)
        for name, _, text in OWNERS_LINES
        if not (repository / name).is_file() or text not in (repository / name).read_text(encoding="utf-8")
    ]


def conflicts(repository: Path) -> list[str]:
    """Return the files where two changes met: with marks in them, or put aside."""
    marks = re.compile(rb"^(<<<<<<<|>>>>>>>) ", re.MULTILINE)
    return [name for name, content in tree(repository).items() if name.endswith(".rej") or marks.search(content)]


def services_of(repository: Path) -> list[str]:
    """Return the folders of services."""
    return sorted(path.name for path in (repository / "services").iterdir())


@by_make
def test_change_of_the_template_reaches_an_edited_repository(
    own_template: Path, owned: Path, make: Make, commit_all: Commit, git: Git
) -> None:
    """Files that the owner edited get the template's change as well, and lose nothing; the result still agrees."""
    own = own_template / SLUG_FOLDER
    change(own / "workflow.yml", "memory_mb: 1024", "memory_mb: 2048")
    change(own / "workflow.yml", "chains:", "# In this order.\nchains:")
    change(own / "config" / "dev.yml", "  port: 22", "  port: 22 # nearly always")
    change(own / "services" / "import_contacts" / "function.yml", "disableLogs: true #", "disableLogs: true # as")
    change(own / "docs" / "runbook.md", "\n## ", "\nA line of the next release.\n\n## ")
    commit = commit_all(own_template)
    result = make(owned, "update-template")
    assert (result.returncode, conflicts(owned), lost_lines(owned)) == (0, [], []), result.stdout + result.stderr
    assert git(owned, "diff", "HEAD", "--name-only").splitlines() == [
        ".cruft.json",
        "config/dev.yml",
        "docs/runbook.md",
        "services/import_contacts/function.yml",
        "workflow.yml",
    ]
    workflow = (owned / "workflow.yml").read_text(encoding="utf-8")
    assert ("memory_mb: 2048" in workflow, "# In this order.\nchains:" in workflow) == (True, True)
    assert json.loads((owned / ".cruft.json").read_text(encoding="utf-8"))["commit"] == commit
    checked = make(owned, "check", "template-check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@by_make
def test_services_are_added_and_removed_around_edits(owned: Path, make: Make, commit_all: Commit) -> None:
    """Two services come with another answer and go with the first one; the owner's edits beside them stay."""
    before = tree(owned)
    for reminders, extra in (("3", ["schedule_second_reminder", "schedule_third_reminder"]), ("1", [])):
        result = make(owned, "update-template", f'ANSWERS={{"reminders": "{reminders}"}}')
        assert (result.returncode, conflicts(owned), lost_lines(owned)) == (0, [], []), result.stdout + result.stderr
        assert set(services_of(owned)) >= set(extra)
        checked = make(owned, "check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        commit_all(owned)
    assert {name for name, content in tree(owned).items() if before.get(name) != content} == set()


@by_make
def test_edits_of_what_goes_are_not_lost_silently(owned: Path, make: Make) -> None:
    """Where a service goes whose settings the owner had made, make fails and leaves both to choose from."""
    result = make(owned, "update-template", 'ANSWERS={"reminders": "0"}')
    assert result.returncode != 0
    assert conflicts(owned) == ["config/dev.yml", "config/prod.yml", "workflow.yml"]
    assert "config/dev.yml:" in result.stdout
    assert "Some changes met yours. Settle the places named above" in result.stderr


@by_make
def test_uncommitted_work_is_not_mixed_in(owned: Path, own_template: Path, make: Make, git: Git) -> None:
    """With work that is not committed yet, nothing is updated."""
    (own_template / SLUG_FOLDER / "README.md").write_text("changed\n")
    git(own_template, "commit", "--quiet", "--all", "--message", "Change")
    (owned / "workflow.yml").write_text("unfinished\n")
    assert make(owned, "update-template").returncode != 0
    assert git(owned, "diff", "HEAD", "--name-only") == "workflow.yml"


@by_make
def test_pin_of_the_library_moves(
    own_template: Path, owned: Path, make: Make, environment_of_updates: Path, commit_all: Commit
) -> None:
    """A release of the library arrives whole: the wheel, its pin in every lock, and then the environment."""
    (old,) = (owned / "vendor").glob("*.whl")
    for name in listed_files("shared_lib"):
        (own_template / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, own_template / name)
    change(own_template / "shared_lib/src/qualtrics_etl/__init__.py", '"""', '"""Next release. ')
    pin = [sys.executable, "shared_lib/pin_wheel.py"]
    subprocess.run(pin, cwd=own_template, check=True, capture_output=True)
    commit_all(own_template)
    result = make(owned, "update-template")
    assert (result.returncode, conflicts(owned), lost_lines(owned)) == (0, [], []), result.stdout + result.stderr
    (new,) = (owned / "vendor").glob("*.whl")
    assert new.name != old.name
    version, digest = new.name.split("-")[1], hashlib.sha256(new.read_bytes()).hexdigest()
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(owned.glob("requirements*"))}
    pins = {name: re.findall(r"^qualtrics-etl\S*==(\S+)", text, re.MULTILINE) for name, text in texts.items()}
    assert {name: found for name, found in pins.items() if found} == {
        name: [version] for name in texts if re.fullmatch(r"requirements(-dev|-sftp)?\.(in|txt)", name)
    }
    assert [name for name, text in texts.items() if old.name.split("-")[1] in text] == []
    assert [name for name, text in texts.items() if digest in text] == [
        name for name in texts if re.fullmatch(r"requirements(-dev|-sftp)?\.txt", name)
    ]
    installed = make(owned, "setup")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    ask = "import importlib.metadata as m; print(m.version('qualtrics-etl'))"
    command = [str(environment_of_updates / "bin" / "python"), "-c", ask]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == version
