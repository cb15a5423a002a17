"""Check all answers before anything is written.

cookiecutter renders this file with the answers and runs it in the empty project folder; when it fails, the folder is
removed again. It also runs for a replay and under cruft, so it is the authority on what an answer may be. The rules are
in cookiecutter.json (`_questions`), because a hook can import nothing of ours.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

Answers = dict[str, Any]


def main() -> None:
    """Exit with every problem in one text, or do nothing."""
    # JSON in a raw string: an answer can neither end the string nor run as code.
    answers: Answers = json.loads(r"""{{ cookiecutter | tojson }}""")
    if any(Path.cwd().iterdir()):
        fail(f"{Path.cwd()} already has files. Nothing was changed.\n\nTo bring a newer template into it: cruft update")
    order: list[str] = json.loads(r"""{{ cookiecutter.keys() | list | tojson }}""")
    answers["_questions"] = {key: answers["_questions"][key] for key in order if key in answers["_questions"]}
    problems, corrected = check(answers)
    if problems:
        count = "1 answer needs a change" if len(problems) == 1 else f"{len(problems)} answers need a change"
        again = f"Run again (your other answers are kept):\n  {command(answers, corrected)}"
        fail("\n\n".join([f"{count}. Nothing was written.", *problems, again]))
    os.unlink(__file__)  # noqa: PTH108 (cookiecutter leaves its rendered copy of this file behind)


def fail(text: str) -> None:
    """Print the text and exit; the blank line at the end keeps cookiecutter's own message apart."""
    sys.stderr.write(f"etl-template: {text}\n\n")
    os.unlink(__file__)  # noqa: PTH108 (see main)
    sys.exit(1)


def check(answers: Answers) -> tuple[list[str], Answers]:
    """Return what is wrong, a paragraph a question, and the answers with each problem put right."""
    problems: list[str] = []
    corrected = dict(answers)
    for question, rules in answers["_questions"].items():
        answer = answers[question]
        if "pattern" in rules and not re.fullmatch(rules["pattern"], answer):
            corrected[question] = suggestion(answer, rules)
            problems.append(
                f"  {question} = {answer!r}\n    {rules['rule']};\n    {rules['why']}.  Try: {corrected[question]}"
            )
        needs = rules.get("needs")
        if needs and answer in needs["of"] and answers[needs["question"]] != needs["answer"]:
            corrected[question] = needs["else"]
            problems.append(f"  {question} = {answer}\n    {needs['rule']}")
    return problems, corrected


def suggestion(answer: str, rules: dict[str, str]) -> str:
    """Return the nearest answer that the rules accept, an example where none is near."""
    plain = re.sub(r"\s+", " ", re.sub(r'["\\{}$%\x00-\x1f]', " ", answer)).strip()[:60].strip()
    candidates = [plain]
    if "small_letters" in rules:
        dashed = re.sub(r"[^a-z0-9]+", "-", answer.lower()).strip("-")
        candidates += [plain.lower().split(".")[0], dashed, dashed[:20].strip("-"), f"{dashed[:16]}-etl"]
    fitting = [candidate for candidate in candidates if re.fullmatch(rules["pattern"], candidate)]
    return fitting[0] if fitting else rules.get("example", rules["default"])


def command(answers: Answers, corrected: Answers) -> str:
    """Return the command line that gives the corrected answers, without those that were left at the default."""
    changed = {
        question: spoken(corrected[question])
        for question, rules in answers["_questions"].items()
        if not answers[question] == corrected[question] == rules["default"]
    }
    if "_repo_dir" not in answers:  # only cruft leaves it out; which of its commands is running, a hook can't know
        quoted = shlex.quote(json.dumps(changed, ensure_ascii=False))
        return f"cruft create {shlex.quote(answers['_template'])} --extra-context {quoted}\n  or, in a generated \
repository: cruft update --variables-to-update {quoted}"
    words = ["cookiecutter", answers["_template"], "--no-input"]
    if answers["_checkout"]:
        words += ["--checkout", answers["_checkout"]]
    if answers["_output_dir"] != os.environ.get("PWD"):
        words += ["--output-dir", answers["_output_dir"]]
    return shlex.join([*words, *(f"{question}={answer}" for question, answer in changed.items())])


def spoken(answer: str | bool) -> str:
    """Return an answer as it is typed."""
    return {True: "yes", False: "no"}[answer] if isinstance(answer, bool) else answer


if __name__ == "__main__":
    main()
