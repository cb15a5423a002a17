"""The roles that pipelines take: enough to deploy a stage, and not enough to get at anything else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError
from tests.conftest import Bake
from tests.deployment.emulated_roots import BOOTSTRAP, STAGE, STATE_BUCKET, Roots, emulated_roots
from tests.terraform.conftest import ACCOUNT, PREFIX, REGION, read_yaml

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline-roles")]

REPOSITORY = "acme-health/acme-etl"
ENVIRONMENT = f"repo:{REPOSITORY}:environment:local"
PULL_REQUEST = f"repo:{REPOSITORY}:pull_request"
NUMBERED = "acme-health@123/acme-etl@456"
MAIN = "refs/heads/main"
CI = {"host": "github", "repository": REPOSITORY, "owner_id": "123", "repository_id": "456"}
LONGEST_PREFIX = "x" * 31
LONGEST_REGION = "ap-southeast-1"
MOST_CHARACTERS = 10_240
"""Of all policies of a role together. Source: AWS, IAM and STS character limits."""

UNKNOWN_TO_THE_EMULATOR = {
    "cloudwatch:GetDashboard": "it takes no notice of which dashboard is meant",
    "cloudwatch:PutDashboard": "it takes no notice of which dashboard is meant",
    "cloudwatch:ListTagsForResource": "it takes no notice of which alarm is meant",
    "iam:CreateRole": "it does not know the condition iam:PermissionsBoundary",
    "iam:PutRolePolicy": "it does not know the condition iam:PermissionsBoundary",
    "logs:ListTagsLogGroup": "provider 3.39 asks for it; provider 6 asks for logs:ListTagsForResource",
    "sns:ListTagsForResource": "it takes no notice of which topic is meant",
}
"""What the test's pipelines are given beside their roles, and why."""


@pytest.fixture(scope="module")
def roots(baked: Bake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roots]:
    """A stage with pipelines on GitHub, bootstrapped and deployed once, by the pipeline."""
    folder = tmp_path_factory.mktemp("pipelines")
    repository = folder / "acme-etl"
    shutil.copytree(baked(), repository)
    config = read_yaml(repository / "config" / "local.yml") | {"ci": CI}
    (repository / "config" / "local.yml").write_text(yaml.safe_dump(config))
    with emulated_roots(repository, folder / "emulator") as running:
        running.init(BOOTSTRAP)
        running.apply(BOOTSTRAP)
        gaps = [{"Effect": "Allow", "Action": list(UNKNOWN_TO_THE_EMULATOR), "Resource": "*"}]
        for role in ("deploy", "plan"):
            running.client("iam").put_role_policy(
                RoleName=f"{PREFIX}-{role}",
                PolicyName="gaps",
                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": gaps}),
            )
        yield running


@pytest.fixture(scope="module")
def deploying(roots: Roots) -> Roots:
    """What a deploying pipeline does: it has deployed the stage."""
    pipeline = roots.logged_in("deploy", ENVIRONMENT)
    pipeline.init(STAGE)
    pipeline.apply(STAGE)
    return pipeline


def statements(roots: Roots, role: str) -> list[dict[str, Any]]:
    """Return what a role's own policies say."""
    iam, name = roots.client("iam"), f"{PREFIX}-{role}"
    policies = [each for each in iam.list_role_policies(RoleName=name)["PolicyNames"] if each != "gaps"]
    documents = [iam.get_role_policy(RoleName=name, PolicyName=each)["PolicyDocument"] for each in policies]
    return [each for document in documents for each in document["Statement"]]


@pytest.mark.parametrize("role", ["deploy", "plan"])
def test_rights_are_named(roots: Roots, role: str) -> None:
    """No action has a wildcard, and what is allowed of everything is bound by a condition; all fits into a role."""
    found = statements(roots, role)
    assert [action for each in found for action in each["Action"] if "*" in action] == []
    open_ones = [each for each in found if each["Effect"] == "Allow" and "*" in each["Resource"]]
    assert [each["Sid"] for each in open_ones if not each.get("Condition")] == []
    text = json.dumps(found, separators=(",", ":")).replace(PREFIX, LONGEST_PREFIX)
    text = text.replace(PREFIX.replace("-local", "/local"), LONGEST_PREFIX).replace(REGION, LONGEST_REGION)
    assert len(text) < MOST_CHARACTERS - 200


def test_roles_are_made_within_the_boundary_alone(roots: Roots) -> None:
    """Whatever makes a role stronger is allowed with the stage's boundary only; roles go to Lambda only."""
    boundary = {"StringEquals": {"iam:PermissionsBoundary": [f"arn:aws:iam::{ACCOUNT}:policy/{PREFIX}-boundary"]}}
    allowed = [each for each in statements(roots, "deploy") if each["Effect"] == "Allow"]
    conditions = {action: each.get("Condition") for each in allowed for action in each["Action"]}
    assert conditions["iam:CreateRole"] == conditions["iam:PutRolePolicy"] == boundary
    assert conditions["iam:PassRole"] == {"StringEquals": {"iam:PassedToService": ["lambda.amazonaws.com"]}}
    assert not {"iam:AttachRolePolicy", "iam:DeleteRolePermissionsBoundary"} & conditions.keys()


@pytest.mark.parametrize(
    ("role", "subject", "ref"),
    [
        ("deploy", PULL_REQUEST, MAIN),
        ("deploy", f"repo:{REPOSITORY}:environment:prod", MAIN),
        ("deploy", f"repo:{REPOSITORY}:ref:refs/heads/main", MAIN),
        ("deploy", ENVIRONMENT, "refs/heads/other"),
        ("deploy", ENVIRONMENT, "refs/tags/main"),
        ("deploy", f"repo:{NUMBERED}:environment:local", "refs/heads/other"),
        ("deploy", "repo:acme-health@124/acme-etl@457:environment:local", MAIN),
        ("plan", "repo:somebody/else:pull_request", MAIN),
        ("plan", "repo:acme-health@123/acme-etl@457:pull_request", MAIN),
        ("plan", f"repo:{REPOSITORY}:ref:refs/heads/other", MAIN),
    ],
)
def test_nobody_else_takes_a_role(roots: Roots, role: str, subject: str, ref: str) -> None:
    """A pipeline of another environment, branch or repository gets nothing."""
    with pytest.raises(ClientError, match="AccessDenied"):
        roots.logged_in(role, subject, ref=ref)


@pytest.mark.parametrize(
    ("role", "end"),
    [("deploy", "environment:local"), ("plan", "pull_request"), ("plan", f"ref:{MAIN}")],
)
@pytest.mark.parametrize("repository", [REPOSITORY, NUMBERED])
def test_repository_takes_its_roles_by_both_of_its_names(roots: Roots, repository: str, role: str, end: str) -> None:
    """GitHub's token names it with its numbers or, where it is an older one, without."""
    assert roots.logged_in(role, f"repo:{repository}:{end}").client("sts").get_caller_identity()


def test_pipeline_deploys(deploying: Roots) -> None:
    """Its role is enough to make the stage's root, and to look at all of it again."""
    assert deploying.apply(STAGE) == "Apply complete! Resources: 0 added, 0 changed, 0 destroyed."


def test_pipelines_ask_for_the_stack(roots: Roots, deploying: Roots) -> None:
    """Whether the stack is there is told to both, and nothing of another stage's."""
    for pipeline in (deploying, roots.logged_in("plan", PULL_REQUEST)):
        stacks = pipeline.client("cloudformation")
        with pytest.raises(ClientError, match="does not exist"):
            stacks.describe_stacks(StackName=PREFIX)
        with pytest.raises(ClientError, match="AccessDenied"):
            stacks.describe_stacks(StackName="acme-etl-prod")


def test_mapping_that_is_gone_is_told_so(deploying: Roots) -> None:
    """CloudFormation asks after a mapping until there is none: it must hear that, and not that it may not ask."""
    functions = deploying.client("lambda")
    assert functions.list_event_source_mappings()["EventSourceMappings"] == []
    with pytest.raises(ClientError, match="ResourceNotFound"):
        functions.get_event_source_mapping(UUID="00000000-0000-0000-0000-000000000000")


def test_pipeline_plans(roots: Roots, deploying: Roots) -> None:
    """The role of pull requests is enough for a plan without a lock, and not for a change."""
    planning = roots.logged_in("plan", PULL_REQUEST)
    planning.init(STAGE)
    assert "No changes." in planning.run(STAGE, "plan", "-input=false", "-lock=false", "-var=stage=local").stdout
    with pytest.raises(ClientError, match="AccessDenied"):
        planning.client("ssm").put_parameter(Name="/acme-etl/local/bucket", Value="other", Overwrite=True)
    with pytest.raises(ClientError, match="AccessDenied"):
        planning.client("s3").put_object(Bucket=STATE_BUCKET, Key="stage.tfstate", Body=b"")


@pytest.mark.parametrize(("role", "subject"), [("deploy", ENVIRONMENT), ("plan", PULL_REQUEST)])
def test_pipeline_knows_no_secret(roots: Roots, deploying: Roots, role: str, subject: str) -> None:
    """Neither by name nor by path is a value told, nor changed; whether there is one, and was set, may be known."""
    name, value = "/acme-etl/local/qualtrics_api_token", "canary"
    roots.client("ssm").put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
    pipeline = roots.logged_in(role, subject)
    ssm = pipeline.client("ssm")
    for handed_over in ("bucket", "artifacts_bucket", "parse_file/role_arn"):
        assert ssm.get_parameter(Name=f"/acme-etl/local/{handed_over}")["Parameter"]["Type"] == "String"
    attempts = [
        lambda: ssm.get_parameter(Name=name, WithDecryption=True),
        lambda: ssm.get_parameter(Name=name),
        lambda: ssm.get_parameters(Names=[name], WithDecryption=True),
        lambda: ssm.get_parameter_history(Name=name, WithDecryption=True),
        lambda: ssm.get_parameters_by_path(Path="/acme-etl/local", Recursive=True, WithDecryption=True),
        lambda: ssm.put_parameter(Name=name, Value="other", Overwrite=True),
        lambda: ssm.delete_parameter(Name=name),
    ]
    for attempt in attempts:
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()
    (told,) = ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Option": "Equals", "Values": [name]}])[
        "Parameters"
    ]
    assert told["Version"] > 1
    state = roots.client("s3").get_object(Bucket=STATE_BUCKET, Key="stage.tfstate")["Body"].read().decode()
    assert (value in state, "SecureString" in state) == (False, False)


def test_denial_outlives_rights_of_aws_s_own(roots: Roots, deploying: Roots) -> None:
    """A role that somebody gives the right to read everything still reads no secret."""
    iam, name = roots.client("iam"), "/acme-etl/local/qualtrics_api_token"
    reading = [{"Effect": "Allow", "Action": ["ssm:GetParameter", "ssm:GetParametersByPath"], "Resource": "*"}]
    document = json.dumps({"Version": "2012-10-17", "Statement": reading})
    iam.put_role_policy(RoleName=f"{PREFIX}-plan", PolicyName="everything", PolicyDocument=document)
    ssm = roots.logged_in("plan", PULL_REQUEST).client("ssm")
    try:
        assert ssm.get_parameter(Name="/acme-etl/local/bucket")["Parameter"]["Type"] == "String"
        for attempt in (
            lambda: ssm.get_parameter(Name=name, WithDecryption=True),
            lambda: ssm.get_parameters_by_path(Path="/acme-etl/local", WithDecryption=True),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                attempt()
    finally:
        iam.delete_role_policy(RoleName=f"{PREFIX}-plan", PolicyName="everything")


def test_pipeline_can_not_raise_itself(deploying: Roots) -> None:
    """Neither role, boundary, the bootstrap's state nor the data is its to touch, nor another stage's queue."""
    iam, s3 = deploying.client("iam"), deploying.client("s3")
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/{PREFIX}-boundary"
    everything = json.dumps({"Version": "2012-10-17", "Statement": []})
    attempts = [
        lambda: iam.put_role_policy(RoleName=f"{PREFIX}-deploy", PolicyName="more", PolicyDocument=everything),
        lambda: iam.update_assume_role_policy(RoleName=f"{PREFIX}-plan", PolicyDocument=everything),
        lambda: iam.create_policy_version(PolicyArn=boundary, PolicyDocument=everything, SetAsDefault=True),
        lambda: iam.delete_role_permissions_boundary(RoleName=f"{PREFIX}-parse-file"),
        lambda: s3.get_object(Bucket=STATE_BUCKET, Key="bootstrap.tfstate"),
        lambda: s3.put_object(Bucket=STATE_BUCKET, Key="bootstrap.tfstate", Body=b""),
        lambda: s3.get_object(Bucket=f"{PREFIX}-data-{ACCOUNT}", Key="payloads/x"),
        lambda: s3.delete_bucket(Bucket=f"{PREFIX}-data-{ACCOUNT}"),
        lambda: deploying.client("sqs").create_queue(QueueName="acme-etl-prod-parse-file"),
    ]
    for attempt in attempts:
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()
