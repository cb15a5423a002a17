"""What is left of a stage: every kind of thing that a deploy makes is found by its name."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.inventory import leftovers

if TYPE_CHECKING:
    from shared_lib.tests.ports.conftest import Emulator

REGION = "eu-west-1"
ANY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}


def make_everything(access: AwsAccess, prefix: str, parameter_prefix: str) -> None:
    """Make one thing of each kind."""
    sqs, s3, iam, ssm, sns, logs, events, watch, functions, stacks = access.clients(
        *("sqs", "s3", "iam", "ssm", "sns", "logs", "events", "cloudwatch", "lambda", "cloudformation")
    )
    sqs.create_queue(QueueName=f"{prefix}-queue")
    s3.create_bucket(Bucket=f"{prefix}-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    role = iam.create_role(RoleName=f"{prefix}-role", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.create_policy(PolicyName=f"{prefix}-policy", PolicyDocument=json.dumps(ANY))
    ssm.put_parameter(Name=f"{parameter_prefix}/step/parameter", Value="value", Type="String")
    sns.create_topic(Name=f"{prefix}-topic")
    logs.create_log_group(logGroupName=f"/aws/lambda/{prefix}-group")
    events.put_rule(Name=f"{prefix}-rule", ScheduleExpression="rate(15 minutes)")
    watch.put_dashboard(DashboardName=prefix, DashboardBody='{"widgets":[]}')
    watch.put_metric_alarm(
        AlarmName=f"{prefix}-alarm",
        Namespace="AWS/SQS",
        MetricName="NumberOfMessagesSent",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("step.py", "def handler(event, context): pass")
    functions.create_function(
        FunctionName=f"{prefix}-function",
        Runtime="python3.13",
        Role=role,
        Handler="step.handler",
        Code={"ZipFile": code.getvalue()},
    )
    functions.publish_layer_version(LayerName=f"{prefix}-layer", Content={"ZipFile": code.getvalue()})
    arn = f"arn:aws:sqs:{REGION}:000000000000:{prefix}-queue"
    functions.create_event_source_mapping(FunctionName=f"{prefix}-function", EventSourceArn=arn)
    template: dict[str, Any] = {
        "Resources": {"Own": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": f"{prefix}-in-stack"}}}
    }
    stacks.create_stack(StackName=prefix, TemplateBody=json.dumps(template))


@pytest.fixture
def access(emulator: Emulator) -> AwsAccess:
    """The emulator, as its root user."""
    return AwsAccess(REGION, emulator.url, ("test", "test"))


def test_each_kind_of_thing_is_found_by_its_name(access: AwsAccess) -> None:
    """Nothing that a deploy makes is overlooked; what is another stage's, or its name only begins so, is not in it."""
    assert leftovers(access, "acme-etl-dev", "/acme-etl/dev") == []
    make_everything(access, "acme-etl-dev", "/acme-etl/dev")
    make_everything(access, "acme-etl-development", "/acme-etl/development")
    assert sorted(leftovers(access, "acme-etl-dev", "/acme-etl/dev")) == [
        "alarm acme-etl-dev-alarm",
        "bucket acme-etl-dev-bucket",
        "dashboard acme-etl-dev",
        "event source mapping of acme-etl-dev-function",
        "function acme-etl-dev-function",
        "layer acme-etl-dev-layer",
        "log group acme-etl-dev-group",
        "parameter /acme-etl/dev/step/parameter",
        "policy acme-etl-dev-policy",
        "queue acme-etl-dev-queue",
        "role acme-etl-dev-role",
        "rule acme-etl-dev-rule",
        "stack acme-etl-dev",
        "topic acme-etl-dev-in-stack",
        "topic acme-etl-dev-topic",
    ]


def test_deleted_stack_is_gone(access: AwsAccess) -> None:
    """CloudFormation goes on listing it, with the status that says so."""
    stacks = access.client("cloudformation")
    template = {"Resources": {"Own": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "gone"}}}}
    stacks.create_stack(StackName="acme-etl-gone", TemplateBody=json.dumps(template))
    assert leftovers(access, "acme-etl-gone", "/acme-etl/gone") == ["stack acme-etl-gone"]
    stacks.delete_stack(StackName="acme-etl-gone")
    assert leftovers(access, "acme-etl-gone", "/acme-etl/gone") == []
