"""Shell in other files is found, reads as the shell would get it, and keeps its line numbers."""

from __future__ import annotations

from pathlib import Path

from qualtrics_etl.deployment.shell_snippets import Snippet, snippets


def cut(folder: Path, name: str, text: str) -> list[Snippet]:
    """Return the shell in a file."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(snippets(folder, [name]))


def located(snippet: Snippet) -> list[tuple[int, str]]:
    """Return the lines of a script, each with the line that a finding there is reported at."""
    return [(snippet.line(number), line) for number, line in enumerate(snippet.text.splitlines(), 1)][1:]


def test_recipe_is_read_as_the_shell_gets_it(tmp_path: Path) -> None:
    """Make's variables and functions become a word, its doubled dollar a single one, its marks vanish."""
    text = "all: x\n\t@echo $$HOME $@ $(if $(filter a,$(B)),c) ${D}\n\t-rm $$(cat x)\n"
    assert [located(snippet) for snippet in cut(tmp_path, "Makefile", text)] == [
        [(2, "echo $HOME made made made")],
        [(3, "rm $(cat x)")],
    ]


def test_continued_recipe_is_one_script(tmp_path: Path) -> None:
    """Lines that a backslash joins run in one shell, and each keeps its number."""
    (snippet,) = cut(tmp_path, "sub/Makefile", "V = 1\n\nall:\n\tfor x in a; do \\\n\t  echo $$x; \\\n\tdone\n")
    assert snippet.file == "sub/Makefile"
    assert located(snippet) == [(4, "for x in a; do \\"), (5, "  echo $x; \\"), (6, "done")]


def test_scripts_of_gitlab_jobs_are_found(tmp_path: Path) -> None:
    """Commands of a job are one script; blocks and lists that were written elsewhere keep their lines."""
    text = (
        ".tools:\n  before_script: &tools\n    - apt-get update\n"
        "job:\n  before_script:\n    - *tools\n    - |\n      x=1\n      echo $x\n  script: make test\nstages: [test]\n"
    )
    assert [located(snippet) for snippet in cut(tmp_path, ".gitlab-ci.yml", text)] == [
        [(3, "apt-get update")],
        [(3, "apt-get update"), (8, "x=1"), (9, "echo $x")],
        [(10, "make test")],
    ]


def test_scripts_are_known_by_name_or_first_line(tmp_path: Path) -> None:
    """A script is one by its name or by its first line; other files are none."""
    script = "#!/usr/bin/env bash\necho $1\n"
    assert [s.text for s in cut(tmp_path, "bin/run", script)] == [script]
    assert [s.text for s in cut(tmp_path, "run.sh", "echo $1\n")] == ["echo $1\n"]
    assert cut(tmp_path, "run.py", "#!/usr/bin/env python3\n") == []
