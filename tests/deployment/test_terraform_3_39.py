"""The stand-in for Terraform: what it changes is on a list, and both roots come and go with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import Bake
from tests.deployment.aws_state import aws_state
from tests.deployment.deployable import TERRAFORM
from tests.deployment.emulated_roots import BOOTSTRAP, STAGE, STATE_BUCKET, Roots, emulated_roots
from tests.deployment.rules_3_39 import ENDPOINTS, RULES, adapt
from tests.terraform.conftest import REGION

LACKING_RESOURCES = {
    "aws_s3_bucket_lifecycle_configuration.this",
    "aws_s3_bucket_server_side_encryption_configuration.this",
    "aws_s3_bucket_versioning.this",
    "aws_sqs_queue_redrive_allow_policy.dead_letters",
    "aws_sqs_queue_redrive_policy.this",
}
LACKING_ARGUMENTS = {
    "bootstrap/main.tf: provider.aws": {"s3_use_path_style"},
    "main.tf: provider.aws": {"s3_use_path_style"},
    "modules/secrets/main.tf: resource.aws_ssm_parameter.this": {"value_wo", "value_wo_version"},
    "modules/service/main.tf: resource.aws_sqs_queue.dead_letters": {"sqs_managed_sse_enabled"},
    "modules/service/main.tf: resource.aws_sqs_queue.this": {
        "deduplication_scope",
        "fifo_throughput_limit",
        "sqs_managed_sse_enabled",
    },
}
SERVICE_OF = {
    "aws_caller_identity": "sts",
    "aws_cloudwatch_dashboard": "cloudwatch",
    "aws_cloudwatch_log_group": "cloudwatchlogs",
    "aws_cloudwatch_log_metric_filter": "cloudwatchlogs",
    "aws_cloudwatch_metric_alarm": "cloudwatch",
    "aws_partition": None,
}
"""Where a resource's name does not say whom it asks."""

Blocks = dict[str, set[str]]


@pytest.fixture
def repository(baked: Bake, tmp_path: Path) -> Path:
    """A repository from default answers, to be changed."""
    return Path(shutil.copytree(baked(), tmp_path / "acme-etl"))


def texts(repository: Path) -> dict[str, str]:
    """Return the tree's files, tests left out."""
    tree = repository / "terraform"
    files = [file for file in sorted(tree.rglob("*.tf")) if "tests" not in file.parts[len(tree.parts) :]]
    return {file.relative_to(tree).as_posix(): file.read_text() for file in files}


def blocks(files: dict[str, str]) -> Blocks:
    """Return the names of arguments in each block of a tree, blocks named like `main.tf: resource.type.name`."""
    found: Blocks = {}
    for name, text in files.items():
        for block in re.finditer(r'(?ms)^(\w+(?: "[^"]+")*) \{$(.*?)^\}$', text):
            address = block[1].replace('"', "").replace(" ", ".")
            found.setdefault(f"{name}: {address}", set()).update(re.findall(r"(?m)^ +(\w+) +?=", block[2]))
    return found


def test_copy_lacks_what_the_list_says(repository: Path) -> None:
    """Beside the resources and arguments listed here, the copy has every one of the tree's; each rule has a reason."""
    tree = texts(repository)
    before, after = blocks(tree), blocks({name: adapt(name, text) for name, text in tree.items()})
    resources = {block.split("resource.")[1] for block in before.keys() - after.keys()}
    arguments = {block: before[block] - after[block] for block in before.keys() & after.keys()}
    assert resources == LACKING_RESOURCES
    assert {block: lost for block, lost in arguments.items() if lost} == LACKING_ARGUMENTS
    assert len(before) > 60
    assert [rule for rule in RULES if len(rule.reason.split()) < 3] == []


def test_every_service_of_the_tree_has_its_address(repository: Path) -> None:
    """No resource asks a service whose address is not given: provider 3.39 would ask AWS itself."""
    kinds = set(re.findall(r'(?m)^(?:resource|data) "(\w+)"', "\n".join(texts(repository).values())))
    assert {SERVICE_OF.get(kind, kind.split("_")[1]) for kind in kinds} - {None} <= set(ENDPOINTS)


def stand_in(repository: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call it as the generated Makefile does."""
    given = {"PATH": os.environ["PATH"], "HOME": str(repository)} | environment
    return subprocess.run(
        [TERRAFORM, *arguments], cwd=repository, env=given, capture_output=True, text=True, check=False
    )


def test_tree_that_moved_on_is_refused(repository: Path) -> None:
    """A rule that has nothing to change any more is an error that names the file, and nothing is run."""
    secrets = repository / "terraform" / "modules" / "secrets" / "main.tf"
    secrets.write_text(secrets.read_text().replace("value_wo_version", "value_wo_number"))
    result = stand_in(repository, "-chdir=terraform", "version", AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert result.returncode == 1
    assert result.stderr.startswith("terraform/modules/secrets/main.tf has nothing that this rule is for:")


@pytest.mark.parametrize("address", ["", "https://sqs.eu-west-1.amazonaws.com", "http://127.0.0.1.client.example"])
def test_only_this_machine_is_deployed_to(repository: Path, address: str) -> None:
    """Without an address on this machine it does nothing: it must never reach AWS."""
    result = stand_in(repository, "-chdir=terraform", "version", AWS_ENDPOINT_URL=address)
    assert (result.returncode, result.stdout) == (1, "")
    assert "must be an emulator's address on this machine" in result.stderr


def test_without_a_root_it_is_terraform(repository: Path) -> None:
    """What is not about a root, such as the formatter, works on the repository's own files."""
    (repository / "terraform" / "ugly.tf").write_text("locals {\n a = 1\n}\n")
    assert stand_in(repository, "fmt", "-recursive", "terraform").stdout == "terraform/ugly.tf\n"


def test_copy_follows_the_repository(repository: Path) -> None:
    """A file that comes to the repository comes to the copy, and goes from there with it."""
    file, copy = repository / "terraform" / "new.tf", repository / ".qetl" / "terraform-3.39"
    for text in ("locals {\n}\n", "# changed\n", None):
        file.unlink() if text is None else file.write_text(text)
        stand_in(repository, "-chdir=terraform", "version", AWS_ENDPOINT_URL="http://127.0.0.1:1")
        copied = copy / "terraform" / "new.tf"
        assert (copied.read_text() if copied.exists() else None) == text


@pytest.fixture
def roots(repository: Path, tmp_path: Path) -> Roots:
    """The repository's roots on an emulator."""
    with emulated_roots(repository, tmp_path / "emulator") as running:
        yield running


@pytest.mark.slow
def test_both_roots_come_and_go(roots: Roots) -> None:
    """Both are made, making them again changes nothing, and when they are destroyed nothing is left."""
    made = []
    for root in (BOOTSTRAP, STAGE):
        roots.init(root)
        made.append(roots.apply(root))
    assert made[0].startswith("Apply complete! Resources: 1 imported,")
    again = [roots.apply(root) for root in (BOOTSTRAP, STAGE)]
    assert again == ["Apply complete! Resources: 0 added, 0 changed, 0 destroyed."] * 2
    kept = {key.split()[0] for key in aws_state(roots.endpoint, REGION)}
    assert {"queue", "bucket", "role", "parameter", "alarm"} <= kept

    roots.destroy(STAGE)
    roots.run(BOOTSTRAP, "state rm", "module.state_bucket")  # the state lies in it
    roots.destroy(BOOTSTRAP)
    empty_and_delete(roots)
    assert aws_state(roots.endpoint, REGION) == {}
    assert roots.client("iam").list_policies(Scope="Local")["Policies"] == []
    assert roots.client("cloudwatch").list_dashboards()["DashboardEntries"] == []


def empty_and_delete(roots: Roots) -> None:
    """Delete the state bucket and all versions of what it holds."""
    s3 = roots.client("s3")
    said = s3.list_object_versions(Bucket=STATE_BUCKET)
    for each in [*said.get("Versions", []), *said.get("DeleteMarkers", [])]:
        s3.delete_object(Bucket=STATE_BUCKET, Key=each["Key"], VersionId=each["VersionId"])
    s3.delete_bucket(Bucket=STATE_BUCKET)


@pytest.mark.slow
def test_leftovers_of_a_killed_deploy_are_taken_over(roots: Roots) -> None:
    """What is there but in no state is imported by blocks in a file of the root, and nothing is made twice."""
    for root in (BOOTSTRAP, STAGE):
        roots.init(root)
        roots.apply(root)
    service, name = 'module.service["parse_file"]', "acme-etl-local-parse-file"
    queues = roots.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    lost = {
        f"{service}.aws_iam_role.this": name,
        f"{service}.aws_cloudwatch_log_group.this": f"/aws/lambda/{name}",
        f"{service}.aws_sqs_queue.this": queues,
        "aws_ssm_parameter.bucket": "/acme-etl/local/bucket",
        "module.data_bucket.aws_s3_bucket.this": "acme-etl-local-data-000000000000",
    }
    roots.run(STAGE, "state rm", *lost)
    roots.client("s3").delete_bucket_ownership_controls(Bucket=lost["module.data_bucket.aws_s3_bucket.this"])
    imports = "\n".join(f'import {{\n  to = {address}\n  id = "{known}"\n}}' for address, known in lost.items())
    (roots.repository / "terraform" / "qetl_takeover.tf").write_text(imports)
    summary = roots.apply(STAGE)
    assert re.match(r"Apply complete! Resources: 5 imported, 0 added, \d+ changed, 0 destroyed\.", summary), summary
