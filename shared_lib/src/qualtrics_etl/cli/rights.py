"""What `qetl check` finds between the workflow and Terraform's files: rights of kinds, kinds of batches, names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from qualtrics_etl.catalogue import KINDS, Level
from qualtrics_etl.workflow import WORKFLOW_FILE, Workflow
from qualtrics_etl.yaml_lines import read_yaml

PERMISSIONS_FILE = "terraform/permissions.tf"
BATCHES_FILE = "terraform/workflow.tf"
TAKEN_NAMES = ("boundary", "deploy", "plan")
"""What `make bootstrap` makes is named so, as roles of services are named by the service."""

_RIGHTS = re.compile(r"^\s*may\s*=\s*\{")
_BATCH_KINDS = re.compile(r"^\s*batch_kinds\s*=\s*\[(.*)\]")
_KEY = re.compile(r'^\s*"?(\w+)"?\s*=\s*\{')


def rights_problems(root: Path, workflow: Workflow) -> Iterator[str]:
    """Yield where Terraform's files don't fit workflow.yml; each names file, line and remedy."""
    yield from _of_permissions(root, workflow)
    yield from _of_batches(root, workflow)
    for service in sorted(set(TAKEN_NAMES) & workflow.services.keys()):
        line = read_yaml(root / WORKFLOW_FILE).line_of("services", service)
        yield (
            f"{WORKFLOW_FILE}:{line}: a service can't be named `{service}`: `make bootstrap` makes a role or policy of"
            " that name. Give it another."
        )


def _of_permissions(root: Path, workflow: Workflow) -> Iterator[str]:
    lines = _lines(root, PERMISSIONS_FILE)
    start = next((number for number, line in enumerate(lines, 1) if _RIGHTS.match(line)), None)
    if start is None:
        yield f"{PERMISSIONS_FILE}: no `may = {{` says what each kind may do. {_RESTORE.format(PERMISSIONS_FILE)}"
        return
    given = set(_keys(lines[start - 1 :]))
    for kind in sorted({service.kind for service in workflow.services.values()} - given):
        services = ", ".join(name for name, service in workflow.services.items() if service.kind == kind)
        yield (
            f"{PERMISSIONS_FILE}:{start}: `may` says nothing of kind {kind}, which {services} is of: Terraform would"
            f" stop. Add `{kind} = {{...}}` with what it may read, write and delete, and its secrets."
        )


def _keys(lines: list[str]) -> Iterator[str]:
    """Yield the keys of an object of objects in Terraform's language, as `terraform fmt` lays it out."""
    depth = 0
    for line in lines:
        bare = re.sub(r'"[^"]*"', '""', line).partition("#")[0]
        if depth == 1 and (match := _KEY.match(line)):
            yield match[1]
        depth += bare.count("{") - bare.count("}")
        if depth == 0:
            return


def _of_batches(root: Path, workflow: Workflow) -> Iterator[str]:
    lines = _lines(root, BATCHES_FILE)
    found = [(number, match[1]) for number, line in enumerate(lines, 1) if (match := _BATCH_KINDS.match(line))]
    if not found:
        yield f"{BATCHES_FILE}: no `batch_kinds = [...]` says which work on batches. {_RESTORE.format(BATCHES_FILE)}"
        return
    line, text = found[0]
    listed = set(re.findall(r'"([^"]*)"', text))
    batch_kinds = {kind.name for kind in KINDS.values() if kind.level is Level.BATCH}
    for kind in sorted((batch_kinds & {service.kind for service in workflow.services.values()}) - listed):
        yield f"{BATCHES_FILE}:{line}: `batch_kinds` lacks {kind}, which gets a message a batch. Add it."
    for kind in sorted(listed - batch_kinds):
        what = "gets one message a run" if kind in KINDS else "is no kind of this library"
        yield f"{BATCHES_FILE}:{line}: `batch_kinds` names {kind}, which {what}. Delete it there."


def _lines(root: Path, name: str) -> list[str]:
    path = root / name
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


_RESTORE = "`git checkout {}` brings it back."
