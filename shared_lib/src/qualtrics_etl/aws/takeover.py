"""What stands in the way of a plan: things that it would create, and that are on AWS already.

A deploy that was killed leaves them behind: made, and written into no state. By their tags they are told from what
belongs to somebody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from qualtrics_etl.aws.account import POOL, AwsAccess
from qualtrics_etl.aws.failures import aws_failures, error_code

_MISSING = frozenset(
    {
        "404",
        "AWS.SimpleQueueService.NonExistentQueue",
        "InvalidResourceId",
        "NoSuchBucket",
        "NoSuchEntity",
        "NoSuchTagSet",
        "NotFound",
        "ParameterNotFound",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)


@dataclass(frozen=True, slots=True)
class Planned:
    """One thing that a plan would create.

    Attributes:
        address: In Terraform's words, for example `module.service["parse_file"].aws_sqs_queue.this`.
        kind: Terraform's type, for example `aws_sqs_queue`.
        values: Its arguments, as far as they are known before it is made.
    """

    address: str
    kind: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """Something on AWS that has the name of something planned.

    Attributes:
        planned: What has the same name.
        import_id: What Terraform calls it when it is taken over.
        ours: Whether its tags say that it belongs to this client and stage.
        tags: Its tags.
    """

    planned: Planned
    import_id: str
    ours: bool
    tags: Mapping[str, str]


Tags = Mapping[str, str]
_Finder = Callable[[Any, Planned, str], tuple[str, Tags] | None]


def find_existing(access: AwsAccess, account: str, planned: Iterable[Planned], tags: Tags) -> list[Found]:
    """Return what is there already of what a plan would create, in the plan's order.

    Args:
        access: Where to look.
        account: The stage's account.
        planned: What the plan creates; kinds that may be made over what is there are left out by themselves.
        tags: What something of ours is tagged with: client and stage.
    """
    looked_for = [each for each in planned if each.kind in _FINDERS]
    services = list(dict.fromkeys(_FINDERS[each.kind][0] for each in looked_for))
    clients = dict(zip(services, access.clients(*services), strict=True)) if services else {}

    def look(each: Planned) -> Found | None:
        service, finder = _FINDERS[each.kind]
        with aws_failures(f"Looking whether {each.address} is there already"):
            found = _or_none(lambda: finder(clients[service], each, account))
        if found is None:
            return None
        import_id, has = found
        # A bucket gets its tags after its creation, and its name is unique: without any, it is ours by its account.
        unfinished = each.kind == "aws_s3_bucket" and not has
        return Found(each, import_id, unfinished or tags.items() <= has.items(), has)

    with ThreadPoolExecutor(POOL) as pool:
        return [found for found in pool.map(look, looked_for) if found is not None]


def _or_none(find: Callable[[], tuple[str, Tags] | None]) -> tuple[str, Tags] | None:
    from botocore.exceptions import ClientError

    try:
        return find()
    except ClientError as exc:
        if error_code(exc) in _MISSING:
            return None
        raise


def _role(client: Any, planned: Planned, account: str) -> tuple[str, Tags] | None:
    name = planned.values["name"]
    return name, _pairs(client.get_role(RoleName=name)["Role"].get("Tags", []))


def _policy(client: Any, planned: Planned, account: str) -> tuple[str, Tags] | None:
    path, name = planned.values.get("path") or "/", planned.values["name"]
    partition = client.meta.partition
    arn = f"arn:{partition}:iam::{account}:policy{path}{name}"
    return arn, _pairs(client.get_policy(PolicyArn=arn)["Policy"].get("Tags", []))


def _log_group(client: Any, planned: Planned, account: str) -> tuple[str, Tags] | None:
    name = planned.values["name"]
    answer = client.describe_log_groups(logGroupNamePrefix=name, limit=50)
    arn = next((each["arn"] for each in answer["logGroups"] if each["logGroupName"] == name), None)
    if arn is None:
        return None
    return name, client.list_tags_for_resource(resourceArn=arn.removesuffix(":*")).get("tags", {})


def _parameter(client: Any, planned: Planned, account: str) -> tuple[str, Tags] | None:
    name = planned.values["name"]
    # Without decryption: a secret's value is none of our business here.
    client.get_parameter(Name=name)
    return name, _pairs(client.list_tags_for_resource(ResourceType="Parameter", ResourceId=name).get("TagList", []))


def _bucket(client: Any, planned: Planned, account: str) -> tuple[str, Tags] | None:
    from botocore.exceptions import ClientError

    name = planned.values["bucket"]
    try:
        client.head_bucket(Bucket=name, ExpectedBucketOwner=account)
    except ClientError as exc:
        if error_code(exc) in ("403", "AccessDenied"):
            return name, {"account": "another"}
        raise
    tags = _or_none(lambda: (name, _pairs(client.get_bucket_tagging(Bucket=name).get("TagSet", []))))
    return tags or (name, {})


def _queue(client: Any, planned: Planned, account: str) -> tuple[str, Tags] | None:
    url = client.get_queue_url(QueueName=planned.values["name"])["QueueUrl"]
    return url, client.list_queue_tags(QueueUrl=url).get("Tags", {})


def _topic(client: Any, planned: Planned, account: str) -> tuple[str, Tags] | None:
    arn = f"arn:{client.meta.partition}:sns:{client.meta.region_name}:{account}:{planned.values['name']}"
    client.get_topic_attributes(TopicArn=arn)
    return arn, _pairs(client.list_tags_for_resource(ResourceArn=arn).get("Tags", []))


def _pairs(tags: Iterable[Mapping[str, str]]) -> Tags:
    return {each["Key"]: each["Value"] for each in tags}


_FINDERS: Mapping[str, tuple[str, _Finder]] = {
    "aws_cloudwatch_log_group": ("logs", _log_group),
    "aws_iam_policy": ("iam", _policy),
    "aws_iam_role": ("iam", _role),
    "aws_s3_bucket": ("s3", _bucket),
    "aws_sns_topic": ("sns", _topic),
    "aws_sqs_queue": ("sqs", _queue),
    "aws_ssm_parameter": ("ssm", _parameter),
}
"""AWS refuses to make these twice, or would silently give us what is somebody else's. Everything else of the roots is
set over what is there (alarms, dashboards), or belongs to one of these."""
