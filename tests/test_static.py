"""The template as it lies in this repository, before anything is generated."""

from __future__ import annotations

import ast
import re
import stat
import subprocess
from fnmatch import fnmatch

import pytest
from tests.answers import CONFIG, DEFAULTS, QUESTIONS
from tests.conftest import ROOT, SLUG_FOLDER, TEMPLATE_PARTS, listed_files, load_hook

COMMON = [
    ".editorconfig",
    ".gitattributes",
    ".gitignore",
    ".pre-commit-config.yaml",
    "Makefile",
    "README.md",
    "config/*.yml",
    "docs/runbook.md",
    "e2e/*",
    "package.json",
    "package-lock.json",
    "pyproject.toml",
    "requirements*.in",
    "requirements*.txt",
    "scan.yml",
    "serverless.yml",
    "serverless/*",
    "terraform/*",
    "tests/data/contacts.csv",
    "tests/test_workflow.py",
    "vendor/qualtrics_etl-*.whl",
    "workflow.yml",
]
"""Files that every generated repository has; `*` crosses folders."""

FILES = [name.removeprefix(f"{SLUG_FOLDER}/") for name in listed_files(SLUG_FOLDER)]
TEXTS = [name for name in FILES if not name.endswith(".whl")]
PARTS = {name: part for table in ("_services", "_ci") for name, part in CONFIG[table].items()}
# Spelled in two halves, so that this file does not find itself.
FOREIGN = re.compile(
    rb"py"
    rb"pi\.org|python"
    rb"hosted\.org|registry\.np"
    rb"mjs|registry\.yarn"
    rb"pkg|/ho"
    rb"me/|/Us"
    rb"ers/|/ro"
    rb"ot/|/wo"
    rb"rk/"
)


def claims(file: str) -> list[str]:
    """Return who a file of the template belongs to."""
    owners = [
        name
        for name, part in PARTS.items()
        if any(file == path or file.startswith(f"{path}/") for path in part["paths"])
    ]
    return owners + ["common" for pattern in COMMON if fnmatch(file, pattern)]


def test_each_file_belongs_to_one_part() -> None:
    """Every file of the template belongs to exactly one service or CI, or is common to all."""
    assert {file: claims(file) for file in FILES if len(claims(file)) != 1} == {}


@pytest.mark.parametrize("name", PARTS)
def test_listed_path_exists(name: str) -> None:
    """Every path in the tables is in the template: a rename must reach the table."""
    assert [path for path in PARTS[name]["paths"] if not (ROOT / SLUG_FOLDER / path).exists()] == []


@pytest.mark.parametrize("service", CONFIG["_services"])
def test_service_has_the_same_name_everywhere(service: str) -> None:
    """A service's folder and test are named like the service, within what AWS names allow."""
    assert CONFIG["_services"][service]["paths"] == [f"services/{service}", f"tests/services/test_{service}.py"]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", service)
    assert len(service) <= 32


def test_prompts_speak_of_every_question() -> None:
    """Every question is asked in a sentence, and every choice has its words."""
    prompts = CONFIG["__prompts__"]
    assert list(prompts) == QUESTIONS
    for question in ("ci", "inbound", "reminders"):
        assert prompts[question].keys() - {"__prompt__"} == set(CONFIG[question])


def test_rules_name_the_defaults() -> None:
    """What the hooks take for a question's default is its default; null where it is made from another answer."""
    rules = CONFIG["_questions"]
    assert list(rules) == QUESTIONS
    assert {q: rules[q]["default"] for q in QUESTIONS} == DEFAULTS | {"project_slug": None}


def test_defaults_are_accepted() -> None:
    """The default answers give no problem."""
    answers = DEFAULTS | {"_questions": CONFIG["_questions"]}
    assert load_hook("pre_gen_project").check(answers) == ([], answers)


def test_conditions_name_real_answers() -> None:
    """Every condition in the tables names a question and answers that it can have."""
    conditions = [part["when"] for part in PARTS.values() if "when" in part]
    for condition in conditions:
        possible = CONFIG[condition["question"]]
        assert set(condition["of"]) <= set(possible if isinstance(possible, list) else [True, False])


def test_paths_are_portable() -> None:
    """Every path is short enough, and free of what Windows forbids."""
    bad = re.compile(r'[<>:"\\|?*]|[. ](/|$)')
    assert [file for file in FILES if len(f"{SLUG_FOLDER}/{file}") > 120 or bad.search(file)] == []


def test_texts_are_utf8_with_unix_lines() -> None:
    """Every text file is UTF-8, has Unix line ends and ends with one."""
    contents = {file: (ROOT / SLUG_FOLDER / file).read_bytes().decode("utf-8") for file in TEXTS}
    assert [file for file, text in contents.items() if "\r" in text or not text.endswith("\n")] == []


def test_only_scripts_are_executable() -> None:
    """A file is executable exactly when it is a script."""
    paths = [ROOT / SLUG_FOLDER / file for file in FILES]
    scripts = [path for path in paths if path.read_bytes().startswith(b"#!")]
    assert [path for path in paths if path.stat().st_mode & stat.S_IXUSR] == scripts


def test_template_gives_the_same_every_time() -> None:
    """Nothing in the template depends on the moment or on chance."""
    chance = re.compile(r"{%-?\s*now\b|random_ascii_string|uuid4")
    assert [file for file in TEXTS if chance.search((ROOT / SLUG_FOLDER / file).read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("hook", ["pre_gen_project", "post_gen_project"])
def test_hook_is_plain_python(hook: str) -> None:
    """A hook is valid Python before it is rendered, so that it can be linted and imported."""
    assert ast.parse((ROOT / "hooks" / f"{hook}.py").read_text(encoding="utf-8"))


def test_nothing_is_hidden_from_git() -> None:
    """No file of the template is ignored by git, whose ignore files also come from inside the template."""
    command = ["git", "status", "--porcelain", "--ignored", "--untracked-files=all", "--", *TEMPLATE_PARTS]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ignored = [line[3:].strip('"') for line in output.splitlines() if line.startswith("!!")]
    assert [name for name in ignored if not re.search(r"(^|/)(__pycache__|\.\w+_cache|\.terraform)/", name)] == []


def test_repository_names_no_machine_and_no_index() -> None:
    """No file of the repository names a package index's host or a folder of somebody's machine."""
    found = [name for name in listed_files(".") if FOREIGN.search((ROOT / name).read_bytes())]
    assert found == []


def test_every_alarm_has_its_heading_in_the_runbook() -> None:
    """Who is woken by an alarm finds its words as a heading of the runbook."""
    terraform = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / SLUG_FOLDER / "terraform").rglob("*.tf"))
    runbook = (ROOT / SLUG_FOLDER / "docs" / "runbook.md").read_text(encoding="utf-8")
    alarms = set(re.findall(r'heading\s+= "([^"]+)"', terraform))
    assert len(alarms) >= 4
    assert alarms <= set(re.findall(r"^## (.*)$", runbook, re.MULTILINE))
