"""The CloudFormation stack that holds a stage's functions: what state it is in, and how to get it out of a bad one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.failures import aws_failures
from qualtrics_etl.errors import PermanentError, QualtricsEtlError

GONE = ""
"""The status of a stack that is not there."""
WORTHLESS = frozenset({"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS", "DELETE_FAILED"})
"""Nothing works in such a stack, and it takes no update: it can only be deleted.

Source: AWS CloudFormation user guide, stack status codes."""
STUCK = "UPDATE_ROLLBACK_FAILED"
"""Neither the new nor the old functions are whole; somebody must say what to leave out."""
WAIT_SECONDS = 1800
"""How long a busy stack is waited for."""


def stack_status(access: AwsAccess, stack: str) -> str:
    """Return the status of a stack, for example `UPDATE_COMPLETE`; `GONE` when there is none."""
    return _status(access.client("cloudformation"), stack)


def is_busy(status: str) -> bool:
    """Tell whether CloudFormation is at work on a stack."""
    return status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS"


def await_stack(
    access: AwsAccess,
    stack: str,
    *,
    progress: Callable[[str], None] = lambda status: None,
    sleep: Callable[[float], None] = time.sleep,
    poll_seconds: float = 2.0,
) -> str:
    """Wait until CloudFormation is no longer at work on a stack; return the status it ends in.

    Args:
        access: Where it is.
        stack: Its name.
        progress: Called with the status at each look that finds it busy.
        sleep: How to wait.
        poll_seconds: Seconds between two looks.

    Raises:
        QualtricsEtlError: It is still busy after half an hour.
    """
    client = access.client("cloudformation")
    for _ in range(int(WAIT_SECONDS / poll_seconds)):
        status = _status(client, stack)
        if not is_busy(status):
            return status
        progress(status)
        sleep(poll_seconds)
    raise QualtricsEtlError(
        f"CloudFormation has been at work on the stack {stack} for half an hour.",
        remedy="Look at its events in the console; then run the same command again.",
    )


def delete_stack(
    access: AwsAccess,
    stack: str,
    *,
    progress: Callable[[str], None] = lambda status: None,
    poll_seconds: float = 2.0,
) -> None:
    """Delete a stack with all functions in it, and wait for the end; nothing happens where there is none.

    Raises:
        PermanentError: CloudFormation can't delete it; names the resource and the reason.
    """
    client = access.client("cloudformation")
    with aws_failures(f"Deleting the stack {stack}"):
        client.delete_stack(StackName=stack)
    status = await_stack(access, stack, progress=progress, poll_seconds=poll_seconds)
    if status != GONE:
        raise PermanentError(
            f"CloudFormation could not delete the stack {stack} ({status}){_reason(client, stack)}.",
            remedy="Take away what holds it, then run the same command again.",
        )


def stuck(stack: str, region: str) -> PermanentError:
    """Return the error for a stack whose way back failed."""
    return PermanentError(
        f"The stack {stack} is in {STUCK}: an update failed, and so did the way back.",
        remedy=(
            f"Run `aws cloudformation continue-update-rollback --stack-name {stack} --region {region}`, wait for its"
            " end, then deploy again."
        ),
    )


def _status(client: Any, stack: str) -> str:
    from botocore.exceptions import ClientError

    with aws_failures(f"Looking at the stack {stack}"):
        try:
            status = str(client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])
        except ClientError as exc:
            # CloudFormation has no code of its own for this. Source: its API reference, DescribeStacks.
            if "does not exist" in str(exc):
                return GONE
            raise
    return GONE if status == "DELETE_COMPLETE" else status


def _reason(client: Any, stack: str) -> str:
    """Return the first failure among a stack's newest events, to be put behind a sentence."""
    with aws_failures(f"Reading the events of the stack {stack}"):
        events = client.describe_stack_events(StackName=stack)["StackEvents"]
    failed = [
        each for each in events if each["ResourceStatus"].endswith("_FAILED") and each.get("ResourceStatusReason")
    ]
    return f": {failed[-1]['LogicalResourceId']}, {failed[-1]['ResourceStatusReason'].rstrip('.')}" if failed else ""
