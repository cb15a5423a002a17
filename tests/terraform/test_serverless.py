"""serverless.yml says what workflow.yml says, finds what Terraform hands over, and deploys what was built."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from tests.terraform.conftest import (
    ACCOUNT,
    OTHER_ANSWERS,
    PREFIX,
    REGION,
    Apply,
    Copy,
    Serverless,
    State,
    arn,
    change_workflow,
    queue_url,
    read_yaml,
)
from tests.terraform.environments import python_environment

from qualtrics_etl.deployment.package import build_package
from qualtrics_etl.workflow import read_workflow

pytestmark = pytest.mark.slow

ARTIFACTS = f"{PREFIX}-artifacts-{ACCOUNT}"

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
        "layers": [{"Ref": "BaseLambdaLayer"}, {"Ref": "SftpLambdaLayer"}],
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
            {"schedule": {"name": name, "rate": ["cron(10/15 * * * ? *)"]}},
        ],
        "package": {"artifact": "build/local/functions/fetch_sftp_file.zip"},
    }


def test_provider_in_full(printed: dict[str, Any]) -> None:
    """What all functions share: runtime, region, tags, log format, the buckets, how they are deployed."""
    tags = {"client": "acme-etl", "stage": "local"}
    assert printed["provider"] == {
        "name": "aws",
        "stage": "local",
        "region": "eu-west-1",
        "runtime": "python3.13",
        "architecture": "arm64",
        "versionFunctions": False,
        "deploymentBucket": ARTIFACTS,
        "deploymentBucketObject": {"name": ARTIFACTS},
        "deploymentMethod": "direct",
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


def test_posts_reach_their_function_by_a_bounded_way(
    serverless: Serverless, hand_over: HandOver, state_of: StateOf, copy_of: Copy
) -> None:
    """The function that takes POSTs has one path, its own name, and the API lets only so many a second through."""
    answers = OTHER_ANSWERS[1]
    printed = serverless.print(hand_over(copy_of(**answers), state_of(**answers)))
    _, event = printed["functions"]["receive_post"]["events"]
    assert event == {"httpApi": {"method": "POST", "path": "/receive_post"}}
    assert printed["functions"]["receive_post"]["timeout"] < 30  # the API waits no longer
    assert printed["provider"]["httpApi"] == {"name": PREFIX}
    assert printed["resources"]["extensions"] == {
        "HttpApiStage": {
            "Properties": {"DefaultRouteSettings": {"ThrottlingRateLimit": 20, "ThrottlingBurstLimit": 40}}
        }
    }


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


def test_minutes_of_schedules_are_those_that_the_library_tells(own: Path, tmp_path: Path) -> None:
    """What `sls` writes in the place of an H is what `Workflow.schedule_of` says, for any client."""
    kind = read_yaml(own / "workflow.yml")["services"]["fetch_sftp_file"]
    following = read_yaml(own / "workflow.yml")["services"]["parse_file"]
    workflows = []
    for number in range(50):
        written = ["cron(H 6 * * ? *)", "cron(H/7 * * * ? *)", "rate(1 hour)", "cron(5 6 * * ? *)"]
        starts = {f"fetch_{letter}": kind | {"schedule": each} for letter, each in zip("abcd", written, strict=True)}
        chains = {name: [name, "parse_file"] for name in starts}
        workflows.append({"name": f"client-{number}", "chains": chains, "services": starts | {"parse_file": following}})
    resolver = json.dumps(str(own / "serverless" / "schedules.cjs"))
    script = f"""
        const schedules = require({resolver});
        const all = {json.dumps(workflows)}.map((workflow) => schedules({{ resolveVariable: async () => workflow }}));
        Promise.all(all).then((answers) => console.log(JSON.stringify(answers)));
    """
    answer = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True).stdout
    told = []
    for each in workflows:
        (tmp_path / "workflow.yml").write_text(yaml.safe_dump(each), encoding="utf-8")
        workflow = read_workflow(tmp_path)
        told.append({name: workflow.schedule_of(name) for name in workflow.starts()})
    assert json.loads(answer) == told


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


def test_stage_says_which_build_is_taken(printed: dict[str, Any]) -> None:
    """The stage on this machine takes what was built for it; the others, what was built for AWS."""
    artifacts = {name: function["package"]["artifact"] for name, function in printed["functions"].items()}
    assert artifacts == {name: f"build/local/functions/{name}.zip" for name in printed["functions"]}
    assert {name: layer["package"]["artifact"] for name, layer in printed["layers"].items()} == {
        "base": "build/local/layers/base.zip",
        "sftp": "build/local/layers/sftp.zip",
    }
    assert printed["params"]["default"] == {"build": "build/aws"}


@pytest.fixture(scope="module")
def client(emulator: str) -> Callable[[str], Any]:
    """A client of one of the emulator's services."""

    def make(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=emulator,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="test",
        )

    return make


@pytest.fixture(scope="module")
def packaged(hand_over: HandOver, copy_of: Copy, state: State, client: Callable[[str], Any]) -> Path:
    """A repository of its own with its build for this machine; in the emulator, its queues and bucket for packages."""
    repository = hand_over(copy_of(), state)
    build(repository)
    client("s3").create_bucket(Bucket=ARTIFACTS, CreateBucketConfiguration={"LocationConstraint": REGION})
    for made in state.values():
        if str(made.get("arn", "")).startswith("arn:aws:sqs:"):
            client("sqs").create_queue(QueueName=made["arn"].rpartition(":")[2])
    return repository


def build(repository: Path) -> None:
    """Build the packages for the emulator's Python."""
    environment = {**os.environ, "QETL_EMULATOR_PYTHON": str(python_environment("emulator"))}
    build_package(repository, "local", lambda line: None, environment)


def deploy(serverless: Serverless, repository: Path) -> str:
    """Deploy, asking often how far it is, and return the word about it."""
    quick = Serverless({**serverless.environment, "SLS_AWS_MONITORING_FREQUENCY": "200"})
    result = quick.run(repository, "deploy", "--stage", "local")
    assert result.returncode == 0, result.stdout + result.stderr
    (line,) = re.findall(r"^.*(?:Service deployed|No changes).*$", result.stderr, re.MULTILINE)
    return "deployed" if "deployed" in line else "unchanged"


def uploads(client: Callable[[str], Any]) -> list[dict[str, str]]:
    """Return what each deploy uploaded, in order: SHA-256 by file name."""
    s3 = client("s3")
    found: dict[str, dict[str, str]] = {}
    for each in s3.list_objects_v2(Bucket=ARTIFACTS).get("Contents", []):
        folder, _, name = each["Key"].rpartition("/")
        content = s3.get_object(Bucket=ARTIFACTS, Key=each["Key"])["Body"].read()
        found.setdefault(folder, {})[name] = hashlib.sha256(content).hexdigest()
    return [files for _, files in sorted(found.items())]


def test_deploy_uploads_what_was_built_and_only_what_changed_is_deployed(
    serverless: Serverless, packaged: Path, client: Callable[[str], Any]
) -> None:
    """Deployed; nothing changed, nothing done, also after a later change; then removed, and nothing is left."""
    assert [deploy(serverless, packaged) for _ in range(2)] == ["deployed", "unchanged"]
    (first,) = uploads(client)
    built = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in packaged.glob("build/local/*/*.zip")}
    assert {name: sha for name, sha in first.items() if name.endswith(".zip")} == built

    functions = {each["FunctionName"]: each for each in client("lambda").list_functions()["Functions"]}
    assert {name: [layer["Arn"] for layer in each["Layers"]] for name, each in functions.items()} == {
        f"{PREFIX}-{service.replace('_', '-')}": [
            arn("lambda", f"layer:{PREFIX}-{layer}:1")
            for layer in (["base", "sftp"] if service == "fetch_sftp_file" else ["base"])
        ]
        for service in read_yaml(packaged / "workflow.yml")["services"]
    }
    for name in functions:
        answer = client("lambda").invoke(FunctionName=name, Payload=b"{}")["Payload"].read().decode()
        assert "called with an event that is neither of its queue nor of what starts its service" in answer, name

    with (packaged / "services" / "parse_file" / "handler.py").open("a") as handler:
        handler.write("# changed\n")
    build(packaged)
    assert [deploy(serverless, packaged) for _ in range(2)] == ["deployed", "unchanged"]
    second = uploads(client)[1]
    changed = {name for name, sha in second.items() if name.endswith(".zip") and first[name] != sha}
    versions = client("lambda").list_layer_versions(LayerName=f"{PREFIX}-base")["LayerVersions"]
    assert (changed, [version["Version"] for version in versions]) == ({"parse_file.zip"}, [1])

    result = serverless.run(packaged, "remove", "--stage", "local")
    assert result.returncode == 0, result.stderr
    assert client("lambda").list_functions()["Functions"] == []
    assert client("lambda").list_layers()["Layers"] == []


def test_missing_build_is_named(serverless: Serverless, hand_over: HandOver, copy_of: Copy, state: State) -> None:
    """`sls` packs nothing by itself: without a build it says which file is not there."""
    result = serverless.run(hand_over(copy_of(), state), "package", "--stage", "local")
    problem = 'Cannot access package artifact at "build/local/functions/'
    assert (result.returncode, problem in result.stdout) == (1, True)


def test_tool_is_pinned_once(ready: Path) -> None:
    """The version that serverless.yml demands is the one that npm installs, and it is exact."""
    package = json.loads((ready / "package.json").read_text())
    lock = json.loads((ready / "package-lock.json").read_text())
    demanded = read_yaml(ready / "serverless.yml")["frameworkVersion"]
    assert package["devDependencies"] == {"osls": demanded}
    assert lock["packages"]["node_modules/osls"]["version"] == demanded
