"""serverless.yml says what workflow.yml says, finds what Terraform hands over, and packs only what a function needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from tests.terraform.conftest import (
    ACCOUNT,
    OTHER_ANSWERS,
    Copy,
    Serverless,
    State,
    arn,
    change_workflow,
    queue_url,
    read_yaml,
)

pytestmark = pytest.mark.slow

Apply = Callable[[Path], State]
HandOver = Callable[[Path, State], Path]
StateOf = Callable[..., State]


@pytest.fixture(scope="module")
def ready(hand_over: HandOver, copy_of: Copy, state: State) -> Path:
    """A repository from default answers, ready for `sls`; to be looked at, not changed."""
    return hand_over(copy_of(), state)


@pytest.fixture(scope="module")
def printed(serverless: Serverless, ready: Path) -> dict[str, Any]:
    """What `sls print` says of the default answers."""
    return serverless.print(ready)


def test_numbers_come_from_the_workflow(printed: dict[str, Any], ready: Path) -> None:
    """Time-out, memory, batch size and concurrency are the workflow's, service by service and in its order."""
    workflow = read_yaml(ready / "workflow.yml")
    assert list(printed["functions"]) == workflow["chains"]["contacts"]
    for service, given in workflow["services"].items():
        function = printed["functions"][service]
        queue = function["events"][0]["sqs"]
        assert (function["timeout"], function["memorySize"], queue["batchSize"], queue["maximumConcurrency"]) == (
            given["timeout_seconds"],
            given["memory_mb"],
            given["batch_size"],
            given["concurrency"],
        )


def test_one_function_in_full(printed: dict[str, Any]) -> None:
    """Handler, role, environment, events and package of a function, all variables resolved."""
    name = "acme-etl-local-fetch-sftp-file"
    assert printed["functions"]["fetch_sftp_file"] == {
        "name": name,
        "handler": "services/fetch_sftp_file/handler.handler",
        "role": f"arn:aws:iam::{ACCOUNT}:role/{name}",
        "timeout": 300,
        "memorySize": 512,
        "disableLogs": True,
        "tags": {"service": "fetch_sftp_file"},
        "environment": {
            "QETL_SERVICE": "fetch_sftp_file",
            "QETL_QUEUE_URLS": json.dumps(
                {"fetch_sftp_file": queue_url(name), "parse_file": queue_url("acme-etl-local-parse-file")},
                separators=(",", ":"),
            ),
            "QETL_DEAD_LETTER_QUEUE_URL": queue_url(f"{name}-dlq"),
        },
        "events": [
            {
                "sqs": {
                    "arn": arn("sqs", name),
                    "batchSize": 1,
                    "maximumConcurrency": 2,
                    "functionResponseType": "ReportBatchItemFailures",
                }
            },
            {"schedule": {"rate": ["rate(15 minutes)"]}},
        ],
        "package": {
            "patterns": [
                "services/fetch_sftp_file/**",
                "!services/fetch_sftp_file/function.yml",
                "!**/__pycache__/**",
                "workflow.yml",
                "config/local.yml",
            ]
        },
    }


def test_provider_in_full(printed: dict[str, Any]) -> None:
    """What all functions share: runtime, region, tags, log format, the bucket."""
    tags = {"client": "acme-etl", "stage": "local"}
    assert printed["provider"] == {
        "name": "aws",
        "stage": "local",
        "region": "eu-west-1",
        "runtime": "python3.13",
        "architecture": "arm64",
        "versionFunctions": False,
        "tags": tags,
        "stackTags": tags,
        "layers": [{"Ref": "BaseLambdaLayer"}],
        "logs": {"lambda": {"logFormat": "JSON", "applicationLogLevel": "INFO"}},
        "environment": {"QETL_STAGE": "local", "QETL_BUCKET": f"acme-etl-local-data-{ACCOUNT}"},
    }


@pytest.mark.parametrize("answers", OTHER_ANSWERS, ids=str)
def test_functions_are_the_services_that_were_chosen(
    serverless: Serverless, hand_over: HandOver, state_of: StateOf, copy_of: Copy, answers: dict[str, Any]
) -> None:
    """Other answers give other functions: those of the workflow, in its order, each of its own folder."""
    repository = hand_over(copy_of(**answers), state_of(**answers))
    functions = serverless.print(repository)["functions"]
    assert list(functions) == read_yaml(repository / "workflow.yml")["chains"]["contacts"]
    assert [each["handler"] for each in functions.values()] == [
        f"services/{name}/handler.handler" for name in functions
    ]


def test_words_for_concurrency_set_no_cap(
    serverless: Serverless, hand_over: HandOver, apply: Apply, copy_of: Copy
) -> None:
    """`serial` and `unbounded` put no number on the mapping; a number elsewhere stays."""
    repository = copy_of()

    def change(workflow: dict[str, Any]) -> None:
        for service, concurrency in (
            ("parse_file", "serial"),
            ("import_contacts", "unbounded"),
            ("fetch_sftp_file", 7),
        ):
            workflow["services"][service]["concurrency"] = concurrency

    change_workflow(repository, change)
    functions = serverless.print(hand_over(repository, apply(repository)))["functions"]
    queues = {
        name: functions[name]["events"][0]["sqs"] for name in ("parse_file", "import_contacts", "fetch_sftp_file")
    }
    assert {name: queue["maximumConcurrency"] for name, queue in queues.items()} == {
        "parse_file": None,
        "import_contacts": None,
        "fetch_sftp_file": 7,
    }
    assert queues["parse_file"]["arn"] == arn("sqs", "acme-etl-local-parse-file.fifo")


def test_missing_hand_over_is_named(serverless: Serverless, hand_over: HandOver, copy_of: Copy) -> None:
    """Without Terraform's parameters nothing is deployed, and the error says what was looked for and where."""
    repository = hand_over(copy_of(project_slug="other-etl"), {})
    result = serverless.run(repository, "print", "--stage", "local")
    assert result.returncode == 1
    for place in ("provider.environment.QETL_BUCKET", "functions.1.parse_file.role"):
        assert f'Cannot resolve variable at "{place}": Value not found at "ssm" source' in result.stdout


def test_stage_must_be_named(serverless: Serverless, ready: Path) -> None:
    """There is no default stage: nobody deploys somewhere by leaving a word out."""
    result = serverless.run(ready, "print")
    problem = 'Cannot resolve variable at "provider.stage": Value not found at "opt" source'
    assert (result.returncode, problem in result.stdout) == (1, True)


def test_package_holds_only_what_the_function_needs(
    serverless: Serverless, hand_over: HandOver, copy_of: Copy, state: State
) -> None:
    """A function's package is its own folder, the workflow and the stage's configuration; the layer is the layer."""
    repository = hand_over(copy_of(), state)
    layer = repository / "build" / "layer" / "python" / "qualtrics_etl.py"
    layer.parent.mkdir(parents=True)
    layer.touch()
    result = serverless.run(repository, "package", "--stage", "local")
    assert result.returncode == 0, result.stderr
    packages = {path.stem: set(ZipFile(path).namelist()) for path in (repository / ".serverless").glob("*.zip")}
    assert packages.pop("base") == {"python/qualtrics_etl.py"}
    assert packages == {
        service: {"workflow.yml", "config/local.yml", f"services/{service}/handler.py"}
        for service in read_yaml(repository / "workflow.yml")["services"]
    }


def test_tool_is_pinned_once(ready: Path) -> None:
    """The version that serverless.yml demands is the one that npm installs, and it is exact."""
    package = json.loads((ready / "package.json").read_text())
    lock = json.loads((ready / "package-lock.json").read_text())
    demanded = read_yaml(ready / "serverless.yml")["frameworkVersion"]
    assert package["devDependencies"] == {"osls": demanded}
    assert lock["packages"]["node_modules/osls"]["version"] == demanded
