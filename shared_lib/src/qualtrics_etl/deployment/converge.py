"""Bringing AWS to what one of Terraform's roots describes, whatever an earlier deploy left behind."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from qualtrics_etl.aws.parameters import delete_unset
from qualtrics_etl.aws.takeover import Found, Planned, find_existing
from qualtrics_etl.deployment.changes import Changes
from qualtrics_etl.deployment.lock import StageLock
from qualtrics_etl.deployment.losses import PARAMETER, refuse_losses
from qualtrics_etl.deployment.report import Report
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.deployment.state_lock import clear_stale_lock
from qualtrics_etl.deployment.terraform import Plan, Terraform
from qualtrics_etl.errors import ConfigurationError

REUSE_SECONDS = 30
"""How long a parameter's name must rest after its deletion. Source: Systems Manager API reference, DeleteParameters."""


@dataclass(frozen=True, slots=True)
class Convergence:
    """One root on its way to AWS.

    Attributes:
        what: What the root is, for lines that a person reads.
        discard_messages: Whether queues may be deleted while messages wait in them.
        confirm: Called once the plan is told and before anything is changed, also when there is nothing to change;
            raises when somebody says no.
    """

    stage: Stage
    terraform: Terraform
    lock: StageLock
    report: Report
    what: str = "terraform"
    discard_messages: bool = False
    confirm: Callable[[], None] = lambda: None

    def run(self) -> Changes:
        """Plan, take over what is ours already, refuse what would lose something, apply; return what was changed.

        Raises:
            ConfigurationError: A name is taken by somebody else, or something that holds data would be lost.
            QualtricsEtlError: Terraform failed, or somebody else works on the stage.
        """
        with self.report.phase(f"{self.what} init") as phase:
            self.terraform.init(phase)
        clear_stale_lock(self.stage, self.terraform, self.lock, self.report)
        self.lock.forget()
        with self._takeover_file():
            plan, secrets = self._plan()
            refuse_losses(self.stage, plan.changes, discard_messages=self.discard_messages)
            for line in plan.changes.summary(list(self.stage.workflow.services)):
                self.report.say(f"    {line}")
            self.confirm()
            if plan.changes.is_empty:
                return plan.changes
            self._make_room(secrets)
            # Again: whoever was asked may have thought about it, and services have been at work meanwhile.
            refuse_losses(self.stage, plan.changes, discard_messages=self.discard_messages)
            with self.report.phase(f"{self.what} apply") as phase:
                self.terraform.apply(plan, phase)
            return plan.changes

    def _plan(self) -> tuple[Plan, list[str]]:
        """Return a plan that nothing on AWS stands in the way of but parameters of secrets, and these."""
        with self.report.phase(f"{self.what} plan") as phase:
            plan = self.terraform.plan(phase)
            found = self._found(plan.changes)
            imports = [each for each in found if not _is_secret(each)]
            if imports:
                self._write_imports(imports)
                plan = self.terraform.plan(phase)
            phase.result = _said(plan.changes)
        if found:
            self.report.say(f"  Taking over {len(found)} things that an interrupted deploy made.")
        return plan, [each.import_id for each in found if _is_secret(each)]

    def _found(self, changes: Changes) -> list[Found]:
        planned = [Planned(each.address, each.kind, each.after) for each in changes.of("create")]
        found = find_existing(self.stage.access, self.stage.account, planned, self.stage.tags)
        others = [each for each in found if not each.ours]
        if others:
            lines = "\n".join(f"  {_described(each)}" for each in others)
            raise ConfigurationError(
                f"Names that stage {self.stage.name} needs are taken by what does not belong to it; nothing was"
                f" changed:\n{lines}\n",
                remedy=(
                    "Delete or rename them. Are they ours after all, tag them"
                    f" {' and '.join(f'{key}={value}' for key, value in self.stage.tags.items())}, and deploy again."
                ),
            )
        return found

    def _write_imports(self, found: list[Found]) -> None:
        blocks = [f"import {{\n  to = {each.planned.address}\n  id = {_quoted(each.import_id)}\n}}\n" for each in found]
        self.terraform.takeover_file.write_text("\n".join(blocks), encoding="utf-8")

    @contextmanager
    def _takeover_file(self) -> Iterator[None]:
        """Keep a file of import blocks from outliving us; one that did is deleted first."""
        self.terraform.takeover_file.unlink(missing_ok=True)
        try:
            yield
        finally:
            self.terraform.takeover_file.unlink(missing_ok=True)

    def _make_room(self, secrets: list[str]) -> None:
        """Delete leftovers of secrets that were never set, which Terraform then makes anew.

        They can't be taken over: an import brings a parameter's value into the state, and the provider then writes its
        placeholder over it. Source: terraform-provider-aws 6, internal/service/ssm/parameter.go.

        Raises:
            ConfigurationError: One was set. It is nobody's to delete but a person's; nothing was changed.
        """
        if not secrets:
            return
        with self.report.phase("secrets never set") as phase:
            taken = delete_unset(self.stage.access, secrets)
            if taken:
                raise self._set_already(taken)
            if self.stage.access.endpoint_url is None:
                phase.progress("waiting, since AWS does not make them anew at once")
                time.sleep(REUSE_SECONDS)

    def _set_already(self, taken: list[str]) -> ConfigurationError:
        stage, names = self.stage, [name.rpartition("/")[2] for name in taken]
        return ConfigurationError(
            f"Secrets are set that are not in Terraform's state, and it can't take them over without their values:"
            f" {', '.join(names)}. Nothing was changed.",
            remedy=(
                "Delete them with your AWS command line: `aws ssm delete-parameters --region"
                f" {stage.access.region} --names {' '.join(taken)}`. Half a minute later, run {stage.make('bootstrap')}"
                f" again, then set them again: {', '.join(stage.make('secret', NAME=name) for name in names)}."
            ),
        )


def _is_secret(found: Found) -> bool:
    return found.planned.kind == PARAMETER and found.planned.values.get("type") == "SecureString"


def _described(found: Found) -> str:
    tags = ", ".join(f"{key}={value}" for key, value in sorted(found.tags.items())) or "none"
    return f"{found.planned.kind} {found.import_id} (tags: {tags})"


def _said(changes: Changes) -> str:
    return "nothing to change" if changes.is_empty else "changes"


def _quoted(text: str) -> str:
    """Quote for HCL, where a template could begin inside of quotes."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
