"""A small client repository, as the template would generate it, written into a folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

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

MakeRepository = Callable[..., Path]


def write_repository(root: Path, **settings: dict[str, object]) -> Path:
    """Write a repository of the default flow, with some services' settings changed; return its root."""
    services = {name: {"kind": name, **FAST, "settings": settings.get(name, {})} for name in CHAIN}
    workflow = {"name": "acme-etl", "chains": {"contacts": list(CHAIN)}, "services": services}
    (root / "config").mkdir(parents=True)
    (root / "workflow.yml").write_text(yaml.safe_dump(workflow, sort_keys=False), encoding="utf-8")
    (root / "config" / "local.yml").write_text(yaml.safe_dump(CONFIG, sort_keys=False), encoding="utf-8")
    for name, step in CHAIN.items():
        folder = root / "services" / name
        folder.mkdir(parents=True)
        (folder / "handler.py").write_text(
            f"from qualtrics_etl import {step}, lambda_handler\n\nhandler = lambda_handler({step})\n"
        )
        (folder / "function.yml").write_text(f"{name}: {{}}\n")
    return root


@pytest.fixture
def make_repository(tmp_path: Path) -> MakeRepository:
    """Write a repository of the default flow below the test's folder."""

    def make(**settings: dict[str, object]) -> Path:
        return write_repository(tmp_path / "repository", **settings)

    return make


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
