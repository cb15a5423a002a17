"""The generated Terraform tree is valid for the current AWS provider, and makes what the workflow says."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Bake, tree
from tests.terraform.conftest import ACCOUNT, OTHER_ANSWERS, Apply, State, Terraform, arn, change_workflow
from tests.terraform.environments import aws_schema

from qualtrics_etl.catalogue import KINDS, Level
from qualtrics_etl.workflow import Workflow, read_workflow

pytestmark = pytest.mark.slow

ROOTS = ("", "bootstrap")
"""Folders below terraform/ that are applied, each for itself."""

WRONG = {
    "unknown argument": ('resource "aws_sqs_queue" "x" {\n  colour = "red"\n}', "Unsupported argument"),
    "unknown block": ('resource "aws_sqs_queue" "x" {\n  colour {}\n}', "Unsupported block type"),
    "missing argument": ('resource "aws_sqs_queue_policy" "x" {\n  policy = ""\n}', "Missing required argument"),
    "wrong type": ('resource "aws_sqs_queue" "x" {\n  delay_seconds = "soon"\n}', "Incorrect attribute value type"),
    "unknown resource": ('resource "aws_sqs_kew" "x" {\n}', "Invalid resource type"),
    "unknown attribute": ('output "x" {\n  value = data.aws_partition.current.colour\n}', "Unsupported attribute"),
}
"""What must not pass, with the title of Terraform's error."""


def test_tree_is_formatted(terraform: Terraform, repository: Path) -> None:
    """What is generated needs no formatter."""
    result = terraform.run(repository, "fmt", "-check", "-recursive")
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("root", ROOTS)
def test_tree_is_valid(terraform: Terraform, repository: Path, root: str) -> None:
    """Every resource, block and argument is one that the current provider knows; nothing is deprecated."""
    answer = json.loads(terraform.run(repository, "validate", "-json", root=root).stdout)
    assert (answer["valid"], answer["diagnostics"]) == (True, [])


def test_schema_is_of_the_version_that_the_tree_demands(repository: Path) -> None:
    """What the tree is checked against is a provider that both roots would take."""
    files = [repository / "terraform" / root / "versions.tf" for root in ROOTS]
    ((major, minor),) = {
        each for file in files for each in re.findall(r'version = "~> (\d+)\.(\d+)"', file.read_text())
    }
    checked = list(map(int, json.loads(aws_schema().read_text())["version"].split(".")))
    assert [int(major), int(minor)] <= checked < [int(major) + 1]


def test_chosen_provider_is_committed(own: Path) -> None:
    """Git takes the files that say which provider it is exactly, and nothing else that Terraform leaves behind."""
    subprocess.run(["git", "init", "--quiet"], cwd=own, check=True)
    locks = ["terraform/.terraform.lock.hcl", "terraform/bootstrap/.terraform.lock.hcl"]
    left = [*locks, "terraform/.terraform/providers/x", "terraform/terraform.tfstate", "terraform/x.tfplan"]
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *left], cwd=own, capture_output=True, text=True, check=False
    )
    assert ignored.stdout.split() == left[2:]


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_tree_is_refused(terraform: Terraform, own: Path, mistake: str) -> None:
    """A tree that the provider would not take does not pass the check."""
    text, title = WRONG[mistake]
    (own / "terraform" / "wrong.tf").write_text(text)
    answer = json.loads(terraform.run(own, "validate", "-json").stdout)
    assert [each["summary"] for each in answer["diagnostics"]] == [title]


@pytest.mark.parametrize("root", ROOTS)
def test_own_tests_pass(terraform: Terraform, repository: Path, root: str) -> None:
    """The tests that a generated repository brings for its modules and for both roots pass, all of them."""
    tests = repository / "terraform" / root / "tests"
    runs = [re.findall(r'^run "', file.read_text(), re.M) for file in tests.iterdir()]
    (summary,) = [each for each in terraform.test(repository, root=root) if each["type"] == "test_summary"]
    assert summary["test_summary"] == {
        "status": "pass",
        "passed": sum(map(len, runs)),
        "failed": 0,
        "errored": 0,
        "skipped": 0,
    }


def test_tree_is_the_same_for_all_answers(baked: Bake) -> None:
    """No file of the tree depends on an answer: the difference lies in workflow.yml and config alone."""
    first, *others = (tree(baked(**answers) / "terraform") for answers in ({}, *OTHER_ANSWERS))
    assert [found for found in others if found != first] == []


def test_each_service_has_its_pair_of_queues(state: State) -> None:
    """Every service has a queue and a dead-letter queue, named alike."""
    names = {each["name"] for address, each in state.items() if ".aws_sqs_queue." in address}
    services = (
        "fetch-sftp-file",
        "parse-file",
        "create-mailing-list",
        "import-contacts",
        "schedule-distribution",
        "schedule-reminder",
    )
    assert names == {f"acme-etl-local-{service}{end}" for service in services for end in ("", "-dlq")}


@pytest.mark.parametrize("answers", OTHER_ANSWERS, ids=str)
def test_other_answers_apply(state_of: Callable[..., State], baked: Bake, answers: dict[str, Any]) -> None:
    """The smallest and the largest workflow get their queues too, a kind several times if need be."""
    folders = [folder.name for folder in (baked(**answers) / "services").iterdir() if folder.is_dir()]
    assert {address for address in state_of(**answers) if address.endswith(".aws_sqs_queue.this")} == {
        f'module.service["{folder}"].aws_sqs_queue.this' for folder in folders
    }


def test_serial_service_gets_fifo_queues(apply: Apply, own: Path) -> None:
    """`serial` makes both queues FIFO, whoever sends there may send to that name, and deferrals don't use it up."""
    change_workflow(own, lambda workflow: workflow["services"]["import_contacts"].update(concurrency="serial"))
    made = apply(own)
    queue = made['module.service["import_contacts"].aws_sqs_queue.this']
    policy = json.loads(made['module.service["create_mailing_list"].aws_iam_role_policy.this']["policy"])
    redrive = made['module.service["import_contacts"].aws_sqs_queue_redrive_policy.this']["redrive_policy"]
    assert (queue["name"], queue["fifo_queue"]) == ("acme-etl-local-import-contacts.fifo", True)
    assert json.loads(redrive)["maxReceiveCount"] == 1000
    assert arn("sqs", "acme-etl-local-import-contacts.fifo") in policy["Statement"][1]["Resource"]


def as_it_is(workflow: dict[str, Any]) -> None:
    """The default workflow: one batch-level service between run-level ones."""


def with_branch(workflow: dict[str, Any]) -> None:
    """A second chain leaves the first one early."""
    workflow["services"]["parse_again"] = dict(workflow["services"]["parse_file"])
    workflow["chains"]["other"] = ["fetch_sftp_file", "parse_again"]


def with_batches_in_a_row(workflow: dict[str, Any]) -> None:
    """Five batch-level services one behind the other, and two run-level ones that wait for their batches."""
    names = [f"import_{number}" for number in ("one", "two", "three", "four", "five")]
    workflow["services"] |= {name: dict(workflow["services"]["import_contacts"]) for name in names}
    chain = workflow["chains"]["contacts"]
    workflow["chains"]["contacts"] = [*chain[:3], *names, *chain[4:]]
    workflow["chains"]["other"] = [*chain[:3], *names[:2], "schedule_other"]
    workflow["services"]["schedule_other"] = dict(workflow["services"]["schedule_distribution"])
    del workflow["services"]["import_contacts"]


@pytest.mark.parametrize("change", [as_it_is, with_branch, with_batches_in_a_row], ids=lambda change: change.__name__)
def test_every_service_reaches_whom_it_sends_to(
    apply: Apply, own: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    """A service may send to, and is told the address of, exactly those that the library's code sends to from it."""
    change_workflow(own, change)
    workflow, made = read_workflow(own), apply(own)
    for service in workflow.services:
        urls = json.loads(made[f'aws_ssm_parameter.queue_urls["{service}"]']["value"])
        policy = json.loads(made[f'module.service["{service}"].aws_iam_role_policy.this']["policy"])
        (sending,) = [each for each in policy["Statement"] if each["Sid"] == "SendOn"]
        expected = recipients(workflow, service)
        assert urls.keys() == {service, *expected}
        assert {each.rsplit(":", 1)[1] for each in sending["Resource"][1:]} == {
            f"acme-etl-local-{name.replace('_', '-')}" for name in expected
        }


def recipients(workflow: Workflow, service: str) -> set[str]:
    """Return whom a service sends to: the next ones, and at a cut into batches those who wait for the batches."""
    found = set(workflow.next_of(service))
    if workflow.level_of(service) is Level.RUN:
        for following in workflow.next_of(service):
            if workflow.level_of(following) is Level.BATCH:
                found |= set(workflow.fan_ins_behind(following))
    return found


def test_kinds_of_batches_are_the_catalogue_s(repository: Path) -> None:
    """Terraform and the library agree on which kinds of steps get a message for each batch."""
    (kinds,) = re.findall(r"batch_kinds += (\[.*\])", (repository / "terraform" / "workflow.tf").read_text())
    assert json.loads(kinds) == [kind.name for kind in KINDS.values() if kind.level is Level.BATCH]


def test_other_account_is_refused_in_words(terraform: Terraform, own: Path) -> None:
    """Credentials of another account stop every plan, and the error says what to correct."""
    file = own / "terraform" / "tests" / "workflow.tftest.hcl"
    file.write_text(file.read_text().replace("expect_failures = [data.aws_caller_identity.current]", ""))
    messages = terraform.test(own, "-filter=tests/workflow.tftest.hcl")
    details = [each["diagnostic"]["detail"] for each in messages if each["type"] == "diagnostic"]
    assert " ".join(details) == (
        "These credentials belong to account 999999999999, and config/local.yml names 000000000000. "
        "Use credentials of that account, or correct aws_account_id there."
    )


def test_account_not_filled_in_is_named(terraform: Terraform, own: Path) -> None:
    """A stage whose account nobody has filled in is refused with the place where it belongs."""
    file = own / "terraform" / "tests" / "workflow.tftest.hcl"
    file.write_text(file.read_text().replace('stage = "local"', 'stage = "dev"'))
    messages = terraform.test(own, "-filter=tests/workflow.tftest.hcl")
    details = {each["diagnostic"]["detail"] for each in messages if each["type"] == "diagnostic"}
    assert "config/dev.yml: aws_account_id is 12 digits, in quotes, since YAML drops leading zeros." in details


def test_alarms_speak_the_runbook_s_words(state: State, repository: Path) -> None:
    """What an alarm says first is a heading of the runbook."""
    headings = re.findall(r"^## (.*)$", (repository / "docs" / "runbook.md").read_text(), re.M)
    alarms = [each for address, each in state.items() if ".aws_cloudwatch_metric_alarm." in address]
    assert len(alarms) == 5 * 6 + 1
    assert {each["alarm_description"].split(":")[0] for each in alarms} <= set(headings)


SCHEDULES = {
    "rate(1 minute)": 60,
    "rate(12 hours)": 43_200,
    "rate(7 days)": 604_800,
    "cron(5 * * * ? *)": 3_600,
    "cron(0 6,18 ? * * *)": 86_400,
    "cron(0 6 ? * MON-FRI *)": 259_200,
    "cron(0 6 ? * MON *)": None,
    "cron(H 6 * * ? *)": 86_400,
    "cron(H * * * ? *)": 3_600,
    "cron(H/15 * * * ? *)": 900,
    "cron(0 6 1 * ? *)": None,
    "cron(0 6 * 1 ? *)": None,
    "cron(0 6 * * ? 2030)": None,
    "": None,
}
"""How long it is from one run to the next at most, in seconds; None for what is not waited for."""


def test_schedules_are_understood(terraform: Terraform, own: Path) -> None:
    """Of each schedule the longest time between two runs is known, or nothing where it is too rare or too odd."""
    names = [f"service_{chr(ord('a') + number)}" for number in range(len(SCHEDULES))]

    def one_of_each(workflow: dict[str, Any]) -> None:
        common = workflow["services"]["parse_file"]
        workflow["services"] = {
            name: common | ({"schedule": schedule} if schedule else {})
            for name, schedule in zip(names, SCHEDULES, strict=True)
        }
        workflow["chains"] = {"all": names}

    change_workflow(own, one_of_each)
    test = own / "terraform" / "tests" / "workflow.tftest.hcl"
    provider, rest = test.read_text().split("variables {", 1)
    question = """
run "schedules" {
  command = plan

  assert {
    condition     = length(local.every_seconds) == 0
    error_message = jsonencode(local.every_seconds)
  }
}
"""
    test.write_text(provider + "variables {" + rest.split("}")[0] + "}\n" + question)
    messages = terraform.test(own, "-filter=tests/workflow.tftest.hcl")
    (answer,) = [each["diagnostic"]["detail"] for each in messages if each["type"] == "diagnostic"]
    assert json.loads(answer) == dict(zip(names, SCHEDULES.values(), strict=True))


def test_a_missed_run_and_a_refused_token_are_told(state: State) -> None:
    """Only what has a schedule is missed; a refused setting is counted in every service's log, where JSON says so."""
    alarms = {
        (address.split('"')[1], address.split('"')[3]): each
        for address, each in state.items()
        if ".aws_cloudwatch_metric_alarm." in address
    }
    missed = alarms["fetch_sftp_file", "no-run"]
    filters = {each["pattern"] for address, each in state.items() if ".aws_cloudwatch_log_metric_filter." in address}
    assert [service for service, alarm in alarms if alarm == "no-run"] == ["fetch_sftp_file"]
    assert (missed["period"], missed["metric_name"], missed["treat_missing_data"]) == (1800, "Invocations", "breaching")
    assert filters == {'{ $.message = "setting_wrong" }'}
    for service in ("parse_file", "import_contacts"):
        counted = state[f'module.service["{service}"].aws_cloudwatch_log_metric_filter.setting_wrong']
        transformation = counted["metric_transformation"][0]
        alarm = alarms[service, "setting-wrong"]
        assert (alarm["namespace"], alarm["metric_name"]) == (transformation["namespace"], transformation["name"])


def test_current_packages_and_states_never_expire(state: State) -> None:
    """What is deployed stays, however old: a failed deploy is rolled back to it. Only what replaced versions goes."""
    rules = state["module.artifacts_bucket.aws_s3_bucket_lifecycle_configuration.this"]["rule"]
    expiring = [day for rule in rules for each in rule["expiration"] for day in [each["days"]] if day]
    kept = [each["noncurrent_days"] for rule in rules for each in rule["noncurrent_version_expiration"]]
    assert (expiring, kept) == ([], [30])


def test_personal_data_expires_with_its_old_versions(state: State) -> None:
    """Files, batches, requests and rejects are gone after 30 days, what was overwritten or deleted of them after 3."""
    rules = state["module.data_bucket.aws_s3_bucket_lifecycle_configuration.this"]["rule"]
    personal = {
        rule["id"]: (rule["expiration"][0]["days"], rule["noncurrent_version_expiration"][0]["noncurrent_days"])
        for rule in rules
        if rule["id"] in ("payloads", "rejects")
    }
    assert personal == {"payloads": (30, 3), "rejects": (30, 3)}
    (leftovers,) = [rule for rule in rules if rule["id"] == "leftovers"]
    assert leftovers["expiration"][0]["expired_object_delete_marker"] is True
    assert leftovers["abort_incomplete_multipart_upload"][0]["days_after_initiation"] == 1


def test_what_belongs_to_a_service_is_tagged_so(state: State) -> None:
    """Everything of a service that can have tags has the service's name; client and stage come with the provider."""
    wrong = {
        address: each["tags"]
        for address, each in state.items()
        if address.startswith("module.service") and "tags" in each
        if each["tags"] != {"service": address.split('"')[1]}
    }
    assert wrong == {}


def test_no_secret_is_in_a_state(state: State, apply: Apply, repository: Path) -> None:
    """The stage's state knows no secret; the bootstrap's holds their names and nothing that could be a value."""
    assert [address for address, each in state.items() if each.get("type") == "SecureString"] == []
    made = apply(repository, "bootstrap")
    secrets = {each["name"]: each for address, each in made.items() if address.startswith("module.secrets")}
    assert set(secrets) == {f"/acme-etl/local/{name}" for name in ("qualtrics_api_token", "sftp_password")}
    assert {(each["type"], each.get("value"), each.get("value_wo")) for each in secrets.values()} == {
        ("SecureString", None, None)
    }


def test_bucket_is_named_for_stage_and_account(state: State) -> None:
    """The data bucket's name cannot meet another client's or stage's."""
    assert state["module.data_bucket.aws_s3_bucket.this"]["bucket"] == f"acme-etl-local-data-{ACCOUNT}"
