"""The CloudFormation template that sls makes of a repository, without an account and without anything built."""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.failures import aws_failures
from qualtrics_etl.deployment.preflight import sls_program
from qualtrics_etl.errors import ConfigurationError, QualtricsEtlError
from qualtrics_etl.local.emulator import ACCESS_KEY, emulator_python, running_emulator
from qualtrics_etl.workflow import read_workflow
from qualtrics_etl.yaml_lines import read_yaml

TEMPLATE_FILE = "build/scan/cloudformation.json"
"""Where it is kept, so that a finding's line can be looked up."""
ACCOUNT = "000000000000"
ARTIFACTS = "build/scan/artifacts"
TOLD_CHARACTERS = 3_000

_PACKED = ".serverless/cloudformation-template-update-stack.json"
_PARAMETER = re.compile(r"\$\{ssm:\$\{self:custom\.parameters\}/([\w/-]+)")
_ARTIFACT = re.compile(r"\$\{param:build\}/([\w./-]+\.zip)")


def write_stack_template(root: Path, copy: Path, environment: Mapping[str, str]) -> Path:
    """Package a copy of a repository with made-up values, and return the template, kept in the repository.

    What Terraform hands over is made up and handed over by an emulator that runs as long; what the functions are made
    of is an empty archive each, since no line of the template depends on it.

    Args:
        root: The repository, for its tools.
        copy: The copy of its files; sls works there.
        environment: Says where sls and the emulator are.

    Raises:
        ConfigurationError: A tool is missing.
        QualtricsEtlError: The emulator or sls failed; with what they said.
    """
    sls = sls_program(root.absolute(), environment)
    stage = _stage(copy)
    region = str(read_yaml(copy / "config" / f"{stage}.yml").data["aws_region"])
    _make_artifacts(copy)
    with running_emulator(emulator_python(root, environment), copy.parent / "emulator", region) as emulator:
        _hand_over(copy, stage, AwsAccess(region, emulator.url, (ACCESS_KEY, ACCESS_KEY)))
        _package(sls, copy, stage, emulator.url)
    template = root / TEMPLATE_FILE
    template.parent.mkdir(parents=True, exist_ok=True)
    packed = json.loads((copy / _PACKED).read_text(encoding="utf-8"))
    template.write_text(json.dumps(packed, indent=2) + "\n", encoding="utf-8")
    return template


def _stage(copy: Path) -> str:
    """Return the stage whose template is looked at: one on AWS, whatever it is called."""
    stages = sorted(path.stem for path in (copy / "config").glob("*.yml"))
    if not stages:
        raise ConfigurationError("There is no config/<stage>.yml.", remedy="Run the command in a generated repository.")
    return next((stage for stage in stages if stage != "local"), stages[0])


def _sources(copy: Path) -> Iterator[str]:
    for path in [copy / "serverless.yml", *sorted(copy.glob("services/*/function.yml"))]:
        yield path.read_text(encoding="utf-8")


def _make_artifacts(copy: Path) -> None:
    for name in {name for text in _sources(copy) for name in _ARTIFACT.findall(text)}:
        path = copy / ARTIFACTS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("empty.py", "")


def _hand_over(copy: Path, stage: str, access: AwsAccess) -> None:
    """Set each parameter that serverless.yml asks for."""
    workflow, client = read_workflow(copy), access.client("ssm")
    for name in sorted({name for text in _sources(copy) for name in _PARAMETER.findall(text)}):
        value = _value(f"{workflow.name}-{stage}", name, access.region)
        with aws_failures(f"Setting the parameter {name}"):
            client.put_parameter(Name=f"/{workflow.name}/{stage}/{name}", Value=value, Type="String")


def _value(prefix: str, name: str, region: str) -> str:
    """Return a value that has the form of a real one."""
    *service, fact = name.split("/")
    own = "-".join([prefix, *service]).replace("_", "-")
    queue = f"https://sqs.{region}.amazonaws.com/{ACCOUNT}/{own}"
    if fact.endswith("role_arn"):
        return f"arn:aws:iam::{ACCOUNT}:role/{own}"
    if fact.endswith("queue_arn"):
        return f"arn:aws:sqs:{region}:{ACCOUNT}:{own}"
    if fact.endswith("queue_urls"):
        return json.dumps(dict.fromkeys(service, queue))
    if fact.endswith("queue_url"):
        return f"{queue}-dlq"
    return f"{own}-{fact.replace('_', '-')}-{ACCOUNT}"


def _package(sls: str, copy: Path, stage: str, endpoint: str) -> None:
    command = [sls, "package", "--stage", stage, "--param", f"build={ARTIFACTS}"]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),  # node is wherever its installer put it
        "HOME": str(copy.parent),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        "NODE_NO_WARNINGS": "1",
        "SLS_TELEMETRY_DISABLED": "1",
        "SLS_NOTIFICATIONS_MODE": "off",
    }
    result = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode != 0:
        said = (result.stderr + result.stdout).strip()[-TOLD_CHARACTERS:]
        raise QualtricsEtlError(f"sls can't package the functions:\n{said}")
