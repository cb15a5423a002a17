"""What a deploy would change, for a pull request; and what is no longer as it was deployed."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from qualtrics_etl.aws.stacks import GONE, WORTHLESS, stack_status
from qualtrics_etl.deployment.bootstrap import is_bootstrapped, run_bootstrap
from qualtrics_etl.deployment.changes import Change, Changes
from qualtrics_etl.deployment.stage import LOCAL, Stage
from qualtrics_etl.deployment.terraform import Terraform
from qualtrics_etl.deployment.workbench import Workbench, workbench

SUMMARY_BYTES = 900_000
"""Most of a plan that a job's summary gets. Source: GitHub documentation, job summaries (1 MiB a step)."""
COMMENT_BYTES = 60_000
"""Most of a plan that build/plan-<stage>.md gets, which becomes a pull request's comment. Source: GitHub's API, which
refuses a body of more than 65536 characters."""


def plan(root: Path, name: str, console: Console, *, drift: bool = False) -> bool:
    """Show what a deploy would change; return whether that is anything.

    The text also goes to build/plan-<stage>.md, as much of it as fits a comment, and to the summary of a GitHub job.

    Args:
        root: The repository.
        name: The stage.
        console: Where the plan goes.
        drift: Whether the question is what differs from what was deployed.

    Raises:
        ConfigurationError: Something is missing.
        QualtricsEtlError: Terraform or AWS failed.
        Interrupted: A signal came.
    """
    # The stage on this machine bootstraps itself, which no other command may do at once.
    with workbench(root, name, "plan", console, apart=name != LOCAL) as bench:
        if bench.stage.is_local and not is_bootstrapped(bench.stage):
            run_bootstrap(bench)
        terraform = Terraform(bench.stage, bench.programs, apart=True)
        with bench.report.phase("terraform init") as phase:
            terraform.init(phase)
        with bench.report.phase("terraform plan") as phase:
            made = terraform.plan(phase, lock=False)
            phase.result = "done"
        differences = differences_of(bench.stage, made.changes) if drift else []
        human = terraform.show(made.file, "-no-color")
        made.file.unlink()
        text = "\n".join(differences) if drift else human.strip()
        _publish(bench, text, drift=drift)
        return bool(differences) if drift else not made.changes.is_empty


def differences_of(stage: Stage, changes: Changes) -> list[str]:
    """Return a line for each thing that is not as it was deployed: what a deploy would change, and broken functions.

    What Terraform itself calls drift only words a line. Alone it is none: attributes that AWS filled in after the apply
    (a queue's address in another one's policy) would differ from the state for ever, and no deploy would change them.

    Args:
        stage: The stage.
        changes: A plan of it.
    """
    drifted = {each.address for each in changes.drifted}
    lines = [
        f"{'changed on AWS' if each.address in drifted else 'other than the files say'}: {each.address} ({_what(each)})"
        for each in changes.planned
    ]
    status = stack_status(stage.access, stage.prefix)
    if status == GONE:
        lines.append(f"the functions are not there: there is no stack {stage.prefix}")
    elif status in WORTHLESS or status.endswith("ROLLBACK_FAILED"):
        lines.append(f"the functions do not work: the stack {stage.prefix} is in {status}")
    return lines


def _what(change: Change) -> str:
    if change.action != "update":
        return {"create": "missing", "delete": "to be deleted", "replace": "to be replaced"}[change.action]
    names = [key for key in change.after if change.before.get(key) != change.after[key]]
    return ", ".join(sorted(names)) or "something in it"


def _publish(bench: Workbench, text: str, *, drift: bool) -> None:
    stage = bench.stage.name
    if drift:
        title = f"Stage {stage} differs from what was deployed" if text else f"Stage {stage} is as it was deployed"
        bench.report.say(f"{title}{':' if text else '.'}")
    else:
        title = f"Plan for stage {stage}"
    if text:
        bench.report.say(text)
    folder = bench.stage.root / "build"
    folder.mkdir(exist_ok=True)
    (folder / f"{'drift' if drift else 'plan'}-{stage}.md").write_text(
        as_markdown(title, text, COMMENT_BYTES), encoding="utf-8"
    )
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(as_markdown(title, text, SUMMARY_BYTES))


def as_markdown(title: str, text: str, most: int) -> str:
    """Return a title and a text in a fence, of which at most `most` bytes are kept, cut between two letters."""
    if not text:
        return f"### {title}\n\n"
    whole = text.replace("```", "'''")  # a fence inside of the text would end ours
    cut = whole.encode()[:most].decode(errors="ignore")
    rest = "" if cut == whole else "\n... the rest stands in the job's log."
    return f"### {title}\n\n```text\n{cut}{rest}\n```\n"
