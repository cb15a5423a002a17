"""The scanners: what each is for, how it is called, and how its answer becomes findings."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qualtrics_etl.deployment.shell_snippets import Snippet, snippets
from qualtrics_etl.deployment.stack_template import write_stack_template
from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError

TOLD_CHARACTERS = 1_500
"""How much of what a failing scanner said is repeated."""
INLINE = "inline-exception"
"""The rule for exceptions beside the code: they would be overlooked where all others stand together."""
_INLINE_MARKS = {
    "bandit": re.compile(r"#\s*nosec\b"),
    "checkov": re.compile(r"#\s*checkov:skip|pragma: allowlist"),
    "shellcheck": re.compile(r"#\s*shellcheck\s+disable="),
    "zizmor": re.compile(r"#\s*zizmor:\s*ignore"),
}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """What a scanner does not like.

    Attributes:
        tool: The scanner.
        rule: Its own name for the rule.
        file: Relative to the repository.
        line: From 1; 0 where the whole file is meant.
        what: In the scanner's words.
    """

    tool: str
    rule: str
    file: str
    line: int
    what: str

    @property
    def place(self) -> str:
        """File and line, as editors and terminals take it."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class ScanPlace:
    """What scanners work with.

    Attributes:
        root: The repository.
        copy: A copy of the files in it that git keeps; scanners run there.
        programs: The folder of the scanners' programs.
        environment: The variables that say where other tools are; scanners get none of it.
    """

    root: Path
    copy: Path
    programs: Path
    environment: Mapping[str, str]

    def program(self, name: str) -> Path:
        """Return the path of a scanner's program.

        Raises:
            ConfigurationError: It is not installed.
        """
        path = self.programs / name
        if not os.access(path, os.X_OK):
            raise ConfigurationError(
                f"The scanner {name} is not installed: there is no {path}.",
                remedy="Run `make scan`, which installs the scanners; QETL_SCAN_BIN names another folder.",
            )
        return path

    def run(self, program: str, *arguments: str, fine: Sequence[int] = (0, 1)) -> str:
        """Run a scanner in the copy and return what it printed.

        Args:
            fine: Exit codes that mean that it looked, whether it found something or not.

        Raises:
            ConfigurationError: It is not installed.
            QualtricsEtlError: It failed; with what it said.
        """
        command = [str(self.program(program)), *arguments]
        # Nothing of the caller's environment: credentials and settings would change what a scanner does.
        environment = {"PATH": os.defpath, "HOME": str(self.copy.parent), "LANG": "C.UTF-8"}
        result = subprocess.run(  # noqa: S603
            command, cwd=self.copy, env=environment, capture_output=True, text=True, check=False
        )
        if result.returncode not in fine:
            said = (result.stderr.strip() or result.stdout.strip())[-TOLD_CHARACTERS:]
            raise QualtricsEtlError(f"{program} failed with exit code {result.returncode}:\n{said}")
        return result.stdout

    def files(self, *patterns: str) -> list[str]:
        """Return the files of the copy that a pattern (`**/*.py`) finds, relative to it."""
        found = {path for pattern in patterns for path in self.copy.glob(pattern) if path.is_file()}
        return sorted(path.relative_to(self.copy).as_posix() for path in found)


@dataclass(frozen=True, slots=True)
class Scanner:
    """A scanner.

    Attributes:
        name: As scan.yml names it.
        looks_at: For people.
        look: Returns what it finds.
        applies: Whether the repository has anything for it.
    """

    name: str
    looks_at: str
    look: Callable[[ScanPlace], Iterable[Finding]]
    applies: Callable[[ScanPlace], bool] = lambda _: True

    def find(self, place: ScanPlace) -> list[Finding]:
        """Return what it finds, and the exceptions from it that stand beside the code."""
        return [*self.look(place), *_inline_exceptions(place, self.name)]


def _inline_exceptions(place: ScanPlace, tool: str) -> Iterator[Finding]:
    mark = _INLINE_MARKS.get(tool)
    for name in place.files("**/*") if mark else ():
        text = (place.copy / name).read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if mark and mark.search(line):
                yield Finding(tool, INLINE, name, number, "Exceptions stand in scan.yml, all together.")


def _checkov(place: ScanPlace) -> Iterator[Finding]:
    # --skip-download: without it, it would ask a server for its texts.
    output = place.run(
        "checkov",
        *("--directory", ".", "--framework", "terraform", "github_actions", "gitlab_ci", "secrets"),
        *("--enable-secret-scan-all-files", "--skip-download", "--quiet", "--compact", "--output", "json"),
    )
    answer = _read("checkov", output)
    for report in answer if isinstance(answer, list) else [answer]:
        results = report.get("results", {})  # without anything to look at, there are numbers alone
        for file in results.get("parsing_errors", ()):
            yield Finding("checkov", "parsing-error", _relative(file, place), 0, "It can't be read.")
        for check in results.get("failed_checks", ()):
            file, line = _relative(check["file_path"], place), int(check["file_line_range"][0])
            secret = report["check_type"] == "secrets"  # there, the resource is a hash of the secret
            what = check["check_name"] if secret else f"{check['check_name']} ({check['resource']})"
            yield Finding("checkov", check["check_id"], file, line, what)


def _cfn_lint(place: ScanPlace) -> Iterator[Finding]:
    template = write_stack_template(place.root, place.copy, place.environment)
    output = place.run("cfn-lint", "--format", "json", "--template", str(template), fine=(0, 2, 4, 6, 8, 10, 12, 14))
    for match in _read("cfn-lint", output or "[]"):
        resource = "/".join(map(str, match["Location"].get("Path") or ()))
        line = int(match["Location"]["Start"]["LineNumber"])
        yield Finding(
            "cfn-lint", match["Rule"]["Id"], _relative(str(template), place), line, f"{match['Message']} ({resource})"
        )


def _zizmor(place: ScanPlace) -> Iterator[Finding]:
    # Exit codes from 11 tell the gravest finding. Settings of the repository's own are not read: see `INLINE`.
    output = place.run(
        "zizmor",
        "--offline",
        "--no-config",
        "--no-ignores",
        "--quiet",
        "--format",
        "json",
        ".",
        fine=(0, 11, 12, 13, 14),
    )
    for finding in _read("zizmor", output):
        locations = finding["locations"]
        first = next((each for each in locations if each["symbolic"]["kind"] == "Primary"), locations[0])
        file = _relative(next(iter(first["symbolic"]["key"].values()))["verbatim_path"], place)
        line = first["concrete"]["location"]["start_point"]["row"] + 1
        what = f"{finding['desc']}: {first['symbolic']['annotation']}"
        yield Finding("zizmor", finding["ident"], file, line, what)


def _actionlint(place: ScanPlace) -> Iterator[Finding]:
    # Named, since it would also take other linters that happen to be installed.
    output = place.run(
        "actionlint",
        *("-format", "{{json .}}", "-shellcheck", str(place.programs / "shellcheck"), "-pyflakes", ""),
        *place.files(".github/workflows/*.yml", ".github/workflows/*.yaml"),
    )
    for error in _read("actionlint", output):
        yield Finding("actionlint", error["kind"], error["filepath"], int(error["line"]), error["message"])


def _shellcheck(place: ScanPlace) -> Iterator[Finding]:
    by_name: dict[str, Snippet] = {}
    folder = place.copy.parent / "snippets"
    folder.mkdir()
    for number, snippet in enumerate(snippets(place.copy, place.files("**/*"))):
        path = folder / str(number)
        path.write_text(snippet.text, encoding="utf-8")
        by_name[str(path)] = snippet
    if not by_name:
        return
    output = place.run("shellcheck", "--format", "json1", "--severity", "style", "--norc", *by_name)
    for comment in _read("shellcheck", output)["comments"]:
        source = by_name[comment["file"]]
        yield Finding(
            "shellcheck", f"SC{comment['code']}", source.file, source.line(comment["line"]), comment["message"]
        )


def _bandit(place: ScanPlace) -> Iterator[Finding]:
    # Tests assert and hold example passwords.
    own = [name for name in place.files("**/*.py") if not name.startswith(("tests/", "e2e/"))]
    answer = _read("bandit", place.run("bandit", "--quiet", "--ignore-nosec", "--format", "json", *own)) if own else {}
    for error in answer.get("errors", ()):
        yield Finding("bandit", "parsing-error", _relative(error["filename"], place), 0, error["reason"])
    for result in answer.get("results", ()):
        file = _relative(result["filename"], place)
        yield Finding("bandit", result["test_id"], file, int(result["line_number"]), result["issue_text"])


def _read(program: str, output: str) -> Any:
    try:
        return json.loads(output)
    except ValueError as exc:
        raise QualtricsEtlError(f"{program} printed no JSON, but:\n{output[-TOLD_CHARACTERS:]}") from exc


def _relative(file: str, place: ScanPlace) -> str:
    """Return a path as scanners name it (absolute, from the copy as `/`, or with `./`) relative to the repository."""
    for folder in (place.copy, place.root):
        if Path(file).is_relative_to(folder):
            return Path(file).relative_to(folder).as_posix()
    return file.removeprefix("./").lstrip("/")


def _has_workflows(place: ScanPlace) -> bool:
    return (place.copy / ".github" / "workflows").is_dir()


SCANNERS = (
    Scanner("checkov", "Terraform, workflows, secrets", _checkov),
    Scanner("cfn-lint", "the packaged functions' stack", _cfn_lint),
    Scanner("shellcheck", "scripts and commands of Makefile and CI", _shellcheck),
    Scanner("zizmor", "workflows: who can make them do what", _zizmor, _has_workflows),
    Scanner("actionlint", "workflows: whether they are right", _actionlint, _has_workflows),
    Scanner("bandit", "Python", _bandit),
)
"""The longest first."""
