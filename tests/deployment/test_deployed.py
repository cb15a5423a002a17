"""The whole thing on this machine: real Terraform, real sls, functions behind queues, a file on a real SFTP server."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from tests.conftest import Bake
from tests.deployment.aws_state import aws_state, differences
from tests.deployment.deployable import Deployable, deployable
from tests.terraform.conftest import REGION

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deployment")]

SAMPLE = "tests/data/contacts.csv"
DEADLINE_SECONDS = 120


@pytest.fixture
def repository(baked: Bake, tools: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Deployable]:
    """A repository from default answers, with a place on this machine of its own."""
    with deployable(baked(), tmp_path / "acme-etl", tools, environment) as made:
        yield made


def test_generated_repository_proves_itself(repository: Deployable) -> None:
    """`make e2e`: deployed by the real tools, it does what a local run does; destroyed, nothing is left."""
    assert "1 passed" in repository.make("e2e")


def test_poison_waits_with_its_cause_and_is_sent_again_after_the_fix(repository: Deployable) -> None:
    """A file that can't be used waits as a dead letter; the setting corrected and deployed, it goes all the way."""
    repository.change("workflow.yml", "max_reject_ratio: 0.2", "max_reject_ratio: 0.01")
    repository.make("deploy", "STAGE=local")
    drop(repository)
    wait(repository, lambda: dead_letters(repository, "parse-file"), tick=True)
    (letter,) = dead_letters(repository, "parse-file")
    assert letter["error"] == "InputError"
    assert "max_reject_ratio" in letter["cause"] + letter["remedy"]
    assert lists(repository) == []

    repository.change("workflow.yml", "max_reject_ratio: 0.01", "max_reject_ratio: 0.2")
    repository.make("deploy", "STAGE=local")
    assert "InputError" in repository.make("redrive", "STAGE=local", "SERVICE=parse_file")
    wait(repository, lambda: len(scheduled(repository)) == 2)
    assert [each["contactCount"] for each in lists(repository)] == [194]
    assert sorted(each["kind"] for each in scheduled(repository)) == ["Invite", "Reminder"]
    assert dead_letters(repository, "parse-file") == []
    assert "step_done" in repository.make("logs", "STAGE=local", "SERVICE=parse_file")

    repository.make("destroy", "STAGE=local", "YES=1")
    assert aws_state(repository.endpoint, REGION) == {}


def test_run_goes_on_without_what_was_given_up_and_is_erased(repository: Deployable) -> None:
    """A batch that fails is what the invitation waits for, by name; given up, the others are invited; then all goes.

    Before that its letter is deleted, and made anew from the ledger.
    """
    repository.change("workflow.yml", "rows_per_batch: 10000", "rows_per_batch: 100")
    repository.make("deploy", "STAGE=local")
    arm(repository, "failed_job")
    drop(repository)
    wait(repository, lambda: dead_letters(repository, "import-contacts"), tick=True)
    run = run_of(repository)
    wait(repository, lambda: "import_contacts batch " in repository.make("status", "STAGE=local", run, expect=2))
    said = repository.make("status", "STAGE=local", run, expect=2)
    (batch,) = re.findall(r"schedule_distribution waits for import_contacts batch (\d{5}) \(dead-lettered\)", said)
    assert f'make waive STAGE=local SERVICE=import_contacts {run} BATCH="{batch}"' in said
    assert "not finished" in repository.make("erase", "STAGE=local", run, "YES=1", expect=2)

    queue = f"{repository.endpoint}/000000000000/acme-etl-local-import-contacts-dlq"
    client(repository, "sqs").purge_queue(QueueUrl=queue)
    assert "(no letter is seen)" in repository.make("status", "STAGE=local", run, expect=2)
    arm(repository, "failed_job")
    assert f"batch {batch}: `failed`, sent again" in repository.make("resend", "STAGE=local", run, "YES=1")
    wait(repository, lambda: dead_letters(repository, "import-contacts"))

    given_up = ("SERVICE=import_contacts", run, f"BATCH={batch}", "WHY=sent anew; `false`", "YES=1")
    assert f"batch {batch}: waived." in repository.make("waive", "STAGE=local", *given_up)
    wait(repository, lambda: len(scheduled(repository)) == 2)
    repository.make("redrive", "STAGE=local", "SERVICE=import_contacts")
    wait(repository, lambda: "finished" in repository.make("status", "STAGE=local", run))
    assert re.search(r"\+ \d+ waived\n", repository.make("status", "STAGE=local", run))
    assert sorted(each["kind"] for each in scheduled(repository)) == ["Invite", "Reminder"]

    assert "Erased: " in repository.make("erase", "STAGE=local", run, "YES=1")
    bucket = "acme-etl-local-data-000000000000"
    pages = client(repository, "s3").get_paginator("list_object_versions").paginate(Bucket=bucket)
    kept = [each["Key"] for page in pages for each in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]]
    assert [key for key in kept if key.startswith(("payloads/", "rejects/"))] == []
    assert "Its personal data was erased on " in repository.make("status", "STAGE=local", run)


def test_nothing_changed_is_nothing_done(repository: Deployable) -> None:
    """A second deploy finds nothing to do, and changes nothing; a changed handler changes its function alone.

    One that would fail in its function, and can be seen to, is not deployed.
    """
    repository.make("deploy", "STAGE=local")
    before = aws_state(repository.endpoint, REGION)
    said = repository.make("deploy", "STAGE=local")
    assert said.count("nothing to change") == 2
    assert differences(before, aws_state(repository.endpoint, REGION)) == []

    handler = repository.folder / "services" / "parse_file" / "handler.py"
    text = handler.read_text(encoding="utf-8")
    handler.write_text(f"{text}\n)\n", encoding="utf-8")
    repository.change("workflow.yml", "rows_per_batch: 10000", "rows_per_batch: ten")
    refused = repository.make("deploy", "STAGE=local", expect=2)
    assert (
        "Before stage local can be deployed, one thing is to be mended:\n  1. services/parse_file/handler.py" in refused
    )
    repository.change("workflow.yml", "rows_per_batch: ten", "rows_per_batch: 10000")
    assert differences(before, aws_state(repository.endpoint, REGION)) == []

    handler.write_text(f"{text}\n# A line more.\n", encoding="utf-8")
    repository.make("deploy", "STAGE=local")
    (other,) = differences(before, aws_state(repository.endpoint, REGION))
    assert other.startswith("function acme-etl-local-parse-file: CodeSha256 was ")


def test_removed_service_goes_only_when_its_queue_is_empty(repository: Deployable) -> None:
    """A deploy that would delete a queue with messages stops before it changes anything, and says what to do."""
    repository.make("deploy", "STAGE=local")
    queue = f"{repository.endpoint}/000000000000/acme-etl-local-schedule-reminder-dlq"
    sqs = client(repository, "sqs")
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    remove_reminder(repository)
    before = aws_state(repository.endpoint, REGION)
    refused = repository.make("deploy", "STAGE=local", expect=2)
    assert "acme-etl-local-schedule-reminder-dlq" in refused
    assert "--discard-messages" in refused
    assert differences(before, aws_state(repository.endpoint, REGION)) == []

    sqs.purge_queue(QueueUrl=queue)
    repository.make("deploy", "STAGE=local")
    assert [name for name in aws_state(repository.endpoint, REGION) if "schedule-reminder" in name] == []


def remove_reminder(repository: Deployable) -> None:
    """Take the reminder out of the workflow, as its owner would by hand."""
    workflow = repository.folder / "workflow.yml"
    content = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    content["chains"]["contacts"].remove("schedule_reminder")
    del content["services"]["schedule_reminder"]
    workflow.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    repository.change("serverless.yml", "  - ${file(services/schedule_reminder/function.yml)}\n", "")
    shutil.rmtree(repository.folder / "services" / "schedule_reminder")
    config = repository.folder / "config" / "local.yml"
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    del content["services"]["schedule_reminder"]
    config.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def run_of(repository: Deployable) -> str:
    """Return the one run of the ledger, as make is told it."""
    bucket = "acme-etl-local-data-000000000000"
    listed = client(repository, "s3").list_objects_v2(Bucket=bucket, Prefix="ledger/acme-etl-").get("Contents", [])
    (run,) = {each["Key"].split("/")[1] for each in listed}
    return f"RUN={run}"


def arm(repository: Deployable, scenario: str) -> None:
    """Let something go wrong in the simulated Qualtrics, once."""
    place = json.loads((repository.folder / ".qetl" / "local" / "place.json").read_text(encoding="utf-8"))
    request = urllib.request.Request(
        f"{place['base_url']}/_sim/faults",
        data=json.dumps({"scenario": scenario}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request):
        pass


def drop(repository: Deployable) -> None:
    """Put the sample file on the client's SFTP server."""
    server = repository.folder / ".qetl" / "local" / "sftp"
    shutil.copy2(repository.folder / SAMPLE, server)


def wait(repository: Deployable, reached: Callable[[], object], *, tick: bool = False) -> None:
    """Return when something is reached; look for files meanwhile, if wanted."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not reached():
        assert time.monotonic() < deadline, repository.make("logs", "STAGE=local")
        if tick:
            repository.make("tick", "STAGE=local")
        time.sleep(0.5)


def client(repository: Deployable, name: str) -> Any:
    """Return a client of the place's emulator."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    return session.client(name, endpoint_url=repository.endpoint)


def dead_letters(repository: Deployable, service: str) -> list[dict[str, str]]:
    """Return the attributes of a service's dead letters, hiding them from nobody."""
    url = f"{repository.endpoint}/000000000000/acme-etl-local-{service}-dlq"
    found = client(repository, "sqs").receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0
    )
    return [
        {name: each["StringValue"] for name, each in letter["MessageAttributes"].items()}
        for letter in found.get("Messages", [])
    ]


def simulated(repository: Deployable, what: str) -> Any:
    """Return what the simulated Qualtrics holds."""
    place = json.loads((repository.folder / ".qetl" / "local" / "place.json").read_text(encoding="utf-8"))
    with urllib.request.urlopen(f"{place['base_url']}/_sim/{what}") as answer:
        return json.load(answer)


def lists(repository: Deployable) -> list[dict[str, Any]]:
    """Return the mailing lists."""
    found: list[dict[str, Any]] = simulated(repository, "mailinglists")["mailingLists"]
    return found


def scheduled(repository: Deployable) -> list[dict[str, Any]]:
    """Return the mails that are scheduled."""
    found: list[dict[str, Any]] = simulated(repository, "mailings")["scheduled"]
    return found
