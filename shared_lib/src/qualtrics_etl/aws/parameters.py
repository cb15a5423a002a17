"""Parameters that a deploy looks at: what Terraform handed over, and which secrets still wait for a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.failures import aws_failures
from qualtrics_etl.aws.secrets import UNSET

if TYPE_CHECKING:
    from mypy_boto3_ssm.type_defs import ParameterStringFilterTypeDef

BATCH = 10
"""Source: AWS Systems Manager API reference, GetParameters (most names of a request)."""


def read_parameters(access: AwsAccess, names: Iterable[str], *, secrets: bool = False) -> dict[str, str]:
    """Return the values of those parameters that are there.

    Args:
        access: Where to ask.
        names: Full names, for example `/acme-etl/dev/bucket`.
        secrets: Whether encrypted values are decrypted; without it they are ciphertext.
    """
    return {each["Name"]: str(each["Value"]) for each in _read(access, names, secrets=secrets)}


def secret_versions(access: AwsAccess, prefix: str, names: Sequence[str]) -> dict[str, int]:
    """Return how often each secret's value was set, in the order given; 0 where there is no parameter.

    With 1 it is the placeholder that Terraform made, with more somebody has set it. The values are not asked for, not
    even encrypted: a pipeline may not.

    Args:
        access: Where to ask.
        prefix: `/{slug}/{stage}`.
        names: Short names, for example `qualtrics_api_token`; at most 50.
    """
    parameters = {f"{prefix}/{name}": name for name in names}
    filters: list[ParameterStringFilterTypeDef] = [{"Key": "Name", "Option": "Equals", "Values": list(parameters)}]
    versions = dict.fromkeys(names, 0)
    with aws_failures("Looking for the stage's secrets"):
        for page in access.client("ssm").get_paginator("describe_parameters").paginate(ParameterFilters=filters):
            versions.update({parameters[each["Name"]]: int(each["Version"]) for each in page["Parameters"]})
    return versions


def delete_unset(access: AwsAccess, names: Iterable[str]) -> list[str]:
    """Delete secrets' parameters that still have Terraform's placeholder, by full name; return those that are set.

    As long as one is set, none is deleted.
    """
    names = list(names)
    values = read_parameters(access, names, secrets=True)
    taken = [name for name in names if values.get(name, UNSET) != UNSET]
    if not taken:
        client, rest = access.client("ssm"), iter(names)
        with aws_failures("Deleting parameters of secrets that were never set"):
            while batch := list(islice(rest, BATCH)):
                client.delete_parameters(Names=batch)
    return taken


def _read(access: AwsAccess, names: Iterable[str], *, secrets: bool) -> Iterator[Mapping[str, Any]]:
    client, rest = access.client("ssm"), iter(names)
    with aws_failures("Reading the stage's parameters"):
        while batch := list(islice(rest, BATCH)):
            yield from client.get_parameters(Names=batch, WithDecryption=secrets)["Parameters"]
