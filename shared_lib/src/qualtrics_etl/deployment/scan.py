"""What the scanners find in a repository, less the exceptions that its scan.yml gives a reason for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from qualtrics_etl.deployment.scanned_tree import copy_tree
from qualtrics_etl.deployment.scanners import SCANNERS, Finding, Scanner, ScanPlace
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.yaml_lines import YamlFile, read_yaml

EXCEPTIONS_FILE = "scan.yml"
BIN_VARIABLE = "QETL_SCAN_BIN"
DEFAULT_BIN = ".venv-scan/bin"
SIDE_BY_SIDE = 2
"""Scanners at a time: the longest takes as long as all others together."""

Tell = Callable[[str], None]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10)]


class _Given(BaseModel):
    """One exception, as scan.yml has it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    reason: Reason
    where: str | list[str] = "*"


_FILE = TypeAdapter(dict[str, dict[str, _Given] | None])


@dataclass(frozen=True, slots=True)
class ScanException:
    """A finding that stays, and why.

    Attributes:
        where: The file it is meant for; `*` stands for any letters, folders too.
        line: Line in scan.yml.
    """

    tool: str
    rule: str
    where: str
    reason: str
    line: int

    def covers(self, finding: Finding) -> bool:
        """Tell whether this is about the finding."""
        same_rule = (finding.tool, finding.rule) == (self.tool, self.rule)
        return same_rule and fnmatchcase(finding.file, self.where)


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What is left to mend.

    Attributes:
        findings: Those that no exception covers, without repetitions.
        stale: Exceptions that cover nothing any more.
        excepted: How many findings are covered.
    """

    findings: tuple[Finding, ...]
    stale: tuple[ScanException, ...]
    excepted: int

    @property
    def clean(self) -> bool:
        """Whether nothing is left to mend."""
        return not self.findings and not self.stale


def scan(root: Path, environment: Mapping[str, str], tell: Tell) -> ScanResult:
    """Run every scanner over what git would keep of a repository, and sort out what is excepted.

    Args:
        environment: Says where scanners, sls and the emulator are (`QETL_SCAN_BIN`, `QETL_SLS`,
            `QETL_EMULATOR_PYTHON`); nothing else of it reaches them.
        tell: Takes a line about each scanner as it ends.

    Raises:
        ConfigurationError: scan.yml is wrong, or a tool is missing.
        QualtricsEtlError: A scanner failed.
    """
    exceptions = read_exceptions(root)
    found: list[Finding] = []
    with TemporaryDirectory(prefix="scan-") as folder:
        copy = copy_tree(root, Path(folder, "tree"))
        place = ScanPlace(root, copy, root / (environment.get(BIN_VARIABLE) or DEFAULT_BIN), environment)
        scanners = [scanner for scanner in SCANNERS if scanner.applies(place)]
        for scanner in scanners:
            place.program(scanner.name)  # said at once, and not after the others have looked
        started = time.monotonic()
        with ThreadPoolExecutor(SIDE_BY_SIDE) as workers:
            jobs = {workers.submit(scanner.find, place): scanner for scanner in scanners}
            for job in as_completed(jobs):
                own = job.result()
                found += own
                tell(_progress(jobs[job], own, exceptions, time.monotonic() - started))
    return judge(found, exceptions)


def judge(found: Iterable[Finding], exceptions: Iterable[ScanException]) -> ScanResult:
    """Sort out which findings stay, and which exceptions are no longer needed."""
    every, given = sorted(set(found)), tuple(exceptions)
    findings = tuple(each for each in every if not any(exception.covers(each) for exception in given))
    stale = tuple(exception for exception in given if not any(map(exception.covers, every)))
    return ScanResult(findings, stale, len(every) - len(findings))


def explain_findings(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield findings for people, a rule at a time: what is where, and how it could be excepted."""
    for (tool, rule), group in groupby(sorted(findings), key=lambda finding: (finding.tool, finding.rule)):
        own = list(group)
        yield from (f"{tool} {rule} {finding.place}: {finding.what}" for finding in own)
        files = list(dict.fromkeys(finding.file for finding in own))
        where = files[0] if len(files) == 1 else f"[{', '.join(files)}]"
        yield (
            f"  Mend {'it' if len(own) == 1 else 'them'}, or say in {EXCEPTIONS_FILE} why not:\n"
            f"    {tool}:\n      {rule}:\n        where: {where}\n        reason: ..."
        )


def explain_stale(exception: ScanException) -> str:
    """Return an exception that is no longer needed, for people."""
    where = "" if exception.where == "*" else f" in {exception.where}"
    return (
        f"{EXCEPTIONS_FILE}:{exception.line}: {exception.tool} no longer finds {exception.rule}{where}."
        " Delete the exception, so that it covers nothing new."
    )


def read_exceptions(root: Path) -> list[ScanException]:
    """Read scan.yml; an empty one has no exceptions.

    Raises:
        ConfigurationError: It names a scanner that there is none of, or an exception without a reason; names the line.
    """
    file = read_yaml(root / EXCEPTIONS_FILE)
    try:
        given = _FILE.validate_python(file.data or {})
    except ValidationError as exc:
        raise _wrong(file, exc) from exc
    known = [scanner.name for scanner in SCANNERS]
    for tool in given:
        if tool not in known:
            raise ConfigurationError(
                f"{EXCEPTIONS_FILE}:{file.line_of(tool)}: there is no scanner `{tool}`.",
                remedy=f"Scanners are: {', '.join(known)}.",
            )
    return [each for tool, rules in given.items() for each in _exceptions(file, tool, rules or {})]


def _exceptions(file: YamlFile, tool: str, rules: Mapping[str, _Given]) -> Iterable[ScanException]:
    for rule, given in rules.items():
        for where in [given.where] if isinstance(given.where, str) else given.where:
            yield ScanException(tool, rule, where, given.reason, file.line_of(tool, rule) or 1)


def _wrong(file: YamlFile, exc: ValidationError) -> ConfigurationError:
    """Name the first thing that is wrong, as somebody who writes the file would."""
    problem = exc.errors()[0]
    place = problem["loc"]
    rule = ".".join(map(str, place[:2])) or "the file"
    what = "has no reason, or one too short to be one" if place[2:3] == ("reason",) else f"is wrong: {problem['msg']}"
    return ConfigurationError(
        f"{EXCEPTIONS_FILE}:{file.line_of(*place) or 1}: {rule} {what}.",
        remedy="An exception is: scanner, rule, then `reason:` (a sentence) and, if it can, `where:` (a file).",
    )


def _progress(scanner: Scanner, found: Iterable[Finding], exceptions: Iterable[ScanException], seconds: float) -> str:
    result = judge(found, exceptions)
    verdict = f"{len(result.findings)} to mend" if result.findings else "clean"
    excepted = f", {result.excepted} excepted" if result.excepted else ""
    return f"{scanner.name:<12}{scanner.looks_at:<40}{verdict}{excepted}  ({seconds:.1f} s)"
