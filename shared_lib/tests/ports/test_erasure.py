"""What is erased is gone, with every version; what is not meant stays; and a broken erasure is finished by the next."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from qualtrics_etl.aws import erasure as erasure_module
from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.erasure import Erasure
from qualtrics_etl.aws.objects import S3Objects
from qualtrics_etl.errors import RetryableError
from qualtrics_etl.workflow import Service, Workflow

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ACCOUNT = "123456789012"
RUN = "acme-etl-0123456789ab"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
USUAL = {"timeout_seconds": 60, "memory_mb": 256, "concurrency": 2, "batch_size": 1, "max_receive_count": 3}
FETCH = Service.model_validate({"kind": "fetch_sftp_file", "schedule": "rate(1 hour)", **USUAL})
WORKFLOW = Workflow("acme-etl", {"x": ("fetch_sftp_file",)}, {"fetch_sftp_file": FETCH}, {"fetch_sftp_file": ()})


@dataclass
class Bucket:
    """A versioned bucket on the emulator."""

    name: str
    access: AwsAccess
    s3: S3Client

    def put(self, key: str, *bodies: bytes) -> None:
        """Write an object several times."""
        for body in bodies:
            self.s3.put_object(Bucket=self.name, Key=key, Body=body)

    def delete(self, key: str) -> None:
        """Put a delete marker upon an object."""
        self.s3.delete_object(Bucket=self.name, Key=key)

    def keys(self) -> list[str]:
        """Return the key of every version and every delete marker."""
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=self.name)
        return sorted(
            each["Key"] for page in pages for each in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        )

    def left(self) -> list[str]:
        """Return the same without the record, which has a version for its beginning and one for its end."""
        return [key for key in self.keys() if key != f"ledger/{RUN}/erased.json"]

    def erasure(self) -> Erasure:
        """Return the erasure of the run."""
        return Erasure(WORKFLOW, RUN, self.access, self.name, ACCOUNT)

    def record(self) -> Any:
        """Return what the ledger says was erased."""
        body = self.s3.get_object(Bucket=self.name, Key=f"ledger/{RUN}/erased.json")["Body"].read()
        return json.loads(body)["erased"]


@pytest.fixture
def bucket(emulator) -> Bucket:
    """An empty one."""
    access = AwsAccess("eu-west-1", emulator.url, (ACCOUNT, "test"))
    name, s3 = f"erasure-{uuid.uuid4().hex}", access.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return Bucket(name, access, s3)


def test_every_version_of_the_run_goes_and_nothing_else(bucket: Bucket) -> None:
    """Old versions, deleted objects and their markers go; runs whose names begin alike stay, and so does the ledger."""
    bucket.put(f"payloads/{RUN}/parse_file/batches/00000", b"old", b"new")
    bucket.put(f"payloads/{RUN}/deleted", b"gone")
    bucket.delete(f"payloads/{RUN}/deleted")
    bucket.put(f"rejects/{RUN}/parse_file/00000.csv", b"bad")
    stays = [f"payloads/{RUN}-staff/x", f"rejects/{RUN}0/x", f"ledger/{RUN}/parse_file/all", "files/seen/x"]
    for key in stays:
        bucket.put(key, b"x")
    found = bucket.erasure().look()
    assert (found.count("payloads"), found.count("rejects"), found.count("file")) == (4, 1, 0)
    erased = bucket.erasure().erase(found, NOW)
    assert erased.counts == {"payloads": 4, "rejects": 1}
    assert bucket.left() == sorted(stays)
    assert bucket.record() == [{"at": "2026-11-22 09:00 UTC", "versions": {"payloads": 4, "rejects": 1}}]


def test_more_than_a_thousand_versions_go_and_a_stop_is_made_good(bucket: Bucket) -> None:
    """Stopped between two thousands, what is gone is recorded, and the next one erases the rest."""
    for number in range(1003):
        bucket.put(f"payloads/{RUN}/x/{number:05}", b"x")
    steps: list[int] = []
    first = bucket.erasure()
    first.erase(first.look(), NOW, stopped=lambda: bool(steps), progress=steps.append)
    assert (steps, len(bucket.left())) == ([1000], 3)
    second = bucket.erasure()
    assert second.erase(second.look(), NOW).counts == {"payloads": 3}
    assert [each["versions"] for each in bucket.record()] == [{"payloads": 1000}, {"payloads": 3}]
    assert bucket.erasure().look().total == 0


def test_erasure_that_breaks_off_records_what_is_gone(bucket: Bucket) -> None:
    """Where S3 fails half-way, the record says how far it came."""
    bucket.put(f"payloads/{RUN}/x", b"x")
    bucket.put(f"rejects/{RUN}/x", b"x")
    erasure = bucket.erasure()
    found = erasure.look()

    def fail(count: int) -> None:
        raise RetryableError("S3 is away")

    with pytest.raises(RetryableError):
        erasure.erase(found, NOW, progress=fail)
    assert bucket.record() == [{"at": "2026-11-22 09:00 UTC", "versions": {"payloads": 1}, "left": 1}]
    assert bucket.erasure().erase(bucket.erasure().look(), NOW).counts == {"rejects": 1}
    assert bucket.record() == [
        {"at": "2026-11-22 09:00 UTC", "versions": {"payloads": 1}},
        {"at": "2026-11-22 09:00 UTC", "versions": {"rejects": 1}},
    ]


def test_what_cannot_be_recorded_is_not_erased(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not write the ledger is told before anything is gone."""
    bucket.put(f"payloads/{RUN}/x", b"x")
    erasure = bucket.erasure()
    found = erasure.look()
    monkeypatch.setattr(S3Objects, "put", refuse)
    with pytest.raises(RetryableError):
        erasure.erase(found, NOW)
    assert bucket.keys() == [f"payloads/{RUN}/x"]


def test_uploads_that_may_not_be_aborted_stop_it_before_anything_is_gone(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next one would find nothing left, and their parts would stay."""
    bucket.put(f"payloads/{RUN}/x", b"x")
    erasure = bucket.erasure()
    found = erasure.look()
    monkeypatch.setattr(erasure_module, "abort_uploads", refuse)
    with pytest.raises(RetryableError):
        erasure.erase(found, NOW)
    assert bucket.keys() == [f"ledger/{RUN}/erased.json", f"payloads/{RUN}/x"]
    assert bucket.record() == [{"at": "", "begun": "2026-11-22 09:00 UTC", "found": {"payloads": 1}}]


def test_erasure_that_was_killed_before_its_record_is_completed_by_the_next(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left to find then: what it had found is recorded as gone, and later ones change nothing."""
    bucket.put(f"payloads/{RUN}/x", b"x")
    erasure = bucket.erasure()
    found = erasure.look()
    monkeypatch.setattr(erasure, "_record", refuse)
    with pytest.raises(RetryableError):
        erasure.erase(found, NOW)
    for hour in (10, 11):
        bucket.erasure().erase(bucket.erasure().look(), NOW.replace(hour=hour))
    assert bucket.record() == [
        {"at": "2026-11-22 10:00 UTC", "begun": "2026-11-22 09:00 UTC", "found": {"payloads": 1}}
    ]
    assert len(bucket.keys()) == 2  # two versions of the record


def refuse(*args: object, **kwargs: object) -> None:
    """Fail, as where a right is missing."""
    raise RetryableError("Denied")


def test_parts_of_uploads_that_never_ended_go_too(bucket: Bucket) -> None:
    """A worker that was killed while it stored an object leaves parts, which hold rows."""
    for run in (RUN, f"{RUN}-staff"):
        bucket.s3.create_multipart_upload(Bucket=bucket.name, Key=f"payloads/{run}/large")
    bucket.erasure().erase(bucket.erasure().look(), NOW)
    left = bucket.s3.list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])
    assert [each["Key"] for each in left] == [f"payloads/{RUN}-staff/large"]
