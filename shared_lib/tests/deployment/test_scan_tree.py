"""Scanners see what git keeps, whether the repository is a checkout yet or not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from qualtrics_etl.deployment.scanned_tree import copy_tree, kept_files


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with files of all kinds that is no checkout."""
    folder = tmp_path / "repository"
    for name in ("workflow.yml", "services/a/handler.py", "node_modules/x.js", "build/out.zip", "vendor/a.whl", ".env"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / ".gitignore").write_text("node_modules/\nbuild/\n.env\n")
    return folder


def git(folder: Path, *arguments: str) -> None:
    """Run git in a folder."""
    command = ["git", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def test_ignored_files_and_wheels_are_left_out(repository: Path) -> None:
    """Before the first commit, what git would keep is seen, and the folder stays as it is."""
    before = sorted(repository.iterdir())
    assert kept_files(repository) == [".gitignore", "services/a/handler.py", "workflow.yml"]
    assert sorted(repository.iterdir()) == before


def test_committed_file_is_seen_although_ignored(repository: Path) -> None:
    """A secret that was committed in spite of .gitignore is looked at; a deleted file is not."""
    git(repository, "init")
    git(repository, "add", "--force", ".env", "workflow.yml")
    (repository / "workflow.yml").unlink()
    assert kept_files(repository) == [".env", ".gitignore", "services/a/handler.py"]


def test_variables_of_a_git_hook_do_not_mislead(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a hook, git names its own repository in variables; the files are still those of the folder."""
    git(repository, "init")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert kept_files(repository) == [".gitignore", "services/a/handler.py", "workflow.yml"]


def test_copy_holds_the_same(repository: Path, tmp_path: Path) -> None:
    """The copy has the same files with the same content, and a folder that marks its root."""
    (repository / "workflow.yml").write_text("name: acme-etl\n")
    copy = copy_tree(repository, tmp_path / "copy")
    files = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert files == set(kept_files(repository))
    assert (copy / "workflow.yml").read_text() == "name: acme-etl\n"
    assert (copy / ".git").is_dir()
