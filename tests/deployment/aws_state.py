"""All that a deployment is, as AWS tells it: to be compared with what another deployment came to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3

Described = dict[str, Any]
VOLATILE = {
    "CreateDate",
    "CreatedTimestamp",
    "CreationDate",
    "EventSourceMappingArn",
    "LastModified",
    "LastModifiedDate",
    "LastModifiedTimestamp",
    "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode",
    "LastUpdatedTime",
    "ResponseMetadata",
    "RevisionId",
    "RoleId",
    "RoleLastUsed",
    "StateReason",
    "StateReasonCode",
    "UUID",
    "Version",
    "creationTime",
}
"""What differs between two deployments of the same: times, ids that AWS makes up, and how it came to be."""


def aws_state(endpoint: str, region: str) -> Described:
    """Return everything of an account on the emulator: kind and name, and what is said of it."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=region)

    def client(name: str) -> Any:
        return session.client(name, endpoint_url=endpoint)

    found: Described = {}
    for describe in (_queues, _buckets, _roles, _parameters, _functions, _rules, _alarms, _logs, _topics, _stacks):
        found.update({name: _stable(said) for name, said in describe(client)})
    # Where the emulator listens is in the queues' URLs, and another one at each start.
    moved: Described = json.loads(json.dumps(found, default=str).replace(endpoint, "https://aws"))
    return moved


def differences(expected: Described, found: Described) -> list[str]:
    """Return what is other, missing or too much: a line each."""
    lines = [f"{name} is missing" for name in expected.keys() - found.keys()]
    lines += [f"{name} is too much" for name in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        if expected[name] != found[name]:
            lines.append(f"{name}: {_other(expected[name], found[name])}")
    return sorted(lines)


def _other(expected: Any, found: Any) -> str:
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted(expected.keys() | found.keys())
        other = [key for key in keys if expected.get(key) != found.get(key)]
        return "; ".join(f"{key} was {expected.get(key)!r}, is {found.get(key)!r}" for key in other)
    return f"was {expected!r}, is {found!r}"


Client = Callable[[str], Any]
Named = Iterator[tuple[str, Any]]


def _queues(client: Client) -> Named:
    sqs = client("sqs")
    for url in sqs.list_queues().get("QueueUrls", []):
        said = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        wanted = {key: value for key, value in said.items() if not key.startswith("ApproximateNumber")}
        yield f"queue {url.rsplit('/', 1)[1]}", wanted | {"tags": sqs.list_queue_tags(QueueUrl=url).get("Tags")}


def _buckets(client: Client) -> Named:
    s3 = client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        name = bucket["Name"]
        policy = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])
        tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=name)["TagSet"]}
        access = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        yield f"bucket {name}", {"policy": policy, "tags": tags, "access": access}


def _roles(client: Client) -> Named:
    iam = client("iam")
    for role in iam.list_roles()["Roles"]:
        name = role["RoleName"]
        policies = {
            policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        }
        yield f"role {name}", iam.get_role(RoleName=name)["Role"] | {"policies": policies}


def _parameters(client: Client) -> Named:
    ssm = client("ssm")
    for page in ssm.get_paginator("describe_parameters").paginate():
        for parameter in page["Parameters"]:
            said = ssm.get_parameter(Name=parameter["Name"], WithDecryption=True)["Parameter"]
            yield f"parameter {parameter['Name']}", {"type": said["Type"], "value": said["Value"]}


def _functions(client: Client) -> Named:
    functions = client("lambda")
    for page in functions.get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            layers = [layer["Arn"].rsplit(":", 1)[0] for layer in function.get("Layers", [])]
            yield f"function {function['FunctionName']}", function | {"Layers": layers}
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        yield f"mapping of {mapping['FunctionArn'].rsplit(':', 1)[1]}", mapping


def _rules(client: Client) -> Named:
    events = client("events")
    for rule in events.list_rules()["Rules"]:
        targets = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        yield f"rule {rule['Name']}", rule | {"targets": [target["Arn"] for target in targets]}


def _alarms(client: Client) -> Named:
    watch = client("cloudwatch")
    for page in watch.get_paginator("describe_alarms").paginate():
        for alarm in page["MetricAlarms"]:
            wanted = ("MetricName", "Namespace", "Threshold", "Dimensions", "AlarmActions", "AlarmDescription")
            yield f"alarm {alarm['AlarmName']}", {key: alarm.get(key) for key in wanted}
    for dashboard in watch.list_dashboards()["DashboardEntries"]:
        said = watch.get_dashboard(DashboardName=dashboard["DashboardName"])["DashboardBody"]
        yield f"dashboard {dashboard['DashboardName']}", json.loads(said)


def _logs(client: Client) -> Named:
    for page in client("logs").get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            yield f"log group {group['logGroupName']}", {"days": group.get("retentionInDays")}


def _topics(client: Client) -> Named:
    sns = client("sns")
    for topic in sns.list_topics()["Topics"]:
        subscriptions = sns.list_subscriptions_by_topic(TopicArn=topic["TopicArn"])["Subscriptions"]
        yield f"topic {topic['TopicArn']}", [(each["Protocol"], each["Endpoint"]) for each in subscriptions]


def _stacks(client: Client) -> Named:
    for stack in client("cloudformation").describe_stacks()["Stacks"]:
        yield f"stack {stack['StackName']}", {"complete": stack["StackStatus"].endswith("_COMPLETE")}


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stable(inner) for key, inner in sorted(value.items()) if key not in VOLATILE}
    if isinstance(value, list | tuple):
        return sorted(
            (_stable(inner) for inner in value), key=lambda each: json.dumps(each, sort_keys=True, default=str)
        )
    return value
