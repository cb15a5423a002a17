"""The template's questions, and the combinations of answers that the tests go through."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

Answers = dict[str, Any]
Pair = frozenset[tuple[str, Any]]

CONFIG: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parent.parent / "cookiecutter.json").read_text(encoding="utf-8")
)
QUESTIONS = [key for key in CONFIG if not key.startswith("_")]
DEFAULTS: Answers = {
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


def pairs(answers: Answers) -> set[Pair]:
    """Return every two answers that stand together."""
    return {frozenset(pair) for pair in itertools.combinations(answers.items(), 2)}


def covering(combinations: Sequence[Answers]) -> list[Answers]:
    """Choose combinations so that every two answers that can stand together do so in one of them.

    Each time the one with the most that is new, the first of equals: the same choice each time.
    """
    chosen: list[Answers] = []
    missing = set().union(*map(pairs, combinations))
    while missing:
        best = max(combinations, key=lambda answers: len(pairs(answers) & missing))
        chosen.append(best)
        missing -= pairs(best)
    return chosen


ALL: list[Answers] = [
    {"ci": ci, "inbound": inbound, "send_surveys": sends, "reminders": reminders}
    for ci in CONFIG["ci"]
    for inbound in CONFIG["inbound"]
    for sends in (True, False)
    for reminders in CONFIG["reminders"]
]
"""Every combination of the answers that are chosen from a list."""
SUPPORTED = [answers for answers in ALL if answers["send_surveys"] or answers["reminders"] == "0"]
"""Those that go together: without an invitation there is nothing to remind of."""
UNSUPPORTED = [answers for answers in ALL if answers not in SUPPORTED]
PAIRWISE = covering(SUPPORTED)
"""Few of the supported ones that hold every two answers which can stand together."""


def label(answers: Answers) -> str:
    """Name a combination of answers for the test report."""
    return "-".join(f"{key}={answers[key]}" for key in answers)


def nightly_besides(by_day: Sequence[Answers]) -> pytest.MarkDecorator:
    """Run a test for every supported combination, but for those that are not named at night only."""
    return pytest.mark.parametrize(
        "answers",
        [
            pytest.param(answers, id=label(answers), marks=() if answers in by_day else pytest.mark.nightly)
            for answers in SUPPORTED
        ],
    )


def chosen(table: str, answers: Answers) -> list[str]:
    """Return the parts of `_services` or `_ci` that the answers ask for, in the table's order."""
    full = DEFAULTS | answers
    return [
        name
        for name, part in CONFIG[table].items()
        if "when" not in part or full[part["when"]["question"]] in part["when"]["of"]
    ]
