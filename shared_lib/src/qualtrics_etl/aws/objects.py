"""The object store on S3: conditional puts, streams in constant memory, times from S3's own clock."""

from __future__ import annotations

import contextlib
import io
import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, BinaryIO, TypedDict

from typing_extensions import override

from qualtrics_etl.aws.clients import s3_client
from qualtrics_etl.aws.failures import aws_failures, error_code
from qualtrics_etl.aws.streams import ObjectReader, OpenedRange
from qualtrics_etl.errors import EXPIRED, InputError, PreconditionFailedError, RetryableError
from qualtrics_etl.ports import ObjectStore, ObjectSummary, PutResult, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ResponseMetadataTypeDef

PART_BYTES = 8 * 1024 * 1024
"""Size of the parts of a stream; S3 takes 10,000 of them, so a stream may be 78 GiB. Memory stays below five parts."""

READ_BUFFER_BYTES = 1024 * 1024

CONFLICT_WAIT_SECONDS = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
"""Waits after a 409, each multiplied by 0.5 to 1.5: below two seconds in all, the longest a function may sleep."""


class S3Objects(ObjectStore):
    """The objects of one bucket.

    botocore tries again after a broken connection or a 5xx, and the first attempt may have got through: a put with a
    condition can then meet its own success and raise `PreconditionFailedError`. So whoever puts with a condition writes
    something of its own into the object (the ledger: a nonce) and settles the error by reading back.

    Args:
        bucket: Its name.
        client: Another client than the process's own, for tests.
        sleep: How to wait after a 409, in seconds.
    """

    def __init__(
        self, bucket: str, client: S3Client | None = None, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._bucket = bucket
        self._given = client
        self._sleep = sleep

    @property
    def _client(self) -> S3Client:
        return self._given or s3_client()

    @override
    def get(self, key: str) -> StoredObject | None:
        client = self._client
        with aws_failures(f"Reading {self._where(key)}"):
            try:
                answer = client.get_object(Bucket=self._bucket, Key=key)
            except client.exceptions.NoSuchKey:
                return None
            with answer["Body"] as stream:
                body = stream.read()
        return StoredObject(
            key, body, answer["ETag"], answer["LastModified"], read_at=_server_time(answer["ResponseMetadata"])
        )

    @override
    def open(self, key: str, *, start: int = 0) -> BinaryIO:
        def fetch(position: int, etag: str | None) -> OpenedRange:
            return self._open_range(key, position, etag)

        return io.BufferedReader(ObjectReader(self._where(key), fetch, start), READ_BUFFER_BYTES)

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        condition: _Condition = {}
        if if_none_match:
            condition["IfNoneMatch"] = "*"
        if if_match is not None:
            condition["IfMatch"] = if_match
        for wait in CONFLICT_WAIT_SECONDS:
            result = self._try_put(key, body, condition)
            if result is not None:
                return result
            self._sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        raise RetryableError(
            f"Writing {self._where(key)} met another conditional put {len(CONFLICT_WAIT_SECONDS)} times in a row.",
            call_made=False,
        )

    @override
    def put_stream(self, key: str, chunks: Iterable[bytes]) -> PutResult:
        """Write an object from chunks: small ones by one put, others in parts.

        What fails half-way is aborted. Parts of a process that was killed stay until the bucket's lifecycle rule for
        incomplete uploads removes them.
        """
        parts = _cut(chunks)
        first = next(parts, b"")
        if len(first) < PART_BYTES:
            return self.put(key, first)
        return self._put_parts(key, itertools.chain([first], parts))

    @override
    def delete(self, key: str) -> None:
        with aws_failures(f"Deleting {self._where(key)}"):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    @override
    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectSummary]:
        pages = self._client.get_paginator("list_objects_v2")
        with aws_failures(f"Listing {self._where(prefix)}"):
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix, StartAfter=start_after):
                for line in page.get("Contents", []):
                    yield ObjectSummary(
                        line["Key"], line["Size"], line["ETag"], line["LastModified"].replace(microsecond=0)
                    )

    def _try_put(self, key: str, body: bytes, condition: _Condition) -> PutResult | None:
        """Put once; None when another conditional put of the same key is under way (409)."""
        client = self._client
        with aws_failures(f"Writing {self._where(key)}"):
            try:
                answer = client.put_object(Bucket=self._bucket, Key=key, Body=body, **condition)
            except client.exceptions.ClientError as exc:
                if error_code(exc) == "ConditionalRequestConflict":
                    return None
                if error_code(exc) == "NoSuchKey":
                    raise PreconditionFailedError(f"There is no {self._where(key)} to replace.") from exc
                raise
        return PutResult(answer["ETag"], written_at=_server_time(answer["ResponseMetadata"]))

    def _put_parts(self, key: str, parts: Iterable[bytes]) -> PutResult:
        client, where = self._client, _Place(Bucket=self._bucket, Key=key)
        with aws_failures(f"Writing {self._where(key)} in parts"):
            upload = client.create_multipart_upload(**where)["UploadId"]
            try:
                etags = [
                    client.upload_part(**where, UploadId=upload, PartNumber=number, Body=part)["ETag"]
                    for number, part in enumerate(parts, start=1)
                ]
                answer = client.complete_multipart_upload(
                    **where,
                    UploadId=upload,
                    MultipartUpload={"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]},
                )
            except BaseException:
                with contextlib.suppress(Exception):  # the first failure is the one to tell
                    client.abort_multipart_upload(**where, UploadId=upload)
                raise
        return PutResult(answer["ETag"], written_at=_server_time(answer["ResponseMetadata"]))

    def _open_range(self, key: str, start: int, etag: str | None) -> OpenedRange:
        client = self._client
        wanted: _Wanted = {}
        if start:
            wanted["Range"] = f"bytes={start}-"
        if etag is not None:
            wanted["IfMatch"] = etag
        with aws_failures(f"Reading {self._where(key)}"):
            try:
                answer = client.get_object(Bucket=self._bucket, Key=key, **wanted)
            except client.exceptions.NoSuchKey as exc:
                raise InputError(f"There is no {self._where(key)}.", remedy=EXPIRED) from exc
            except client.exceptions.ClientError as exc:
                if error_code(exc) == "InvalidRange":  # S3's answer to a start at or behind the end
                    return self._behind_end(key)
                raise
        size = answer.get("ContentRange", "").rpartition("/")[2] or answer["ContentLength"]
        return OpenedRange(answer["Body"], int(size), answer["ETag"])

    def _behind_end(self, key: str) -> OpenedRange:
        answer = self._client.head_object(Bucket=self._bucket, Key=key)
        return OpenedRange(None, answer["ContentLength"], answer["ETag"])

    def _where(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


class _Condition(TypedDict, total=False):
    IfMatch: str
    IfNoneMatch: str


class _Wanted(TypedDict, total=False):
    IfMatch: str
    Range: str


class _Place(TypedDict):
    Bucket: str
    Key: str


def _cut(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield parts of `PART_BYTES`, the last one shorter."""
    held = bytearray()
    for chunk in chunks:
        for start in range(0, len(chunk), PART_BYTES):
            held += chunk[start : start + PART_BYTES]
            if len(held) >= PART_BYTES:
                yield bytes(memoryview(held)[:PART_BYTES])
                held = held[PART_BYTES:]
    if held:
        yield bytes(held)


def _server_time(metadata: ResponseMetadataTypeDef) -> datetime:
    """Return S3's clock at the answer."""
    return parsedate_to_datetime(metadata["HTTPHeaders"]["date"])
