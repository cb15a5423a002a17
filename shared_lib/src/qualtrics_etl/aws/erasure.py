"""Erasure: the personal data of one run leaves the bucket, old versions and delete markers too.

What holds personal data of a run, or words that may, lies below three prefixes; and its file, as it was fetched,
below the tick of a schedule. The ledger holds none, and keeps the record of what was erased.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

import orjson

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.buckets import PAGE, abort_uploads, delete_versions
from qualtrics_etl.aws.failures import aws_failures
from qualtrics_etl.aws.objects import S3Objects
from qualtrics_etl.errors import PreconditionFailedError
from qualtrics_etl.ledger import Ledger
from qualtrics_etl.messages import FileFetched
from qualtrics_etl.payloads import content_key, content_run, erased_key
from qualtrics_etl.runs import input_of
from qualtrics_etl.workflow import Workflow

CHUNK_BYTES = 1 << 20
PREFIXES = ("payloads", "rejects", "outcomes")

Line = dict[str, Any]
"""A line of the record: `at`, empty while it is not ended, with `versions`; or with `begun` and `found`, its beginning.

One that broke off says in `left` how much it left, until another finds nothing left.

Those that are not ended stand first, so that the last line says when data was erased, if any says so.
"""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an object, or a delete marker, whose size is 0."""

    key: str
    version_id: str
    size: int


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to erase of a run.

    Attributes:
        versions: By where they lie: `payloads`, `rejects`, `outcomes`, or `file`, the file as it was fetched.
        shared_with: Other runs that the same file began: its copy is theirs, and is left to them.
    """

    versions: Mapping[str, tuple[Version, ...]]
    shared_with: tuple[str, ...] = ()

    def count(self, place: str) -> int:
        """Return how many versions lie there."""
        return len(self.versions[place])

    @property
    def total(self) -> int:
        """How many there are in all."""
        return sum(map(len, self.versions.values()))


@dataclass(slots=True)
class Erased:
    """How many versions were deleted, by where they lay."""

    counts: dict[str, int] = field(default_factory=dict)


class Erasure:
    """The personal data of one run, in a stage's bucket.

    Args:
        access: How the stage's AWS is reached: with the rights of whoever erases.
        bucket: Name of the data bucket.
        account: Whose it must be; S3 refuses for any other.
    """

    def __init__(self, workflow: Workflow, run: str, access: AwsAccess, bucket: str, account: str) -> None:
        self._workflow = workflow
        self._run = run
        self._access = access
        self._bucket = bucket
        self._account = account
        self._objects = S3Objects(bucket, access.client("s3"))

    def look(self) -> Found:
        """Return what there is to erase; nothing is changed."""
        own = {place: tuple(self._versions(f"{place}/{self._run}/")) for place in PREFIXES}
        taken = input_of(self._workflow, self._objects, self._run)
        fetched = taken.file if taken else None
        if fetched is None:
            return Found({**own, "file": ()})
        others = dict(self._copies_of_others(fetched.sha256))
        copies = (each for each in self._copies(fetched) if each.key not in others.values())
        return Found({**own, "file": tuple(copies)}, tuple(others))

    def erase(
        self,
        found: Found,
        now: datetime,
        *,
        stopped: Callable[[], bool] = lambda: False,
        progress: Callable[[int], None] = lambda erased: None,
    ) -> Erased:
        """Delete what was found, and write down how much it was; what is deleted stays so, wherever this breaks off.

        That it begins is written first: a missing right is told before anything is gone, and an erasure that was killed
        has left its word. Where nothing is left, unfinished uploads go all the same, and such a word is completed.

        Args:
            now: The time that the record gives.
            stopped: Asked between two thousands of versions.
            progress: Called with the number of each thousand that was deleted.

        Raises:
            PermanentError: The rights are missing, or S3 keeps some of it.
        """
        erased, begun = Erased(), self._begun(found, now)
        if begun:
            self._change_record(lambda before: [begun, *before])
        for place in PREFIXES:
            abort_uploads(self._access, self._bucket, self._account, f"{place}/{self._run}/")
        try:
            for place, versions in found.versions.items():
                rest = iter(versions)
                while not stopped() and (page := list(islice(rest, PAGE))):
                    named = [{"Key": each.key, "VersionId": each.version_id} for each in page]
                    delete_versions(self._access, self._bucket, self._account, named)
                    erased.counts[place] = erased.counts.get(place, 0) + len(page)
                    progress(len(page))
        finally:
            self._record(begun, erased, now, left=found.total - sum(erased.counts.values()))
        return erased

    def _begun(self, found: Found, now: datetime) -> Line | None:
        counts = {place: len(versions) for place, versions in found.versions.items() if versions}
        return {"at": "", "begun": _time(now), "found": counts} if counts else None

    def _record(self, begun: Line | None, erased: Erased, now: datetime, *, left: int) -> None:
        """Put what was erased in the place of the word that it begins; where nothing is left, end what others began."""
        done: Line = {"at": _time(now), "versions": erased.counts, **({"left": left} if left else {})}

        def ended(before: list[Line]) -> list[Line]:
            others, own = [*before], list[Line]()
            if begun is not None and begun in others and erased.counts:
                others.remove(begun)
                own = [done]
            return [*(others if left else (_ended(each, done["at"]) for each in others)), *own]

        self._change_record(ended)

    def _change_record(self, change: Callable[[list[Line]], list[Line]]) -> None:
        """Change the record of the run: several may erase at once, and none must lose what another wrote."""
        key = erased_key(self._run)
        while True:
            held = self._objects.get(key)
            before: list[Line] = orjson.loads(held.body)["erased"] if held else []
            if (after := change(before)) == before:
                return
            body = orjson.dumps({"erased": after}, option=orjson.OPT_INDENT_2)
            try:
                if held is None:
                    self._objects.put(key, body, if_none_match=True)
                else:
                    self._objects.put(key, body, if_match=held.etag)
            except PreconditionFailedError:
                continue
            return

    def _copies_of_others(self, sha256: str) -> Iterator[tuple[str, str]]:
        """Yield the other runs that this content began, and where each one's copy lies."""
        for intake in ("", *self._workflow.starts()):
            run = content_run(self._workflow.name, sha256, intake)
            held = Ledger(self._objects).read(content_key(sha256, intake))
            if run != self._run and held is not None and isinstance(held.entry.fact, FileFetched):
                yield run, held.entry.fact.key

    def _copies(self, fetched: FileFetched) -> Iterator[Version]:
        """Yield the versions of the fetched file: where the run says, and where another tick copied the same content.

        A copy that another tick made is deleted by its step, which leaves an old version and a delete marker upon it.
        """
        there = [each for start in self._workflow.starts() for each in self._versions(f"payloads/{start}-")]
        same_size = (each for each in there if each.size == fetched.size and each.key != fetched.key)
        keys = {fetched.key, *(each.key for each in same_size if self._hash_of(each) == fetched.sha256)}
        return (each for each in there if each.key in keys)

    def _hash_of(self, version: Version) -> str:
        from botocore.exceptions import ClientError

        digest = hashlib.sha256()
        with aws_failures(f"Reading a version of s3://{self._bucket}/{version.key}"):
            try:
                answer = self._access.client("s3").get_object(
                    Bucket=self._bucket, Key=version.key, VersionId=version.version_id
                )
            except ClientError:
                return ""  # a delete marker, or gone meanwhile
            with answer["Body"] as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    digest.update(chunk)
        return digest.hexdigest()

    def _versions(self, prefix: str) -> Iterator[Version]:
        pages = self._access.client("s3").get_paginator("list_object_versions")
        with aws_failures(f"Listing the versions in s3://{self._bucket}/{prefix}"):
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix, ExpectedBucketOwner=self._account):
                yield from map(_version, [*page.get("Versions", []), *page.get("DeleteMarkers", [])])


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _version(line: Mapping[str, Any]) -> Version:
    return Version(line["Key"], line["VersionId"], line.get("Size", 0))


def _ended(line: Line, at: str) -> Line:
    return {name: value for name, value in {**line, "at": line["at"] or at}.items() if name != "left"}
