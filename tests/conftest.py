"""A clean checkout of the template, and repositories generated from it, each combination of answers once a session."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from cookiecutter.main import cookiecutter
from tests.answers import QUESTIONS

ROOT = Path(__file__).resolve().parent.parent
SLUG_FOLDER = "{{cookiecutter.project_slug}}"
TEMPLATE_PARTS = ("cookiecutter.json", "hooks", SLUG_FOLDER)
Bake = Callable[..., Path]
Git = Callable[..., str]


def listed_files(*paths: str) -> list[str]:
    """Return the repository's files as git sees them (committed or about to be), without what it ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "--", *paths]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in output.split("\0") if name and (ROOT / name).is_file())


def tree(folder: Path, *, without: tuple[str, ...] = (".git",)) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in without
    }


def load_hook(name: str) -> ModuleType:
    """Import a hook as the plain Python that it is before rendering."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "hooks" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder for the programs that the tests start: nothing of the developer's own settings reaches them."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".gitconfig").write_text(
        "[user]\nname = Test\nemail = test@client.example\n[init]\ndefaultBranch = main\n"
    )
    (folder / "cookiecutter.yml").write_text(
        f"cookiecutters_dir: {folder}/cookiecutters\nreplay_dir: {folder}/replay\n"
    )
    return folder


@pytest.fixture(scope="session")
def environment(home: Path) -> dict[str, str]:
    """The environment of programs that the tests start."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    own = {
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "COOKIECUTTER_CONFIG": str(home / "cookiecutter.yml"),
    }
    return kept | own | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="session")
def git(environment: dict[str, str]) -> Git:
    """Run git in a folder and return what it prints."""

    def run(folder: Path, *arguments: str) -> str:
        command = ["git", *arguments]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        return result.stdout.strip()

    return run


@pytest.fixture(scope="session")
def commit_all(git: Git) -> Callable[[Path], str]:
    """Commit everything in a folder, which becomes a git repository if it is none, and return the commit's id."""

    def run(folder: Path) -> str:
        git(folder, "init", "--quiet")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "Everything")
        return git(folder, "rev-parse", "HEAD")

    return run


@pytest.fixture(scope="session")
def plain_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the template without git and without anything that git ignores."""
    folder = tmp_path_factory.mktemp("plain") / "etl-template"
    for name in listed_files(*TEMPLATE_PARTS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def template(plain_template: Path, tmp_path_factory: pytest.TempPathFactory, commit_all: Callable[[Path], str]) -> Path:
    """A clean git checkout of the template."""
    folder = tmp_path_factory.mktemp("checkout") / "etl-template"
    shutil.copytree(plain_template, folder)
    commit_all(folder)
    return folder


@pytest.fixture(scope="session")
def bake(home: Path) -> Bake:
    """Generate a repository: `bake(template, into, **answers)`. A question that does not exist is an error."""

    def run(template: Path, into: Path, **answers: object) -> Path:
        unknown = answers.keys() - set(QUESTIONS)
        if unknown:
            raise ValueError(f"no such questions: {sorted(unknown)}")
        config = str(home / "cookiecutter.yml")
        return Path(
            cookiecutter(str(template), no_input=True, extra_context=answers, output_dir=str(into), config_file=config)
        )

    return run


@pytest.fixture(scope="session")
def baked(template: Path, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bake]:
    """Generate a repository once a session for each combination of answers; to be looked at, not changed."""
    made: dict[str, Path] = {}

    def run(**answers: object) -> Path:
        key = json.dumps(answers, sort_keys=True)
        if key not in made:
            made[key] = bake(template, tmp_path_factory.mktemp("baked"), **answers)
        return made[key]

    return run
