"""Where a stage's HTTP API is: what `sls` made of the functions' events, as its stack tells it."""

from __future__ import annotations

from collections.abc import Mapping

from qualtrics_etl.aws.access import StageAccess, stage_failures

EMULATED_PATH = "/_aws/execute-api/{api_id}/%24default"


def api_url(access: StageAccess) -> str:
    """Return the address that the paths of a stage's services follow.

    Raises:
        ConfigurationError: The stage was not deployed, or none of its services has an `httpApi` event.
    """
    stack = f"{access.slug}-{access.stage}"
    address = address_in(_outputs(access, stack), access.aws.endpoint_url)
    if address is None:
        raise access.not_deployed(f"HTTP API of the stack {stack}")
    return address


def address_in(outputs: Mapping[str, str], emulator_url: str | None) -> str | None:
    """Return the address that a stack's outputs name; on an emulator, which has one for all. None without an API."""
    if "HttpApiId" not in outputs:
        return None
    if emulator_url:
        return emulator_url + EMULATED_PATH.format(api_id=outputs["HttpApiId"])
    return outputs["HttpApiUrl"]


def _outputs(access: StageAccess, stack: str) -> dict[str, str]:
    from botocore.exceptions import ClientError

    client = access.aws.client("cloudformation")
    with stage_failures(f"Looking at the stack {stack}"):
        try:
            found = client.describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as exc:
            # CloudFormation has no code of its own for this. Source: its API reference, DescribeStacks.
            if "does not exist" in str(exc):
                return {}
            raise
    return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
