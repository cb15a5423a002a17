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
from typing import Any

import pytest
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).resolve().parent.parent
SLUG_FOLDER = "{{cookiecutter.project_slug}}"
TEMPLATE_PARTS = ("cookiecutter.json", "hooks", SLUG_FOLDER)
CONFIG: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
QUESTIONS = [key for key in CONFIG if not key.startswith("_")]
DEFAULTS: dict[str, Any] = {
    "client_name": "Acme Health",
    "project_slug": "acme-etl",
    "alarm_email": "on-call@client.example",
    "aws_region": "eu-west-1",
    "qualtrics_datacenter": "fra1",
    "ci": "github",
    "inbound": "sftp",
    "send_surveys": True,
    "reminders": "1",
}
SUPPORTED: list[dict[str, Any]] = [
    *(
        {"ci": ci, "inbound": "sftp", "send_surveys": sends, "reminders": reminders}
        for ci in CONFIG["ci"]
        for sends, numbers in ((True, CONFIG["reminders"]), (False, ["0"]))
        for reminders in numbers
    ),
    {"ci": "github", "inbound": "post", "send_surveys": True, "reminders": "2"},
    {"ci": "gitlab", "inbound": "post", "send_surveys": True, "reminders": "3"},
    {"ci": "none", "inbound": "post", "send_surveys": True, "reminders": "1"},
    {"ci": "none", "inbound": "post", "send_surveys": False, "reminders": "0"},
]
"""Every combination of what can hardly go together by chance; how contacts come in, with each answer once at least."""

Bake = Callable[..., Path]
Git = Callable[..., str]


def label(answers: dict[str, Any]) -> str:
    """Name a combination of answers for the test report."""
    return "-".join(f"{key}={answers[key]}" for key in answers)


def chosen(table: str, answers: dict[str, Any]) -> list[str]:
    """Return the parts of `_services` or `_ci` that the answers ask for, in the table's order."""
    full = DEFAULTS | answers
    return [
        name
        for name, part in CONFIG[table].items()
        if "when" not in part or full[part["when"]["question"]] in part["when"]["of"]
    ]


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
