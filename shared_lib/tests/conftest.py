"""A small client repository, as the template would generate it, written into a folder of the test's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
import yaml

# No deadlines: the machines that run this are shared. At night each property is tried on 5,000 examples, which is at
# least 20,000 for each family of them: envelope, ledger, parsers, settings.
hypothesis.settings.register_profile("quick", deadline=None)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=5_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

CHAIN = {
    "fetch_sftp_file": "FetchSftpFile",
    "parse_file": "ParseFile",
    "create_mailing_list": "CreateMailingList",
    "import_contacts": "ImportContacts",
    "schedule_distribution": "ScheduleDistribution",
    "schedule_reminder": "ScheduleReminder",
}
"""Services of the default flow, each of the kind of its name, and their classes."""

MAIL = {
    "library_id": "UR_ExampleLibrary1",
    "message_id": "MS_ExampleInvite01",
    "from_email": "noreply@client.example",
    "from_name": "Client",
    "reply_to_email": "surveys@client.example",
    "subject": "Your visit",
}
CONFIG = {
    "stage": "local",
    "aws_account_id": "000000000000",
    "aws_region": "eu-west-1",
    "alarm_email": "on-call@client.example",
    "qualtrics": {"datacenter": "fra1", "directory_id": "POOL_ExampleDirector"},
    "sftp": {"host": "localhost", "port": 2222, "user": "client", "host_key": "ssh-ed25519 AAAA"},
    "services": {
        "schedule_distribution": {**MAIL, "survey_id": "SV_ExampleSurvey01"},
        "schedule_reminder": {**MAIL, "message_id": "MS_ExampleReminder"},
    },
}
FAST = {"timeout_seconds": 60, "memory_mb": 256, "concurrency": 2, "batch_size": 1, "max_receive_count": 3}

FUNCTION = """\
{service}:
  name: ${{self:custom.prefix}}-{service}
  handler: services/{service}/handler.handler
  role: ${{ssm:${{self:custom.parameters}}/{service}/role_arn}}
  timeout: ${{file(workflow.yml):services.{service}.timeout_seconds}}
  environment:
    QETL_SERVICE: {service}
    QETL_QUEUE_URLS: ${{ssm:${{self:custom.parameters}}/{service}/queue_urls}}
  events:
    - sqs:
        arn: ${{ssm:${{self:custom.parameters}}/{service}/queue_arn}}
        maximumConcurrency: ${{file(serverless/maximum_concurrency.cjs):{service}, null}}
"""
"""What `qetl check` reads of a function.yml, in the words of the template's."""
STARTS = {
    "fetch_sftp_file": (
        "    - schedule:\n        rate:\n          - ${file(serverless/schedules.cjs):fetch_sftp_file}\n"
    ),
    "receive_post": "    - httpApi:\n        method: POST\n        path: /receive_post\n",
}
"""The event that starts a chain, by its first service."""

MakeRepository = Callable[..., Path]


def write_repository(root: Path, **settings: dict[str, object]) -> Path:
    """Write a repository of the default flow, with some services' settings changed; return its root."""
    services: dict[str, dict[str, object]] = {
        name: {"kind": name, **FAST, "settings": settings.get(name, {})} for name in CHAIN
    }
    services["fetch_sftp_file"]["schedule"] = "rate(15 minutes)"
    workflow = {"name": "acme-etl", "chains": {"contacts": list(CHAIN)}, "services": services}
    (root / "config").mkdir(parents=True)
    (root / "workflow.yml").write_text(yaml.safe_dump(workflow, sort_keys=False), encoding="utf-8")
    (root / "config" / "local.yml").write_text(yaml.safe_dump(CONFIG, sort_keys=False), encoding="utf-8")
    for name, step in CHAIN.items():
        write_service(root, name, step)
    list_functions(root, *CHAIN)
    return root


def write_service(root: Path, name: str, step: str) -> None:
    """Write a service's folder."""
    folder = root / "services" / name
    folder.mkdir(parents=True)
    handler = f"from qualtrics_etl import {step}, lambda_handler\n\nhandler = lambda_handler({step})\n"
    (folder / "handler.py").write_text(handler, encoding="utf-8")
    function = FUNCTION.format(service=name) + STARTS.get(name, "")
    (folder / "function.yml").write_text(function, encoding="utf-8")


def list_functions(root: Path, *services: str) -> None:
    """Write the functions of these services into serverless.yml."""
    functions = [f"${{file(services/{name}/function.yml)}}" for name in services]
    (root / "serverless.yml").write_text(yaml.safe_dump({"functions": functions}), encoding="utf-8")


def add_branch(root: Path) -> Path:
    """Let a second chain part after `parse_file`: a list and an import of its own; return the root."""
    added = {"create_staff_list": "CreateMailingList", "import_staff": "ImportContacts"}
    kinds = dict(zip(added, ("create_mailing_list", "import_contacts"), strict=True))
    workflow = yaml.safe_load((root / "workflow.yml").read_text(encoding="utf-8"))
    workflow["chains"]["staff"] = ["fetch_sftp_file", "parse_file", *added]
    workflow["services"] |= {name: {"kind": kind, **FAST} for name, kind in kinds.items()}
    (root / "workflow.yml").write_text(yaml.safe_dump(workflow, sort_keys=False), encoding="utf-8")
    for name, step in added.items():
        write_service(root, name, step)
    list_functions(root, *CHAIN, *added)
    return root


def take_posts(root: Path) -> Path:
    """Let the client POST its contacts, instead of leaving a file; return the root."""
    workflow = yaml.safe_load((root / "workflow.yml").read_text(encoding="utf-8"))
    receiver = {"kind": "receive_post", **FAST, "timeout_seconds": 29}
    workflow["chains"] = {"contacts": ["receive_post", *list(CHAIN)[1:]]}
    workflow["services"] = {"receive_post": receiver} | {name: workflow["services"][name] for name in list(CHAIN)[1:]}
    (root / "workflow.yml").write_text(yaml.safe_dump(workflow, sort_keys=False), encoding="utf-8")
    config = {name: value for name, value in CONFIG.items() if name != "sftp"}
    config["post"] = {"replay_window_seconds": 300}
    (root / "config" / "local.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    shutil.rmtree(root / "services" / "fetch_sftp_file")
    write_service(root, "receive_post", "ReceivePost")
    list_functions(root, *workflow["services"])
    return root


@pytest.fixture
def make_post_repository(make_repository: MakeRepository) -> MakeRepository:
    """Write a repository whose workflow begins with a client's POST."""
    return lambda **settings: take_posts(make_repository(**settings))


@pytest.fixture
def make_branch(make_repository: MakeRepository) -> MakeRepository:
    """Write a repository whose workflow has a branch with two imports."""
    return lambda **settings: add_branch(make_repository(**settings))


@pytest.fixture
def make_repository(tmp_path: Path) -> MakeRepository:
    """Write a repository of the default flow below the test's folder."""

    def make(**settings: dict[str, object]) -> Path:
        return write_repository(tmp_path / "repository", **settings)

    return make


@pytest.fixture(scope="session")
def write_repository_at() -> Callable[[Path], Path]:
    """Write a repository of the default flow at a place that several tests share."""
    return write_repository


@pytest.fixture
def write_contacts(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of contacts: good rows, then rows with a cell too many."""

    def write(good: int = 5, bad: int = 0, name: str = "contacts.csv", first: int = 0) -> Path:
        lines = ["email,first_name,branch"]
        lines += [f"p{first + number}@client.example,P{number},North" for number in range(good)]
        lines += [f"q{number}@client.example,Q,North,too many" for number in range(bad)]
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write
