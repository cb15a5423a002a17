"""What a deploy asks of AWS, on an emulator: whose something is, what is in the way, what would be lost."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import moto
import pytest

from qualtrics_etl.aws.account import AwsAccess, check_account
from qualtrics_etl.aws.buckets import Owner, delete_bucket, empty_bucket, make_bucket, owner_of
from qualtrics_etl.aws.oidc import ensure_provider
from qualtrics_etl.aws.parameters import delete_unset, read_parameters, secret_versions
from qualtrics_etl.aws.stacks import GONE, delete_stack, stack_status
from qualtrics_etl.aws.takeover import Planned, find_existing
from qualtrics_etl.deployment.changes import Change, Changes
from qualtrics_etl.deployment.deploy import confirmation
from qualtrics_etl.deployment.losses import refuse_losses
from qualtrics_etl.deployment.plan import differences_of
from qualtrics_etl.deployment.preflight import account_checks, check_all, check_secrets
from qualtrics_etl.deployment.report import Report
from qualtrics_etl.deployment.secret_names import secret_names
from qualtrics_etl.deployment.serverless import check_handover, settle_stack
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.errors import ConfigurationError

ACCOUNT = "000000000000"
MOTOS_ACCOUNT = "123456789012"
TEMPLATE = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}]}
)


def unique(prefix: str = "t") -> str:
    """Return a name that nothing else has."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def test_other_account_is_refused_and_both_are_named(access: AwsAccess) -> None:
    """Credentials of one account, configuration of another: neither is guessed to be right."""
    check_account(access, ACCOUNT, "config/dev.yml")
    with pytest.raises(ConfigurationError, match=r"belong to account 0{12}, and config/dev\.yml names 1{12}"):
        check_account(access, "1" * 12, "config/dev.yml")


def test_unknown_keys_are_refused(access: AwsAccess) -> None:
    """The remedy is to sign in, not to look for a fault in the repository."""
    with pytest.raises(ConfigurationError) as caught:
        check_account(AwsAccess(access.region, access.endpoint_url, ("AKIAUNKNOWN000000000", "x")), ACCOUNT, "c.yml")
    assert "Sign in" in caught.value.remedy


def test_missing_keys_are_refused(access: AwsAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    """No profile, no variables, no machine that gives any."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(ConfigurationError, match="no usable AWS credentials"):
        check_account(AwsAccess("eu-central-1", access.endpoint_url), ACCOUNT, "c.yml")


def test_bucket_is_emptied_of_every_version(access: AwsAccess) -> None:
    """Old versions and delete markers go too, so that the bucket itself can go; twice is no error."""
    bucket, client = unique(), access.client("s3")
    assert owner_of(access, bucket, ACCOUNT) is Owner.NOBODY
    make_bucket(access, bucket)
    make_bucket(access, bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"one", b"two"):
        client.put_object(Bucket=bucket, Key="a", Body=body)
    client.delete_object(Bucket=bucket, Key="a")
    client.create_multipart_upload(Bucket=bucket, Key="b")
    assert owner_of(access, bucket, ACCOUNT) is Owner.OURS
    assert empty_bucket(access, bucket, ACCOUNT) == 3
    delete_bucket(access, bucket, ACCOUNT)
    assert owner_of(access, bucket, ACCOUNT) is Owner.NOBODY
    assert empty_bucket(access, bucket, ACCOUNT) == 0
    delete_bucket(access, bucket, ACCOUNT)


def make_all(access: AwsAccess, name: str, tags: dict[str, str]) -> list[Planned]:
    """Make one of each kind that can stand in the way, with these tags; return what a plan would say of them."""
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    iam, sqs, s3, ssm, sns, logs = access.clients("iam", "sqs", "s3", "ssm", "sns", "logs")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=POLICY, Tags=pairs)
    iam.create_policy(PolicyName=name, PolicyDocument=POLICY, Tags=pairs)
    sqs.create_queue(QueueName=name, tags=tags)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": access.region})
    if pairs:
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": pairs})
    ssm.put_parameter(Name=f"/{name}", Value="x", Type="String", Tags=pairs)
    sns.create_topic(Name=name, Tags=pairs)
    logs.create_log_group(logGroupName=name, tags=tags) if tags else logs.create_log_group(logGroupName=name)
    values = {"name": name, "bucket": name}
    kinds = [
        "aws_iam_role",
        "aws_iam_policy",
        "aws_sqs_queue",
        "aws_s3_bucket",
        "aws_sns_topic",
        "aws_cloudwatch_log_group",
    ]
    return [
        *(Planned(f"{kind}.this", kind, values) for kind in kinds),
        Planned("aws_ssm_parameter.this", "aws_ssm_parameter", {"name": f"/{name}", "type": "String"}),
    ]


def test_what_is_there_is_ours_by_its_tags(access: AwsAccess) -> None:
    """Tags of client and stage make it ours; those of another stage, or none, do not: but for a bucket without any."""
    tags = {"client": "acme", "stage": "dev"}
    ours = make_all(access, unique(), {**tags, "service": "x"})
    others = make_all(access, unique(), {**tags, "stage": "prod"})
    untagged = make_all(access, unique(), {})
    missing = [Planned(each.address, each.kind, {"name": "none", "bucket": unique()}) for each in ours]
    assert [each.ours for each in find_existing(access, ACCOUNT, ours, tags)] == [True] * 7
    assert [each.ours for each in find_existing(access, ACCOUNT, others, tags)] == [False] * 7
    found = find_existing(access, ACCOUNT, untagged, tags)
    assert [each.planned.kind for each in found if each.ours] == ["aws_s3_bucket"]
    assert find_existing(access, ACCOUNT, missing, tags) == []


def planned(action: str, kind: str, before: dict[str, str]) -> Changes:
    """Return a plan with one change."""
    return Changes((Change("this", kind, action, before, {}),), (), is_empty=False)


@pytest.mark.parametrize("action", ["delete", "replace"])
def test_queue_with_messages_is_not_deleted(stage: Stage, action: str) -> None:
    """What waits, is delayed or in flight is counted and named; an empty queue may go, and so may one on request."""
    sqs, name = stage.access.client("sqs"), unique()
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    changes = planned(action, "aws_sqs_queue", {"id": url, "name": name})
    refuse_losses(stage, changes, discard_messages=False)
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=600)
    with pytest.raises(ConfigurationError, match=f"{name}: 0 waiting, 0 in flight, 1 delayed"):
        refuse_losses(stage, changes, discard_messages=False)
    sqs.send_message(QueueUrl=url, MessageBody="waits")
    with pytest.raises(ConfigurationError, match=f"{name}: 1 waiting, 0 in flight, 1 delayed"):
        refuse_losses(stage, changes, discard_messages=False)
    refuse_losses(stage, changes, discard_messages=True)


def test_bucket_is_never_deleted(stage: Stage) -> None:
    """Not even when messages may be lost."""
    with pytest.raises(ConfigurationError, match="would delete the bucket data"):
        refuse_losses(stage, planned("replace", "aws_s3_bucket", {"bucket": "data"}), discard_messages=True)


def test_secret_that_somebody_set_is_not_deleted(stage: Stage) -> None:
    """Another login was chosen: a placeholder may go, a value may not; on this machine all of it is the library's."""
    dev, ssm = replace(stage, name="dev"), stage.access.client("ssm")
    name = f"{dev.parameters}/sftp_password"
    changes = planned("delete", "aws_ssm_parameter", {"name": name, "type": "SecureString"})
    ssm.put_parameter(Name=name, Value="unset", Type="SecureString")
    refuse_losses(dev, changes, discard_messages=True)
    ssm.put_parameter(Name=name, Value="canary", Type="SecureString", Overwrite=True)
    with pytest.raises(ConfigurationError, match=f"{name}. Nothing was changed") as caught:
        refuse_losses(dev, changes, discard_messages=True)
    assert "Put the login back in config/dev.yml" in caught.value.remedy
    assert f"`aws ssm delete-parameters --region {dev.access.region} --names {name}`" in caught.value.remedy
    assert "`make bootstrap STAGE=dev`" in caught.value.remedy
    handed_over = planned("delete", "aws_ssm_parameter", {"name": name, "type": "String"})
    refuse_losses(dev, handed_over, discard_messages=True)
    refuse_losses(stage, changes, discard_messages=True)


def test_only_what_is_planned_is_drift(stage: Stage) -> None:
    """What AWS filled in after the apply differs from the state for ever; it only words a line of what is planned."""
    stage.access.client("cloudformation").create_stack(StackName=stage.prefix, TemplateBody=json.dumps(TEMPLATE))
    queue = Change("aws_sqs_queue.this", "aws_sqs_queue", "update", {"delay": 0, "url": "x"}, {"delay": 5, "url": "x"})
    role = replace(queue, address="aws_iam_role.this")
    assert differences_of(stage, Changes((), (queue,), is_empty=True)) == []
    assert differences_of(stage, Changes((queue, role), (queue,), is_empty=False)) == [
        "changed on AWS: aws_sqs_queue.this (delay)",
        "other than the files say: aws_iam_role.this (delay)",
    ]


def test_prod_is_asked_for_by_name(stage: Stage) -> None:
    """Somebody is asked once, and a no is the end; other stages are not asked for."""
    asked: list[str] = []

    def answer(question: str) -> bool:
        asked.append(question)
        return len(asked) == 1

    confirmation(stage, answer)()
    assert asked == []
    confirm = confirmation(replace(stage, name="prod"), answer)
    confirm()
    with pytest.raises(ConfigurationError, match="Nothing was changed"):
        confirm()
    assert asked == ["Deploy that, and the functions, to prod?"] * 2


def test_bucket_in_another_region_is_not_somebody_elses(stage: Stage) -> None:
    """The setting aws_region was changed after the first deploy: that is said, not that the name is taken."""
    with moto.mock_aws():
        access = AwsAccess("eu-west-1", keys=("test", "test"))
        dev = replace(
            stage, name="dev", access=access, config=stage.config.model_copy(update={"aws_account_id": MOTOS_ACCOUNT})
        )
        assert owner_of(access, dev.bucket("data"), dev.account) is Owner.NOBODY
        make_bucket(AwsAccess("eu-central-1", keys=("test", "test")), dev.bucket("data"))
        assert owner_of(access, dev.bucket("data"), dev.account) is Owner.ELSEWHERE
        make_bucket(access, dev.bucket("state"))
        with pytest.raises(ConfigurationError, match=r"another region than eu-west-1: aws_region in config/dev\.yml"):
            check_all(account_checks(dev))


def test_secret_is_unset_until_somebody_sets_it(access: AwsAccess) -> None:
    """Terraform's placeholder is the first version; a parameter that is not there has none."""
    prefix, ssm = f"/{unique()}/dev", access.client("ssm")
    ssm.put_parameter(Name=f"{prefix}/token", Value="unset", Type="SecureString")
    assert secret_versions(access, prefix, ["key", "token"]) == {"key": 0, "token": 1}
    ssm.put_parameter(Name=f"{prefix}/token", Value="real", Type="SecureString", Overwrite=True)
    assert secret_versions(access, prefix, ["key", "token"]) == {"key": 0, "token": 2}


def test_login_without_parameters_names_bootstrap(stage: Stage) -> None:
    """A deploy makes no secret: where one has no parameter, it says what does; with placeholders it goes on."""
    names = secret_names(stage.config)
    with pytest.raises(ConfigurationError, match=", ".join(names)) as caught:
        check_secrets(stage)
    assert f"`make bootstrap STAGE={stage.name}`" in caught.value.remedy
    assert f"`make secret NAME={names[0]} STAGE={stage.name}`" in caught.value.remedy
    for name in names:
        stage.access.client("ssm").put_parameter(Name=f"{stage.parameters}/{name}", Value="unset", Type="SecureString")
    check_secrets(stage)


def test_only_secrets_that_nobody_set_are_deleted(access: AwsAccess) -> None:
    """A placeholder goes, however often it was written; with one that was set among them, all stay as they are."""
    ssm, names = access.client("ssm"), [f"/{unique()}/dev/{name}" for name in ("key", "token")]
    for name in names:
        ssm.put_parameter(Name=name, Value="unset", Type="SecureString")
    ssm.put_parameter(Name=names[0], Value="unset", Type="SecureString", Overwrite=True)
    ssm.put_parameter(Name=names[1], Value="real", Type="SecureString", Overwrite=True)
    assert delete_unset(access, names) == [names[1]]
    assert read_parameters(access, names, secrets=True) == {names[0]: "unset", names[1]: "real"}
    assert delete_unset(access, names[:1]) == []
    assert read_parameters(access, names).keys() == {names[1]}


def test_stack_is_deleted_and_its_absence_is_no_error(access: AwsAccess) -> None:
    """Deleting waits for the end; a stack that is not there is gone already."""
    name = unique("stack")
    assert stack_status(access, name) == GONE
    access.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(TEMPLATE))
    delete_stack(access, name, poll_seconds=0.05)
    assert stack_status(access, name) == GONE
    delete_stack(access, name, poll_seconds=0.05)


def test_stack_that_never_worked_is_deleted_before_the_functions_come(stage: Stage, report: Report) -> None:
    """A first deploy that failed leaves a stack that takes no update; one that works is left alone."""
    client = stage.access.client("cloudformation")
    client.create_change_set(
        StackName=stage.prefix, ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=json.dumps(TEMPLATE)
    )
    assert stack_status(stage.access, stage.prefix) == "REVIEW_IN_PROGRESS"
    settle_stack(stage, report)
    assert stack_status(stage.access, stage.prefix) == GONE
    client.create_stack(StackName=stage.prefix, TemplateBody=json.dumps(TEMPLATE))
    settle_stack(stage, report)
    assert stack_status(stage.access, stage.prefix) == "CREATE_COMPLETE"


def test_parameter_that_sls_would_miss_is_named(stage: Stage) -> None:
    """With the file that asks for it; sls itself names a place in its own configuration, and no parameter."""
    service = next(iter(stage.workflow.services))
    with pytest.raises(ConfigurationError, match=f"{stage.parameters}/{service}/role_arn .in services/{service}/func"):
        check_handover(stage)


def test_identity_provider_is_shared(access: AwsAccess) -> None:
    """It is made once, and left alone afterwards."""
    first = ensure_provider(access, "gitlab")
    assert first
    assert not ensure_provider(access, "gitlab")
