"""A generated repository keeps its tie to the template: newer versions, and services added or removed later."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import SLUG_FOLDER, Bake, Git, tree

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
