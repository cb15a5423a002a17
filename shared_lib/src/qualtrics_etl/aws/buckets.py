"""Buckets that a deploy makes, finds and takes down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.failures import aws_failures, error_code
from qualtrics_etl.errors import PermanentError

PAGE = 1000
"""Source: Amazon S3 API reference, DeleteObjects (most keys of a request)."""


class Owner(Enum):
    """Whose a bucket is."""

    OURS = "ours"
    ELSEWHERE = "ours, in another region"
    NOBODY = "nobody"
    OTHERS = "others"


def owner_of(access: AwsAccess, bucket: str, account: str) -> Owner:
    """Tell whose a bucket is: bucket names are shared by all accounts of AWS.

    A bucket of our own that these credentials may not look at counts as somebody else's: S3 gives the same answer.
    """
    from botocore.exceptions import ClientError

    client = access.client("s3")
    with aws_failures(f"Looking for the bucket {bucket}"):
        try:
            answer = client.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
        except ClientError as exc:
            status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 404:
                return Owner.NOBODY
            if status == 301:
                return Owner.ELSEWHERE
            if status == 403:
                return Owner.OTHERS
            raise
    # boto3 follows S3 to the bucket's own region. Source: botocore.utils.S3RegionRedirectorv2.
    return Owner.OURS if answer.get("BucketRegion", access.region) == access.region else Owner.ELSEWHERE


def make_bucket(access: AwsAccess, bucket: str) -> None:
    """Make an empty private bucket in the stage's region; nothing happens where it is ours already."""
    from botocore.exceptions import ClientError

    # us-east-1 is the region that must not be named. Source: Amazon S3 API reference, CreateBucket.
    place = {} if access.region == "us-east-1" else {"LocationConstraint": access.region}
    with aws_failures(f"Making the bucket {bucket}"):
        try:
            access.client("s3").create_bucket(
                Bucket=bucket,
                **({"CreateBucketConfiguration": place} if place else {}),
                ObjectOwnership="BucketOwnerEnforced",
            )
        except ClientError as exc:
            if error_code(exc) != "BucketAlreadyOwnedByYou":
                raise


def empty_bucket(
    access: AwsAccess, bucket: str, account: str, *, progress: Callable[[int], None] = lambda deleted: None
) -> int:
    """Delete every version, delete marker and unfinished upload of our bucket; return how many there were.

    Nothing happens where there is no such bucket.

    Args:
        access: Where it is.
        bucket: Its name.
        account: Whose it must be; S3 refuses for any other.
        progress: Called with the number deleted so far, after each thousand.
    """
    from botocore.exceptions import ClientError

    client, deleted = access.client("s3"), 0
    with aws_failures(f"Emptying the bucket {bucket}"):
        try:
            for page in _pages_of_versions(client, bucket, account):
                delete_versions(access, bucket, account, page)
                deleted += len(page)
                progress(deleted)
            _abort_uploads(client, bucket, account)
        except ClientError as exc:
            if error_code(exc) != "NoSuchBucket":
                raise
    return deleted


def delete_versions(access: AwsAccess, bucket: str, account: str, page: Sequence[Mapping[str, str]]) -> None:
    """Delete versions of objects (`Key` and `VersionId` of at most 1,000), so that nothing of them is left.

    Raises:
        PermanentError: S3 keeps some of them.
    """
    with aws_failures(f"Deleting from the bucket {bucket}"):
        answer = access.client("s3").delete_objects(
            Bucket=bucket, Delete={"Objects": list(page), "Quiet": True}, ExpectedBucketOwner=account
        )
    _raise_for_kept(bucket, answer.get("Errors", []))


def delete_bucket(access: AwsAccess, bucket: str, account: str) -> None:
    """Delete our empty bucket; nothing happens where there is none."""
    from botocore.exceptions import ClientError

    with aws_failures(f"Deleting the bucket {bucket}"):
        try:
            access.client("s3").delete_bucket(Bucket=bucket, ExpectedBucketOwner=account)
        except ClientError as exc:
            if error_code(exc) != "NoSuchBucket":
                raise


def _pages_of_versions(client: Any, bucket: str, account: str) -> Iterator[list[dict[str, str]]]:
    # Asked from the start each time: what was listed is gone by then.
    while True:
        page = client.list_object_versions(Bucket=bucket, MaxKeys=PAGE, ExpectedBucketOwner=account)
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if not found:
            return
        yield [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]


def abort_uploads(access: AwsAccess, bucket: str, account: str, prefix: str) -> None:
    """Abort the unfinished uploads of objects whose key begins with `prefix`: their parts hold data too."""
    with aws_failures(f"Aborting unfinished uploads in the bucket {bucket}"):
        _abort_uploads(access.client("s3"), bucket, account, prefix)


def _abort_uploads(client: Any, bucket: str, account: str, prefix: str = "") -> None:
    pages = client.get_paginator("list_multipart_uploads")
    for page in pages.paginate(Bucket=bucket, Prefix=prefix, ExpectedBucketOwner=account):
        for upload in page.get("Uploads", []):
            client.abort_multipart_upload(
                Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"], ExpectedBucketOwner=account
            )


def _raise_for_kept(bucket: str, errors: list[Mapping[str, str]]) -> None:
    if errors:
        raise PermanentError(
            f"The bucket {bucket} keeps {len(errors)} objects: {errors[0]['Code']}, {errors[0].get('Message', '')}",
            remedy="Grant s3:DeleteObjectVersion on it, then run the command again.",
        )


def read_small_object(access: AwsAccess, bucket: str, key: str) -> str | None:
    """Return the text of an object; None when it, or its bucket, is not there."""
    from botocore.exceptions import ClientError

    with aws_failures(f"Reading s3://{bucket}/{key}"):
        try:
            body = access.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as exc:
            if error_code(exc) in ("NoSuchKey", "NoSuchBucket"):
                return None
            raise
        with body as stream:
            return str(stream.read().decode())


def write_small_object(access: AwsAccess, bucket: str, key: str, text: str) -> None:
    """Write an object."""
    with aws_failures(f"Writing s3://{bucket}/{key}"):
        access.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())
