"""What there is of a stage on AWS, by its names: what a destroy has to take, and must not leave behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.failures import aws_failures

GONE = "DELETE_COMPLETE"
"""Status of a stack that CloudFormation still lists for 90 days."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """How one kind of thing is listed.

    Attributes:
        kind: What it is called in a report.
        service: The AWS service, as boto3 calls it.
        operation: The paginated operation, as boto3 calls it.
        names: Takes the names out of a page.
        arguments: Of the operation, given the names' beginning.
    """

    kind: str
    service: str
    operation: str
    names: Callable[[Any], Iterable[str]]
    arguments: Callable[[str], dict[str, Any]] = lambda prefix: {}


def _each(member: str, name: str) -> Callable[[Any], Iterable[str]]:
    return lambda page: [str(each[name]) for each in page.get(member, [])]


def _last(separator: str, names: Callable[[Any], Iterable[str]]) -> Callable[[Any], Iterable[str]]:
    return lambda page: [name.rpartition(separator)[2] for name in names(page)]


def _stacks(page: Any) -> Iterator[str]:
    return (str(each["StackName"]) for each in page["StackSummaries"] if each["StackStatus"] != GONE)


def _alarms(page: Any) -> Iterator[str]:
    return (str(each["AlarmName"]) for kind in ("MetricAlarms", "CompositeAlarms") for each in page.get(kind, []))


_LISTINGS = (
    _Listing("stack", "cloudformation", "list_stacks", _stacks),
    _Listing("function", "lambda", "list_functions", _each("Functions", "FunctionName")),
    _Listing("layer", "lambda", "list_layers", _each("Layers", "LayerName")),
    _Listing(
        "event source mapping of",
        "lambda",
        "list_event_source_mappings",
        _last(":function:", _each("EventSourceMappings", "FunctionArn")),
    ),
    _Listing("HTTP API", "apigatewayv2", "get_apis", _each("Items", "Name")),
    _Listing("rule", "events", "list_rules", _each("Rules", "Name"), lambda prefix: {"NamePrefix": prefix}),
    _Listing(
        "queue",
        "sqs",
        "list_queues",
        lambda page: [url.rpartition("/")[2] for url in page.get("QueueUrls", [])],
        lambda prefix: {"QueueNamePrefix": prefix},
    ),
    _Listing("bucket", "s3", "list_buckets", _each("Buckets", "Name")),
    _Listing("topic", "sns", "list_topics", _last(":", _each("Topics", "TopicArn"))),
    _Listing(
        "log group",
        "logs",
        "describe_log_groups",
        _last("/", _each("logGroups", "logGroupName")),
        lambda prefix: {"logGroupNamePrefix": f"/aws/lambda/{prefix}"},
    ),
    _Listing("alarm", "cloudwatch", "describe_alarms", _alarms, lambda prefix: {"AlarmNamePrefix": prefix}),
    _Listing(
        "dashboard",
        "cloudwatch",
        "list_dashboards",
        _each("DashboardEntries", "DashboardName"),
        lambda prefix: {"DashboardNamePrefix": prefix},
    ),
    _Listing("role", "iam", "list_roles", _each("Roles", "RoleName")),
    _Listing("policy", "iam", "list_policies", _each("Policies", "PolicyName"), lambda prefix: {"Scope": "Local"}),
)


def leftovers(access: AwsAccess, prefix: str, parameter_prefix: str) -> list[str]:
    """Return what there is of a stage: kind and name of each, for example `queue acme-etl-dev-parse-file`.

    What `qetl bootstrap` made (state bucket, roles of the CI, boundary) is among it as long as it is there; what is one
    for a whole account is not.

    Args:
        access: Where to look.
        prefix: `{slug}-{stage}`: a thing of that name, or of one that goes on with a hyphen, is the stage's.
        parameter_prefix: `/{slug}/{stage}`.
    """
    services = ["ssm", *dict.fromkeys(listing.service for listing in _LISTINGS)]
    clients = dict(zip(services, access.clients(*services), strict=True))
    found = [
        f"{listing.kind} {name}" for listing in _LISTINGS for name in _names(clients[listing.service], listing, prefix)
    ]
    return found + [f"parameter {name}" for name in _parameters(clients["ssm"], parameter_prefix)]


def _names(client: Any, listing: _Listing, prefix: str) -> Iterator[str]:
    with aws_failures(f"Listing what there is of kind {listing.kind}"):
        for page in client.get_paginator(listing.operation).paginate(**listing.arguments(prefix)):
            yield from (name for name in listing.names(page) if name == prefix or name.startswith(f"{prefix}-"))


def _parameters(client: Any, prefix: str) -> Iterator[str]:
    pages = client.get_paginator("get_parameters_by_path")
    with aws_failures(f"Listing the parameters below {prefix}"):
        for page in pages.paginate(Path=prefix, Recursive=True):
            yield from (str(each["Name"]) for each in page["Parameters"])
