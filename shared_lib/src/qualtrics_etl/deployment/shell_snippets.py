"""Shell that stands in other files (recipes of a Makefile, scripts of GitLab jobs), cut out for a scanner."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qualtrics_etl.yaml_lines import YamlFile, read_yaml

MAKEFILE, GITLAB = "Makefile", ".gitlab-ci.yml"
SHEBANG = "#!/bin/bash\n"
"""GitLab's images and our Makefile run bash."""
PLACEHOLDER = "made"
"""Stands for what make puts in: a word, as most variables of a Makefile are."""
_SHELL = re.compile(r"#!\s*/(usr/)?bin/(env\s+)?(ba|da|k)?sh\b")
_GITLAB_LISTS = ("before_script", "script", "after_script")


@dataclass(frozen=True, slots=True)
class Snippet:
    """A shell script, and where each of its lines comes from.

    Attributes:
        file: The file that it stands in.
        text: The script, with a shebang.
        lines: Line in the file, for each line of the text.
    """

    file: str
    text: str
    lines: Sequence[int]

    def line(self, number: int) -> int:
        """Return the line in the file for a line (from 1) of the text."""
        return self.lines[min(number, len(self.lines)) - 1]


def snippets(root: Path, files: Iterable[str]) -> Iterator[Snippet]:
    """Yield the shell in a repository's files; what GitHub's workflows run is actionlint's."""
    for name in files:
        if name == GITLAB:
            yield from _gitlab(read_yaml(root / name))
            continue
        text = (root / name).read_text(encoding="utf-8", errors="replace")
        if Path(name).name == MAKEFILE:
            yield from _recipes(name, text)
        elif name.endswith((".sh", ".bash")) or _SHELL.match(text):
            yield Snippet(name, text, range(1, text.count("\n") + 2))


def _recipes(file: str, text: str) -> Iterator[Snippet]:
    """Yield each recipe line of a Makefile, which make runs in a shell of its own, with those that continue it."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        first = number
        if lines[first].startswith("\t"):
            while lines[number].endswith("\\") and number + 1 < len(lines):
                number += 1
            recipe = "\n".join(line.removeprefix("\t") for line in lines[first : number + 1])
            script = _without_make(recipe.lstrip("@-+ "))
            yield Snippet(file, f"{SHEBANG}{script}\n", [first + 1, *range(first + 1, number + 2)])
        number += 1


def _without_make(recipe: str) -> str:
    """Return a recipe as the shell gets it, with a word for each of make's own variables and functions."""
    result, position = "", 0
    while position < len(recipe):
        if recipe.startswith("$$", position):
            result, position = result + "$", position + 2
        elif recipe.startswith(("$(", "${"), position):
            result, position = result + PLACEHOLDER, _end_of_call(recipe, position + 1)
        elif recipe[position] == "$":
            result, position = result + PLACEHOLDER, position + 2
        else:
            result, position = result + recipe[position], position + 1
    return result


def _end_of_call(recipe: str, opening: int) -> int:
    """Return the position behind the bracket that closes the one at `opening`."""
    pair = {"(": ")", "{": "}"}[recipe[opening]]
    depth = 0
    for position in range(opening, len(recipe)):
        depth += (recipe[position] == recipe[opening]) - (recipe[position] == pair)
        if depth == 0:
            return position + 1
    return len(recipe)


def _gitlab(file: YamlFile) -> Iterator[Snippet]:
    """Yield the scripts of each job; GitLab runs the lines of a script in one shell."""
    jobs = file.data if isinstance(file.data, dict) else {}
    for job, content in jobs.items():
        for key in _GITLAB_LISTS if isinstance(content, dict) else ():
            if content.get(key):
                yield _joined(file, (str(job), key), content[key])


def _joined(file: YamlFile, path: tuple[str, str], script: object) -> Snippet:
    text, lines = SHEBANG, [file.line_of(*path) or 1]
    for line, command in _commands(file, path, script):
        parts = command.splitlines()
        text += "".join(f"{part}\n" for part in parts)
        # A block (`|`) begins in the line below its sign.
        lines += [line + offset + (len(parts) > 1) for offset in range(len(parts))]
    return Snippet(file.path.name, text, lines)


def _commands(file: YamlFile, path: tuple[str | int, ...], script: object) -> Iterator[tuple[int, str]]:
    """Yield line and text of each command; lists that stand in lists are part of them, as GitLab has it."""
    if isinstance(script, list):
        for index, each in enumerate(script):
            yield from _commands(file, (*path, index), each)
    else:
        yield file.line_of(*path) or 1, str(script)
