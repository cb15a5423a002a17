"""Terraform's commands on one of the repository's two roots, and what its failures mean."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from qualtrics_etl.deployment.changes import Changes, read_changes
from qualtrics_etl.deployment.programs import Output, Programs, find_program
from qualtrics_etl.deployment.report import Phase
from qualtrics_etl.deployment.stage import BOOTSTRAP_KEY, STAGE_KEY, Stage
from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError

OLDEST = (1, 11)
"""Write-only arguments, which keep secret values out of the state, came with this version."""
TAKEOVER_FILE = "qetl_takeover.tf"
"""Import blocks of one deploy, beside the root's own files."""
SHOWN_ERRORS = 5
_INSTALL = "Install Terraform 1.11 or newer: https://developer.hashicorp.com/terraform/install"
_PLAIN_ERROR = re.compile(r"^(?:│ )?Error: (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan that can be applied.

    Attributes:
        file: Where Terraform keeps it.
        changes: What it would do.
    """

    file: Path
    changes: Changes


@dataclass(slots=True)
class Diagnostics:
    """Errors that Terraform reports while it runs with `-json`, and how far it is.

    Attributes:
        errors: In Terraform's words, one each.
        done: Resources that are finished.
    """

    phase: Phase
    total: int = 0
    done: int = 0
    errors: list[str] = field(default_factory=list)

    def take(self, line: str) -> str:
        """Take a line in; return what a log keeps of it."""
        try:
            message = json.loads(line)
        except ValueError:
            return line
        if not isinstance(message, dict):
            return line
        kind = message.get("type")
        if kind in ("apply_complete", "refresh_complete"):
            self.done += 1
            self.phase.progress(f"{self.done} of {self.total}" if self.total else f"{self.done} looked at")
        if kind == "diagnostic" and message["diagnostic"]["severity"] == "error":
            self.errors.append(_diagnostic(message["diagnostic"]))
            return self.errors[-1]
        return str(message.get("@message", line))


class Terraform:
    """One root module of a stage.

    Args:
        stage: Whose.
        programs: Runs it.
        root: The module's folder, relative to the repository: `terraform` or `terraform/bootstrap`.
        apart: Whether what it keeps (the plan, and what `terraform init` prepares) lies in the command's own folder, so
            that a deploy of the stage at the same time finds its own as it left it.
    """

    def __init__(self, stage: Stage, programs: Programs, root: str = "terraform", *, apart: bool = False) -> None:
        self._stage = stage
        self._programs = programs
        self._root = root
        self.key = STAGE_KEY if root == "terraform" else BOOTSTRAP_KEY
        self._data = (programs.folder if apart else stage.folder) / root.replace("/", "-")

    @property
    def takeover_file(self) -> Path:
        """Where import blocks go."""
        return self._stage.root / self._root / TAKEOVER_FILE

    def init(self, phase: Phase) -> None:
        """Prepare the root, when anything that this depends on changed."""
        mark, now = self._data / "initialised", self._fingerprint()
        if mark.is_file() and mark.read_text(encoding="utf-8") == now:
            phase.result = "nothing to do"
            return
        mark.unlink(missing_ok=True)
        backend = {
            "bucket": self._stage.bucket("state"),
            "key": self.key,
            "region": self._stage.access.region,
            **(_EMULATED_BACKEND if self._stage.access.endpoint_url else {}),
        }
        given = [f"-backend-config={name}={value}" for name, value in backend.items()]
        output = self._run("init", "-reconfigure", *given)
        self._raise_for(output, "init", _plain_errors(output))
        mark.write_text(self._fingerprint(), encoding="utf-8")  # init may have written the lock file

    def plan(self, phase: Phase, *, lock: bool = True, destroy: bool = False) -> Plan:
        """Make a plan."""
        file = self._data / "plan.tfplan"
        seen = Diagnostics(phase)
        options = [f"-lock={str(lock).lower()}", f"-out={file}", *(["-destroy"] if destroy else [])]
        output = self._run("plan", "-json", *options, self._variable, on_line=seen.take, locks_state=lock)
        self._raise_for(output, "plan", seen.errors)
        return Plan(file, read_changes(self.show(file, "-json")))

    def show(self, file: Path | None, *options: str) -> str:
        """Return what Terraform says of a plan file, or of the state when none is given."""
        output = self._run("show", *options, *([str(file)] if file else []), on_line=lambda line: "")
        self._raise_for(output, "show", _plain_errors(output))
        return output.stdout

    def apply(self, plan: Plan, phase: Phase) -> None:
        """Carry a plan out."""
        seen = Diagnostics(phase, total=len(plan.changes.planned))
        output = self._run("apply", "-json", str(plan.file), on_line=seen.take, locks_state=True)
        self._raise_for(output, "apply", seen.errors)
        phase.result = f"{seen.done} of {seen.total}"

    def forget(self, addresses: list[str]) -> None:
        """Take things out of the state, without touching them."""
        output = self._run("state rm", *addresses, locks_state=True)
        self._raise_for(output, "state rm", _plain_errors(output))

    def force_unlock(self, lock_id: str) -> None:
        """Remove the lock of the state."""
        output = self._run("force-unlock", "-force", lock_id)
        self._raise_for(output, "force-unlock", _plain_errors(output))

    @property
    def _variable(self) -> str:
        return f"-var=stage={self._stage.name}"

    def _run(
        self,
        command: str,
        *arguments: str,
        on_line: Callable[[str], str] = lambda line: line,
        locks_state: bool = False,
    ) -> Output:
        plain = [] if command in ("state rm", "force-unlock", "show") else ["-input=false"]
        words = [terraform_program(self._stage.root), f"-chdir={self._root}", *command.split()]
        self._data.mkdir(parents=True, exist_ok=True)
        # A folder for each stage: one that was prepared for another stage would lead to that one's state.
        environment = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_DATA_DIR": str(self._data)}
        if "TF_PLUGIN_CACHE_DIR" not in self._programs.environment:
            plugins = self._stage.folder.parent / "plugins"
            plugins.mkdir(parents=True, exist_ok=True)
            environment["TF_PLUGIN_CACHE_DIR"] = str(plugins)
        return self._programs.run(
            [
                *words,
                *plain,
                *(["-no-color"] if command != "force-unlock" and command != "state rm" else []),
                *arguments,
            ],
            f"terraform {command}",
            on_line=on_line,
            environment=environment,
            locks_state=locks_state,
        )

    def _fingerprint(self) -> str:
        """Digest what `terraform init` depends on: program, state, and the lines that name providers and modules."""
        stage, digest = self._stage, hashlib.sha256()
        digest.update("\0".join([terraform_program(stage.root), stage.bucket("state"), stage.access.region]).encode())
        for file in [
            *sorted((stage.root / "terraform").rglob("*.tf")),
            stage.root / self._root / ".terraform.lock.hcl",
        ]:
            if file.is_file() and file.name != TAKEOVER_FILE:
                digest.update(str(file.relative_to(stage.root)).encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()

    def _raise_for(self, output: Output, command: str, errors: list[str]) -> None:
        if output.exit_code == 0:
            return
        shown = errors[:SHOWN_ERRORS] or _last_lines(output)
        more = [f"(and {len(errors) - SHOWN_ERRORS} more)"] if len(errors) > SHOWN_ERRORS else []
        text = "\n".join(f"  {line}" for each in [*shown, *more] for line in each.splitlines())
        raise QualtricsEtlError(f"`terraform {command}` failed:\n{text}\n", remedy=self._remedy(text))

    def _remedy(self, errors: str) -> str:
        for pattern, remedy in _REMEDIES:
            if re.search(pattern, errors):
                return remedy.format(stage=self._stage.name, config=self._stage.config_file)
        return "Mend that, then run the same command again: it goes on from there."


_EMULATED_BACKEND = {
    "use_path_style": "true",
    "skip_credentials_validation": "true",
    "skip_requesting_account_id": "true",
    "skip_metadata_api_check": "true",
    "skip_region_validation": "true",
}

_REMEDIES = (
    (
        "Error acquiring the state lock",
        "Another deploy works on this stage, or died: `make unlock STAGE={stage}` says which, and removes its lock.",
    ),
    (
        "ExpiredToken|RequestExpired|token .*expired|InvalidClientTokenId",
        "Sign in again, then run the same command: it goes on from there.",
    ),
    (
        "AccessDenied|UnauthorizedOperation|not authorized to perform",
        (
            "The credentials may not do that. A pipeline's rights stand in terraform/bootstrap, and"
            " `make bootstrap STAGE={stage}` brings them to AWS."
        ),
    ),
    (
        "EntityAlreadyExists|ResourceAlreadyExists|ParameterAlreadyExists|BucketAlreadyExists|QueueAlreadyExists",
        "The name is taken. Run `make deploy STAGE={stage}` again: it takes over what is ours, and says what is not.",
    ),
    (
        "Error refreshing state|Failed to get existing workspaces|NoSuchBucket",
        "The stage may have no state yet: `make bootstrap STAGE={stage}`.",
    ),
)


def terraform_program(root: Path) -> str:
    """Return the path of Terraform, or of what stands in for it."""
    return find_program(root, os.environ.get("QETL_TERRAFORM") or "terraform", "Terraform", _INSTALL)


def check_terraform(root: Path, programs: Programs) -> None:
    """Refuse a Terraform that is too old.

    Raises:
        ConfigurationError: It is not there, too old, or does not say its version.
    """
    output = programs.run([terraform_program(root), "version", "-json"], "terraform version", on_line=lambda line: "")
    try:
        version = str(json.loads(output.stdout)["terraform_version"])
        numbers = tuple(int(part) for part in version.split("-")[0].split("."))
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigurationError("Terraform does not say its version.", remedy=_INSTALL) from exc
    if numbers < OLDEST:
        raise ConfigurationError(f"Terraform {version} is too old for these files.", remedy=_INSTALL)


def _diagnostic(entry: dict[str, Any]) -> str:
    place = entry.get("address") or ""
    if not place and entry.get("range"):
        place = f"{entry['range']['filename']}:{entry['range']['start']['line']}"
    text = entry["summary"] + (f": {entry['detail']}" if entry.get("detail") else "")
    return f"{place}: {text}" if place else text


def _plain_errors(output: Output) -> list[str]:
    return list(_paragraphs(output.stderr)) or list(_paragraphs(output.stdout))


def _paragraphs(text: str) -> Iterator[str]:
    """Yield what stands behind each `Error: `, up to the next one."""
    starts = [match.start(1) for match in _PLAIN_ERROR.finditer(text)]
    for start, end in pairwise([*starts, len(text)]):
        lines = [line.strip("│╷╵ ") for line in text[start:end].splitlines()]
        yield "\n".join(line for line in lines if line and line != "Error:")


def _last_lines(output: Output) -> list[str]:
    return (output.stderr.strip() or output.stdout.strip() or "It said nothing.").splitlines()[-10:]
