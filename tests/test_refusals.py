"""Answers that can't work: stopped before anything is written, all at once, with the command that would work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.exceptions import FailedHookException
from tests.answers import CONFIG, DEFAULTS, UNSUPPORTED, label
from tests.conftest import Bake, load_hook, tree

BAD: list[tuple[str, str, str]] = [
    ("client_name", "", "Acme Health"),
    ("client_name", "A", "Acme Health"),
    ("client_name", " Acme", "Acme"),
    ("client_name", "Acme\nHealth", "Acme Health"),
    ("client_name", 'Acme "Best" {{Co}}', "Acme Best Co"),
    ("client_name", "Acme \U0001f600", "Acme Health"),
    ("client_name", "x" * 61, "x" * 60),
    ("project_slug", "", "acme-etl"),
    ("project_slug", "ab", "ab-etl"),
    ("project_slug", "Acme_ETL", "acme-etl"),
    ("project_slug", "-acme-", "acme"),
    ("project_slug", "acme--etl", "acme-etl"),
    ("project_slug", "3m-etl", "acme-etl"),
    ("project_slug", "con", "con-etl"),
    ("project_slug", "aws-etl", "acme-etl"),
    ("project_slug", "AWS", "acme-etl"),
    ("project_slug", "ssmith", "acme-etl"),
    ("project_slug", "../acme", "acme"),
    ("project_slug", "a" * 21, "a" * 20),
    ("project_slug", "acme-etl\n", "acme-etl"),
    ("alarm_email", "on-call", "on-call@client.example"),
    ("alarm_email", "a b@client.example", "on-call@client.example"),
    ("alarm_email", "a@b@client.example", "on-call@client.example"),
    ("alarm_email", " me@client.example", "me@client.example"),
    ("aws_region", "EU-WEST-1", "eu-west-1"),
    ("aws_region", "Europe", "eu-west-1"),
    ("qualtrics_datacenter", "FRA1", "fra1"),
    ("qualtrics_datacenter", "fra1.qualtrics.com", "fra1"),
    ("qualtrics_datacenter", "https://fra1", "fra1"),
]


def check(**answers: object) -> tuple[list[str], dict[str, Any]]:
    """Check answers as the hook does, and return the problems and the corrected answers."""
    problems, corrected = load_hook("pre_gen_project").check(DEFAULTS | answers | {"_questions": CONFIG["_questions"]})
    return problems, {question: corrected[question] for question in DEFAULTS}


@pytest.mark.parametrize(("question", "answer", "suggested"), BAD)
def test_bad_answer_is_named_with_a_good_one(question: str, answer: str, suggested: str) -> None:
    """A bad answer is shown with the rule it breaks and the nearest answer that works, which then passes."""
    problems, corrected = check(**{question: answer})
    rules = CONFIG["_questions"][question]
    assert problems == [
        f"  {question} = {answer!r}\n    {rules['rule']};\n    {rules['why']}.  Try: {suggested}",
    ]
    assert corrected == DEFAULTS | {question: suggested}
    assert check(**corrected) == ([], corrected)


@pytest.mark.parametrize("answers", UNSUPPORTED, ids=label)
def test_reminder_without_invitation_is_refused(
    template: Path, bake: Bake, tmp_path: Path, capfd: pytest.CaptureFixture[str], answers: dict[str, Any]
) -> None:
    """An answer that needs another one is refused with both ways out, and nothing is written."""
    with pytest.raises(FailedHookException):
        bake(template, tmp_path, **answers)
    kept = "".join(f" {key}={answers[key]}" for key in ("ci", "inbound") if answers[key] != DEFAULTS[key])
    assert capfd.readouterr().err == (
        "etl-template: 1 answer needs a change. Nothing was written.\n\n"
        f"  reminders = {answers['reminders']}\n"
        "    has no invitation to remind of: also answer send_surveys=yes, or answer reminders=0\n\n"
        "Run again (your other answers are kept):\n"
        f"  cookiecutter {template} --no-input --output-dir {tmp_path} project_slug=acme-etl{kept} send_surveys=no "
        "reminders=0\n\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_all_problems_come_at_once(template: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Every problem stands in one text, and its command, typed as it is, works."""
    answers = ["client_name=O'Neil {x}", "project_slug=O_Neil", "aws_region=Ireland", "ci=gitlab", "send_surveys=no"]
    command = [sys.executable, "-m", "cookiecutter", str(template), "--no-input", *answers]
    environment = environment | {"PWD": str(tmp_path)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    text = result.stderr[result.stderr.index("etl-template:") :]
    again = f"cookiecutter {template} --no-input 'client_name=O'\"'\"'Neil x' project_slug=o-neil aws_region=eu-west-1 \
ci=gitlab send_surveys=no reminders=0"
    assert (result.returncode, list(tmp_path.iterdir())) == (1, [])
    assert text.startswith(f"""\
etl-template: 4 answers need a change. Nothing was written.

  client_name = "O'Neil {{x}}"
    use 2-60 printable characters, none of " \\ {{ }} $ %;
    it stands in documents and in configuration files.  Try: O'Neil x

  project_slug = 'O_Neil'
    use 3-20 small letters, digits and single hyphens, starting with a letter, but not with aws or ssm;
    the names of queues, functions, roles and parameters on AWS are built from it.  Try: o-neil

  aws_region = 'Ireland'
    use the region's code, such as eu-west-1 or us-gov-west-1;
    everything is deployed there.  Try: eu-west-1

  reminders = 1
    has no invitation to remind of: also answer send_surveys=yes, or answer reminders=0

Run again (your other answers are kept):
  {again}

""")
    subprocess.run(["bash", "-c", again], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert (tmp_path / "o-neil" / ".gitlab-ci.yml").is_file()


def test_cruft_refuses_the_same(template: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Under cruft the same rules hold, and the text names cruft's own commands."""
    command = ["cruft", "create", str(template), "--no-input", "--extra-context", '{"project_slug": "Acme"}']
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    ours = result.stderr[result.stderr.index("etl-template:") :].split("\n\n")
    assert (result.returncode, list(tmp_path.iterdir())) == (1, [])
    assert ours[2] == (
        "Run again (your other answers are kept):\n"
        f'  cruft create {template} --extra-context \'{{"project_slug": "acme"}}\'\n'
        '  or, in a generated repository: cruft update --variables-to-update \'{"project_slug": "acme"}\''
    )


def test_folder_with_files_is_left_alone(
    template: Path, home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Generating over an existing repository is refused even when forced, and changes no file."""
    (tmp_path / "acme-etl").mkdir()
    (tmp_path / "acme-etl" / "mine.txt").write_text("mine")
    command = [sys.executable, "-m", "cookiecutter", str(template), "--no-input", "--overwrite-if-exists"]
    command += ["--config-file", str(home / "cookiecutter.yml")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert (
        f"etl-template: {tmp_path}/acme-etl already has files. Nothing was changed.\n\n"
        "To bring a newer template into it: cruft update\n\n"
    ) in result.stderr
    assert tree(tmp_path) == {"acme-etl/mine.txt": b"mine"}


def test_misspelt_question_is_refused_by_the_tests(template: Path, bake: Bake, tmp_path: Path) -> None:
    """A question that does not exist is ignored by cookiecutter, and refused here."""
    with pytest.raises(ValueError, match="no such questions: \\['reminder'\\]"):
        bake(template, tmp_path, reminder="1")
