"""Keep what was chosen, remember where it came from, say what comes next.

Which files belong to which answer is in cookiecutter.json (`_services`, `_ci`). Nothing is deleted that is not listed
there. The hook runs twice in every `cruft update`, so it uses no network, no clock and no randomness, and writes with
no git command.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

Answers = dict[str, Any]

HOSTS = {"gh": "https://github.com/{}.git", "gl": "https://gitlab.com/{}.git", "bb": "https://bitbucket.org/{}"}
"""cookiecutter's abbreviations, which cruft does not know."""


def main() -> None:
    """Finish the project in the current folder."""
    # JSON in a raw string: an answer can neither end the string nor run as code.
    answers: Answers = json.loads(r"""{{ cookiecutter | tojson }}""")
    order: list[str] = json.loads(r"""{{ cookiecutter.keys() | list | tojson }}""")
    delete_unchosen(answers)
    if "_repo_dir" in answers:  # cruft leaves it out, writes its file by itself, and needs no advice
        linked = write_cruft_file({key: answers[key] for key in order})
        print_next_steps(answers, linked=linked)
    os.unlink(__file__)  # noqa: PTH108 (cookiecutter leaves its rendered copy of this file behind)


def delete_unchosen(answers: Answers) -> None:
    """Delete the files of every service and CI that the answers don't ask for.

    A listed path that is missing is an error of the template: a rename that forgot the table.
    """
    for part in [*answers["_services"].values(), *answers["_ci"].values()]:
        when = part.get("when")
        if when and answers[when["question"]] not in when["of"]:
            for path in map(Path, part["paths"]):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_cruft_file(answers: Answers) -> bool:
    """Write the `.cruft.json` that `cruft create` would have written, and return whether it could be."""
    folder = template_folder(answers["_repo_dir"])
    origin = find_origin(folder, answers) if folder else None
    if folder is None or origin is None:
        return False
    # The filter that brought the answers here sorts keys; constants are the same in the template, in their order.
    constants = {key: value for key, value in read_questions(folder).items() if key.startswith("_")}
    left_out = ("_output_dir", "_repo_dir", "_checkout")
    context = {key: constants.get(key, value) for key, value in answers.items() if key not in left_out}
    context |= {"_template": origin["template"], "_commit": origin["commit"]}
    state = {
        "template": origin["template"],
        "commit": origin["commit"],
        "checkout": origin["checkout"],
        "context": {"cookiecutter": context},
        "directory": origin["directory"],
    }
    text = json.dumps(state, ensure_ascii=False, indent=2, separators=(",", ": "))
    Path(".cruft.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    return True


def find_origin(folder: Path, answers: Answers) -> dict[str, str | None] | None:
    """Return template address, commit, checkout and sub-folder; None where the template is no git checkout."""
    # A copy that lies inside some other repository must not be taken for a checkout of ours.
    if git(folder, "ls-files", "--error-unmatch", "cookiecutter.json") is None:
        return None
    commit, top = git(folder, "rev-parse", "HEAD"), git(folder, "rev-parse", "--show-toplevel")
    if commit is None or top is None:
        return None
    if git(folder, "status", "--porcelain", "--", "."):
        print("etl-template: the template has uncommitted changes, which .cruft.json can't name.", file=sys.stderr)
    below = folder.resolve().relative_to(Path(top).resolve()).as_posix()
    cloned = is_address(answers["_template"])
    return {
        "template": expand(answers["_template"]) if cloned else public_address(folder, top),
        "commit": commit,
        "checkout": answers["_checkout"] if cloned else None,  # cookiecutter ignores --checkout for a local folder
        "directory": None if below == "." else below,
    }


def read_questions(folder: Path) -> Answers:
    """Return cookiecutter.json as it stands in the template."""
    questions: Answers = json.loads((folder / "cookiecutter.json").read_text(encoding="utf-8"))
    return questions


def template_folder(repo_dir: str) -> Path | None:
    """Return the folder of the template: what the user typed, seen from where the user stood."""
    for base in (os.environ.get("PWD", ""), f"/proc/{os.getppid()}/cwd"):
        folder = Path(base, repo_dir)
        if folder.is_absolute() and (folder / "cookiecutter.json").is_file() and (folder / "hooks").is_dir():
            return folder
    return None


def is_address(template: str) -> bool:
    """Return whether cookiecutter cloned the template, rather than used a folder."""
    return template.split(":", 1)[0] in HOSTS or "://" in template or template.startswith("git@")


def expand(template: str) -> str:
    """Return a full address for an abbreviated one."""
    host, _, path = template.partition(":")
    return HOSTS[host].format(path) if host in HOSTS else template


def public_address(folder: Path, top: str) -> str:
    """Return where others find this commit: the remote if it was pushed, else the folder."""
    pushed = git(folder, "branch", "--remotes", "--contains", "HEAD")
    return (git(folder, "remote", "get-url", "origin") or top) if pushed else top


def git(folder: Path, *arguments: str) -> str | None:
    """Return what a reading git command prints; None where it fails or git is missing."""
    # Inside another repository's hook GIT_DIR would point there.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith("GIT_CONFIG")}
    command = ["git", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return result.stdout.strip()


def print_next_steps(answers: Answers, *, linked: bool) -> None:
    """Print five lines: where it is, and what to do first."""
    link = ".venv/bin/cruft check     is the template newer? (after make test)"
    if not linked:
        link = ".venv/bin/cruft link ADDRESS   ties it to the template (this copy of the template is no git checkout)"
    print(f"{answers['project_slug']} is ready in {Path.cwd()}. There:")
    print("  git init && git add -A && git commit -m 'Generate from the template'")
    print("  make test lint            its own tests, first time with a minute of set-up")
    print("  make run FILE=tests/data/contacts.csv")
    print("  make deploy STAGE=local   the same by Terraform and sls, on an AWS emulator here")
    print(f"  {link}")


if __name__ == "__main__":
    main()
