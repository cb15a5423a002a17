"""Terraform and Serverless on generated repositories, without an account: a schema for a provider, and an emulator."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import pytest
import yaml
from tests.conftest import Bake
from tests.terraform.environments import HERE, aws_schema, node_modules, python_environment, terraform_python

ACCOUNT = "000000000000"
REGION = "eu-west-1"
PREFIX = "acme-etl-local"
State = dict[str, dict[str, Any]]
"""What Terraform made: attributes by address."""
Apply = Callable[..., State]
"""Applies a repository's stage, or the root below `terraform` that is named, and returns what is made."""
Copy = Callable[..., Path]
OTHER_ANSWERS: list[dict[str, Any]] = [
    {"send_surveys": False, "reminders": "0"},
    {"inbound": "post", "reminders": "3"},
]
"""Answers that give the smallest and the largest workflow; the latter begins with a POST."""


@dataclass(frozen=True, slots=True)
class Terraform:
    """Runs Terraform in the `terraform` folder of a repository, or in a folder below."""

    environment: Mapping[str, str]

    def run(self, repository: Path, *arguments: str, root: str = "") -> subprocess.CompletedProcess[str]:
        """Return what a command printed, whether it failed or not; a root's folder is below `terraform`."""
        command = ["terraform", f"-chdir={repository / 'terraform' / root}", *arguments]
        return subprocess.run(command, env=dict(self.environment), capture_output=True, text=True, check=False)

    def test(self, repository: Path, *arguments: str, root: str = "") -> list[dict[str, Any]]:
        """Run `terraform test` and return the messages that it gives."""
        lines = self.run(repository, "test", "-json", *arguments, root=root).stdout.splitlines()
        return [json.loads(line) for line in lines]


@dataclass(frozen=True, slots=True)
class Serverless:
    """Runs `sls` in a repository, against the emulator."""

    environment: Mapping[str, str]

    def run(self, repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Return what a command printed, whether it failed or not."""
        sls = str(repository / "node_modules" / ".bin" / "sls")
        command = [sls, *arguments]
        return subprocess.run(
            command, cwd=repository, env=dict(self.environment), capture_output=True, text=True, check=False
        )

    def print(self, repository: Path) -> dict[str, Any]:
        """Return the configuration with every variable resolved."""
        result = self.run(repository, "print", "--stage", "local", "--format", "json")
        assert result.returncode == 0, result.stderr
        configuration: dict[str, Any] = json.loads(result.stdout)
        return configuration


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Terraform with the AWS provider's schema, served by a provider that does nothing else."""
    settings = tmp_path_factory.mktemp("terraform") / "terraform.rc"
    settings.touch()
    with TemporaryDirectory(prefix="aws-") as folder:  # a socket's path may have 108 characters
        command = [terraform_python(), HERE / "schema_provider.py", aws_schema(), Path(folder, "socket")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as provider:
            assert provider.stdout
            yield Terraform(
                {
                    "PATH": os.environ["PATH"],
                    "HOME": str(settings.parent),
                    "TF_CLI_CONFIG_FILE": str(settings),
                    "TF_IN_AUTOMATION": "1",
                    "TF_REATTACH_PROVIDERS": provider.stdout.readline(),
                    "CHECKPOINT_DISABLE": "1",
                }
            )
            provider.communicate("")


@pytest.fixture(scope="session")
def repository(terraform: Terraform, copy_of: Copy) -> Path:
    """A repository from default answers, with Terraform initialised; to be looked at, not changed."""
    folder = copy_of()
    for root in ("", "bootstrap"):
        result = terraform.run(folder, "init", "-backend=false", root=root)
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="session")
def copy_of(baked: Bake, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Copy a generated repository, to be changed: `copy_of(**answers)`."""

    def run(**answers: object) -> Path:
        return Path(shutil.copytree(baked(**answers), tmp_path_factory.mktemp("copy") / "acme-etl"))

    return run


@pytest.fixture
def own(repository: Path, tmp_path: Path) -> Path:
    """A copy of the initialised repository, to be changed."""
    return Path(shutil.copytree(repository, tmp_path / "acme-etl"))


@pytest.fixture(scope="session")
def state_of(apply: Apply, baked: Bake) -> Callable[..., State]:
    """What Terraform makes of a generated repository, once a session for each combination of answers."""
    made: dict[Path, State] = {}

    def run(**answers: object) -> State:
        folder = baked(**answers)
        if folder not in made:
            made[folder] = apply(folder)
        return made[folder]

    return run


@pytest.fixture(scope="session")
def state(state_of: Callable[..., State]) -> State:
    """What Terraform makes of the default answers."""
    return state_of()


@pytest.fixture(scope="session")
def apply(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> Apply:
    """Apply a repository's tree with AWS's answers made up, and return what is made."""

    def run(repository: Path, root: str = "") -> State:
        tree = tmp_path_factory.mktemp("applied") / "acme-etl"
        shutil.copytree(repository, tree)
        observe = tree / "terraform" / root / "observe"
        observe.mkdir()
        (observe / "all.tftest.hcl").write_text(observation(read_yaml(tree / "workflow.yml"), root))
        terraform.run(tree, "init", "-backend=false", root=root)
        messages = terraform.test(tree, "-verbose", "-test-directory=observe", root=root)
        states = [message["test_state"] for message in messages if message["type"] == "test_state"]
        assert states, "\n".join(message["@message"] for message in messages)
        return dict(resources(states[0]["root_module"]))

    return run


def resources(module: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk a state as Terraform prints it: address and attributes of everything in a module and below."""
    for each in module.get("resources", ()):
        yield each["address"], each["values"]
    for child in module.get("child_modules", ()):
        yield from resources(child)


def observation(workflow: Mapping[str, Any], root: str) -> str:
    """Write a Terraform test that applies a root for the stage `local`, with ARNs and URLs as AWS would give them."""
    blocks = [
        'mock_provider "aws" {',
        _made_up("mock_data", "aws_caller_identity", {"account_id": ACCOUNT}),
        _made_up("mock_data", "aws_partition", {"partition": "aws"}),
        *(_bootstrap_overrides() if root else _stage_overrides(workflow)),
        "}",
        'variables {\n  stage = "local"\n}',
        'run "all" {\n}',
    ]
    return "\n".join(blocks)


def _bootstrap_overrides() -> Iterator[str]:
    yield _override("module.state_bucket.aws_s3_bucket.this", {"arn": f"arn:aws:s3:::{PREFIX}-state-{ACCOUNT}"})


def _stage_overrides(workflow: Mapping[str, Any]) -> Iterator[str]:
    yield _override("module.data_bucket.aws_s3_bucket.this", {"arn": f"arn:aws:s3:::{PREFIX}-data-{ACCOUNT}"})
    yield _override("module.notifications.aws_sns_topic.this", {"arn": arn("sns", f"{PREFIX}-alarms")})
    for name, service in workflow["services"].items():
        yield from _service_overrides(name, service)


def _service_overrides(name: str, service: Mapping[str, Any]) -> Iterator[str]:
    module, own = f'module.service["{name}"]', f"{PREFIX}-{name.replace('_', '-')}"
    end = ".fifo" if service["concurrency"] == "serial" else ""
    for resource, queue in (("this", f"{own}{end}"), ("dead_letters", f"{own}-dlq{end}")):
        yield _override(f"{module}.aws_sqs_queue.{resource}", {"arn": arn("sqs", queue), "url": queue_url(queue)})
    yield _override(f"{module}.aws_iam_role.this", {"arn": f"arn:aws:iam::{ACCOUNT}:role/{own}"})
    yield _override(f"{module}.aws_cloudwatch_log_group.this", {"arn": arn("logs", f"log-group:/aws/lambda/{own}")})


def _override(address: str, values: Mapping[str, str]) -> str:
    return f"override_resource {{\n  target = {address}\n  values = {json.dumps(values)}\n}}"


def _made_up(block: str, kind: str, values: Mapping[str, str]) -> str:
    return f'{block} "{kind}" {{\n  defaults = {json.dumps(values)}\n}}'


def arn(service: str, name: str) -> str:
    """Return the ARN of something in the stage `local`."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"


def queue_url(name: str) -> str:
    """Return a queue's URL, as AWS forms it."""
    return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping."""
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def change_workflow(repository: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the workflow of a repository of the test's own."""
    workflow = read_yaml(repository / "workflow.yml")
    change(workflow)
    (repository / "workflow.yml").write_text(yaml.safe_dump(workflow, sort_keys=False))


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """The address of a local AWS emulator."""
    program = python_environment("emulator").with_name("ministack")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with TemporaryDirectory(prefix="emulator-") as folder:
        # Nothing of our environment: the emulator would hand it on to whatever it runs.
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "TMPDIR": folder,
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
        }
        log = Path(folder, "log")
        with log.open("w") as out, subprocess.Popen([program], env=environment, stdout=out, stderr=out) as process:
            address = f"http://127.0.0.1:{port}"
            wait_until_healthy(address, process, log)
            yield address
            process.terminate()


def wait_until_healthy(address: str, process: subprocess.Popen[bytes], log: Path, *, seconds: float = 30) -> None:
    """Return when the emulator answers; fail with its log when it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/_ministack/health"):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="session")
def serverless(emulator: str, home: Path) -> Serverless:
    """The pinned `sls`, which asks the emulator for parameters."""
    return Serverless(
        {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "AWS_ENDPOINT_URL": emulator,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "test",
            "NODE_NO_WARNINGS": "1",
            "SLS_TELEMETRY_DISABLED": "1",
        }
    )


@pytest.fixture(scope="session")
def hand_over(emulator: str) -> Callable[[Path, State], Path]:
    """Bring a repository to where `sls` can begin: what Terraform made is in the emulator, tools are in place."""

    def run(repository: Path, state: State) -> Path:
        client = boto3.client(
            "ssm",
            endpoint_url=emulator,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="test",
        )
        for address, made in state.items():
            if re.search(r"(^|\.)aws_ssm_parameter\.", address) and made["type"] == "String":
                client.put_parameter(Name=made["name"], Value=made["value"], Type="String", Overwrite=True)
        (repository / "node_modules").symlink_to(node_modules())
        return repository

    return run
