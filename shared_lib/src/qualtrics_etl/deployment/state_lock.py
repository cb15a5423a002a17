"""Terraform's own lock of a state: who holds it, and whether it is only what a killed deploy of ours left behind."""

from __future__ import annotations

import json
import os
import pwd
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from typing_extensions import override

from qualtrics_etl.aws.buckets import read_small_object
from qualtrics_etl.deployment.lock import StageLock
from qualtrics_etl.deployment.report import Report
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.deployment.terraform import Terraform
from qualtrics_etl.errors import QualtricsEtlError

TAKEN_WITHIN = timedelta(seconds=60)
"""Terraform takes the lock seconds after it starts. What was taken later is not our dead program's: another copy of
this repository may deploy from the same machine."""
CLOCK_GRAIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class StateLock:
    """A lock, as it lies in the bucket beside the state.

    Attributes:
        lock_id: What removes it.
        who: User and machine that took it, for example `ci@runner-7`.
        operation: What for, for example `OperationTypeApply`.
        created: When it was taken.
    """

    lock_id: str
    who: str
    operation: str
    created: datetime

    @override
    def __str__(self) -> str:
        operation = self.operation.removeprefix("OperationType").lower() or "an unknown command"
        return f"{self.who}, for {operation}, since {self.created:%Y-%m-%d %H:%M:%S} UTC"


def read_state_lock(stage: Stage, key: str) -> StateLock | None:
    """Return the lock of a state; None when it is free."""
    text = read_small_object(stage.access, stage.bucket("state"), f"{key}.tflock")
    if text is None:
        return None
    try:
        note = json.loads(text)
        created = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z?$|Z$", r"\1", note["Created"])).replace(tzinfo=UTC)
        return StateLock(note["ID"], note["Who"], note["Operation"], created)
    except (ValueError, KeyError, TypeError) as exc:
        raise QualtricsEtlError(
            f"s3://{stage.bucket('state')}/{key}.tflock is not a lock as Terraform writes it.",
            remedy="Look at it; delete it when nobody deploys.",
        ) from exc


def clear_stale_lock(stage: Stage, terraform: Terraform, lock: StageLock, report: Report) -> None:
    """Remove the lock that a killed deploy of this repository left; refuse to go on under anybody else's.

    Raises:
        QualtricsEtlError: Somebody else holds it, or may.
    """
    found = read_state_lock(stage, terraform.key)
    if found is not None:
        if not _is_ours(found, lock):
            raise QualtricsEtlError(
                f"The state of stage {stage.name} is locked by {found}.",
                remedy=f"Wait for its end. If it died, {stage.make('unlock')} removes the lock.",
            )
        terraform.force_unlock(found.lock_id)
        report.say(f"  A deploy that was killed had left its lock ({found}); it is removed.")


def _is_ours(found: StateLock, lock: StageLock) -> bool:
    began = lock.left_behind
    if began is None or found.who != who_we_are():
        return False
    return began.at - CLOCK_GRAIN <= found.created <= began.at + TAKEN_WITHIN


def who_we_are() -> str:
    """Return user and machine in Terraform's form."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a number that has no name
        user = os.environ.get("USER", "")
    return f"{user}@{socket.gethostname()}"
