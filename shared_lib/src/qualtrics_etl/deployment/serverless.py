"""sls: the functions and what feeds them, in one CloudFormation stack."""

from __future__ import annotations

import re
from collections.abc import Iterator

from qualtrics_etl.aws.parameters import read_parameters
from qualtrics_etl.aws.stacks import GONE, STUCK, WORTHLESS, await_stack, delete_stack, is_busy, stack_status, stuck
from qualtrics_etl.deployment.preflight import sls_program
from qualtrics_etl.deployment.programs import Output, Programs
from qualtrics_etl.deployment.report import Report
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError

LOCAL_POLL_MILLISECONDS = 200
"""How often sls asks CloudFormation how far it is; its default of five seconds is made for AWS."""
LOCAL_POLL_SECONDS = 0.2
AWS_POLL_SECONDS = 3.0

_PARAMETER = re.compile(r"\$\{ssm:([^}$,]*(?:\$\{[^}]*\}[^}$,]*)*)\}")
_OWN = "${self:custom.parameters}"
_ERROR = re.compile(r"^(?:Error:?|✖ .*)\n(.*?)(?:\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def deploy_functions(stage: Stage, programs: Programs, report: Report) -> bool:
    """Deploy the functions; return whether anything changed.

    Raises:
        ConfigurationError: serverless.yml needs a parameter that Terraform does not hand over.
        QualtricsEtlError: sls or CloudFormation failed.
    """
    settle_stack(stage, report)
    check_handover(stage)
    seen = 0

    with report.phase("sls deploy") as phase:

        def follow(line: str) -> str:
            nonlocal seen
            if re.search(r"(CREATE|UPDATE|DELETE)_COMPLETE", line):
                seen += 1
                phase.progress(f"{seen} resources done")
            return _COLOURS.sub("", line)

        local = {"SLS_AWS_MONITORING_FREQUENCY": str(LOCAL_POLL_MILLISECONDS)} if stage.is_local else {}
        environment = {"SLS_TELEMETRY_DISABLED": "1", "NODE_NO_WARNINGS": "1", **local}
        command = [sls_program(stage.root), "deploy", "--stage", stage.name, "--verbose"]
        output = programs.run(command, "sls deploy", on_line=follow, environment=environment)
        if output.exit_code != 0:
            raise _failure(stage, output)
        skipped = "Deployment skipped" in output.stdout + output.stderr
        phase.result = "nothing to change" if skipped else f"{len(stage.workflow.services)} functions"
    return not skipped


def settle_stack(stage: Stage, report: Report) -> None:
    """Wait for what an interrupted deploy began, and delete a stack that nothing works in.

    Raises:
        PermanentError: Only a person can mend the stack; names the command.
    """
    status = stack_status(stage.access, stage.prefix)
    poll = poll_seconds(stage)
    if is_busy(status):
        with report.phase("stack of an earlier deploy") as phase:
            status = await_stack(stage.access, stage.prefix, progress=phase.progress, poll_seconds=poll)
            phase.result = status or "gone"
    if status == STUCK:
        raise stuck(stage.prefix, stage.access.region)
    if status in WORTHLESS:
        with report.phase("stack that never worked") as phase:
            delete_stack(stage.access, stage.prefix, progress=phase.progress, poll_seconds=poll)
            phase.result = f"deleted, it was in {status}"


def remove_functions(stage: Stage, report: Report) -> None:
    """Delete the stack, in whatever state it is.

    Not by `sls remove`: that resolves every variable of serverless.yml first, so it fails where a parameter is gone.
    """
    poll = poll_seconds(stage)
    with report.phase("functions") as phase:
        status = await_stack(stage.access, stage.prefix, progress=phase.progress, poll_seconds=poll)
        if status == GONE:
            phase.result = "there are none"
            return
        delete_stack(stage.access, stage.prefix, progress=phase.progress, poll_seconds=poll)
        phase.result = "deleted"


def poll_seconds(stage: Stage) -> float:
    """Return how often CloudFormation is asked how far it is."""
    return LOCAL_POLL_SECONDS if stage.access.endpoint_url else AWS_POLL_SECONDS


def check_handover(stage: Stage) -> None:
    """Refuse to start sls when a parameter that it reads is not there: it would name a place, and no parameter.

    Raises:
        ConfigurationError: Names them, and the files that ask for them.
    """
    asked = dict(_asked_parameters(stage))
    there = read_parameters(stage.access, asked)
    missing = [f"{parameter} (in {file})" for parameter, file in asked.items() if parameter not in there]
    if missing:
        raise ConfigurationError(
            f"The functions need what Terraform does not hand over: {', '.join(missing)}.",
            remedy="Add it to terraform/handover.tf or the service module, or correct the name; then deploy again.",
        )


def _asked_parameters(stage: Stage) -> Iterator[tuple[str, str]]:
    """Yield the parameters that serverless.yml and the services' function.yml read, and the file of each."""
    files = ["serverless.yml", *(f"services/{service}/function.yml" for service in stage.workflow.services)]
    for file in files:
        path = stage.root / file
        for found in _PARAMETER.findall(path.read_text(encoding="utf-8") if path.is_file() else ""):
            name = found.replace(_OWN, stage.parameters)
            if "${" not in name:  # what else it may be made of, sls alone knows
                yield name, file


def _failure(stage: Stage, output: Output) -> QualtricsEtlError:
    text = _COLOURS.sub("", output.stderr + "\n" + output.stdout)
    found = _ERROR.search(text)
    said = (found[1] if found else text.strip()[-1500:]).strip()
    lines = "\n".join(f"  {line}" for line in said.splitlines())
    remedy = "Mend that, then deploy again."
    if "ExpiredToken" in said:
        remedy = "Sign in again, then deploy again: it goes on from there."
    elif 'Value not found at "ssm"' in said:
        remedy = "serverless.yml names a parameter that Terraform does not make: `make check` says which."
    elif "AccessDenied" in said or "not authorized" in said:
        remedy = f"The credentials may not do that; {stage.make('bootstrap')} brings a pipeline's rights up to date."
    return QualtricsEtlError(f"`sls deploy` failed:\n{lines}\n", remedy=remedy)
