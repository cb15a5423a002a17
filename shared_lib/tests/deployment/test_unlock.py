"""Which locks `qetl unlock` looks at, when a pipeline runs it."""

from __future__ import annotations

import json

import pytest

from qualtrics_etl.aws.buckets import write_small_object
from qualtrics_etl.deployment.bootstrap import ROOT as BOOTSTRAP_ROOT
from qualtrics_etl.deployment.stage import Stage
from qualtrics_etl.deployment.unlock import lock_of
from qualtrics_etl.errors import PermanentError

NOTE = json.dumps({"ID": "1", "Who": "ci@runner", "Operation": "OperationTypeApply", "Created": "2026-01-01T00:00:00Z"})


def test_lock_that_may_not_be_seen_is_the_bootstraps_alone(stage: Stage) -> None:
    """Who may not look at the bootstrap's lock is not kept from the stage's; a stage's own is never passed over."""
    s3, bucket = stage.access.client("s3"), stage.bucket("state")
    write_small_object(stage.access, bucket, "own.tflock", NOTE)
    # The emulator here asks for no rights. Like one without them, an archived object answers 403.
    s3.put_object(Bucket=bucket, Key="hidden.tflock", Body=NOTE, StorageClass="GLACIER")
    found = [lock_of(stage, root, "own") for root in ("terraform", BOOTSTRAP_ROOT)]
    assert [each and each.who for each in found] == ["ci@runner", "ci@runner"]
    assert lock_of(stage, BOOTSTRAP_ROOT, "hidden") is None
    with pytest.raises(PermanentError, match=r"hidden\.tflock"):
        lock_of(stage, "terraform", "hidden")
