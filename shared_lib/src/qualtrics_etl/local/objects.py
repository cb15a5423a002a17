"""A bucket on one machine, in memory or in a folder, with the semantics of S3.

What S3 promises and callers lean on: a put is whole or not at all and seen by the next read, of conditional puts at the
same time one wins, keys list in the order of their UTF-8 bytes, times are whole seconds.
"""

from __future__ import annotations

import bisect
import hashlib
import io
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote

from typing_extensions import override

from qualtrics_etl.errors import EXPIRED, InputError, PermanentError, PreconditionFailedError
from qualtrics_etl.ports import Clock, ObjectStore, ObjectSummary, PutResult, StoredObject

MAX_KEY_BYTES = 1024
"""Source: Amazon S3 user guide, the page on naming objects (a key is at most 1,024 bytes of UTF-8)."""


class MemoryObjects(ObjectStore):
    """Objects in memory: for tests, and for runs that nobody wants to resume."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._objects: dict[str, _Kept] = {}
        # Kept sorted beside the dict, so that listing a prefix costs what the prefix holds. Text sorts by code point,
        # which is also the order of its UTF-8 bytes.
        self._keys: list[str] = []

    @override
    def get(self, key: str) -> StoredObject | None:
        kept = self._objects.get(key)
        if kept is None:
            return None
        return StoredObject(key, kept.body, kept.etag, kept.last_modified, read_at=_whole_second(self._clock))

    @override
    def open(self, key: str, *, start: int = 0) -> BinaryIO:
        kept = self._objects.get(key)
        if kept is None:
            raise _missing(key)
        stream = io.BytesIO(kept.body)
        stream.seek(start)
        return stream

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        _check_key(key)
        etag = _etag(body)
        with self._lock:
            now = _whole_second(self._clock)
            present = self._objects.get(key)
            _check_condition(key, present.etag if present else None, if_none_match, if_match)
            if present is None:
                bisect.insort(self._keys, key)
            self._objects[key] = _Kept(bytes(body), etag, now)
        return PutResult(etag, written_at=now)

    @override
    def put_stream(self, key: str, chunks: Iterable[bytes]) -> PutResult:
        return self.put(key, b"".join(chunks))

    @override
    def delete(self, key: str) -> None:
        with self._lock:
            if self._objects.pop(key, None) is not None:
                del self._keys[bisect.bisect_left(self._keys, key)]

    @override
    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectSummary]:
        with self._lock:
            found = [(key, self._objects[key]) for key in self._keys_below(prefix, start_after)]
        return (ObjectSummary(key, len(kept.body), kept.etag, kept.last_modified) for key, kept in found)

    def _keys_below(self, prefix: str, start_after: str) -> Iterator[str]:
        first = max(bisect.bisect_left(self._keys, prefix), bisect.bisect_right(self._keys, start_after))
        for index in range(first, len(self._keys)):
            if not self._keys[index].startswith(prefix):
                return
            yield self._keys[index]


class FolderObjects(ObjectStore):
    """Objects as files, one each, so that another process finds them again.

    A segment of a key that others lie below is a folder whose name ends in `+`, so that `a` and `a/b` can both be. The
    time of a file is its object's `last_modified`. One process at a time: conditions hold between threads, not between
    processes.

    Args:
        root: The folder; made when it is not there.
    """

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        self._etags: dict[Path, tuple[tuple[int, int, int], str]] = {}

    @override
    def get(self, key: str) -> StoredObject | None:
        try:
            with _path(self._root, key).open("rb") as file:
                body = file.read()
                modified = int(os.fstat(file.fileno()).st_mtime)
        except FileNotFoundError:
            return None
        return StoredObject(
            key, body, _etag(body), datetime.fromtimestamp(modified, UTC), read_at=_whole_second(self._clock)
        )

    @override
    def open(self, key: str, *, start: int = 0) -> BinaryIO:
        try:
            file = _path(self._root, key).open("rb")
        except FileNotFoundError as exc:
            raise _missing(key) from exc
        file.seek(start)
        return file

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        return self._write(key, [body], if_none_match=if_none_match, if_match=if_match)

    @override
    def put_stream(self, key: str, chunks: Iterable[bytes]) -> PutResult:
        return self._write(key, chunks)

    @override
    def delete(self, key: str) -> None:
        path = _path(self._root, key)
        with self._lock:
            path.unlink(missing_ok=True)
            self._etags.pop(path, None)

    @override
    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectSummary]:
        folder = _path(self._root, f"{prefix.rpartition('/')[0]}/x").parent if "/" in prefix else self._root
        found = ((_key(path.relative_to(self._root)), path) for path in _files_below(folder))
        wanted = sorted(pair for pair in found if pair[0].startswith(prefix) and pair[0] > start_after)
        for key, path in wanted:
            summary = self._summary(key, path)
            if summary is not None:
                yield summary

    def _write(
        self, key: str, chunks: Iterable[bytes], *, if_none_match: bool = False, if_match: str | None = None
    ) -> PutResult:
        _check_key(key)
        path = _path(self._root, key)
        unfinished, etag = self._set_down(chunks)
        try:
            with self._lock:
                now = _whole_second(self._clock)
                if if_none_match or if_match is not None:
                    _check_condition(key, self._etag_of(path), if_none_match, if_match)
                os.utime(unfinished, (now.timestamp(), now.timestamp()))
                path.parent.mkdir(parents=True, exist_ok=True)
                unfinished.replace(path)
                self._etags[path] = (_signature(path), etag)
        finally:
            unfinished.unlink(missing_ok=True)
        return PutResult(etag, written_at=now)

    def _set_down(self, chunks: Iterable[bytes]) -> tuple[Path, str]:
        """Write the content beside the objects, under a name that no key has; return where, and its version mark."""
        folder = self._root / _UNFINISHED
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.md5(usedforsecurity=False)
        descriptor, name = tempfile.mkstemp(dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
        except BaseException:
            Path(name).unlink()
            raise
        return Path(name), f'"{digest.hexdigest()}"'

    def _summary(self, key: str, path: Path) -> ObjectSummary | None:
        try:
            etag = self._etag_of(path)
            if etag is None:
                return None
            found = path.stat()
            return ObjectSummary(key, found.st_size, etag, datetime.fromtimestamp(int(found.st_mtime), UTC))
        except FileNotFoundError:  # deleted while the listing was read
            return None

    def _etag_of(self, path: Path) -> str | None:
        """Return the version mark of what lies there; content is read only when another process wrote it."""
        try:
            seen = _signature(path)
        except FileNotFoundError:
            return None
        known = self._etags.get(path)
        if known is None or known[0] != seen:
            with path.open("rb") as file:
                known = (seen, f'"{hashlib.file_digest(file, "md5").hexdigest()}"')
            self._etags[path] = known
        return known[1]


@dataclass(frozen=True, slots=True)
class _Kept:
    body: bytes
    etag: str
    last_modified: datetime


_UNFINISHED = "+unfinished"  # a key's folder never begins with the mark
_MAX_NAME = 200  # file systems take 255 bytes a name; a key's segment may be longer


def _path(root: Path, key: str) -> Path:
    """Return the file of a key: below root whatever the key is, and no other key's.

    Everything but small letters, digits, `_`, `-`, `.` and `~` is written as %XX: capital letters too, since there are
    file systems that don't tell them from small ones.
    """
    *folders, last = [_encode(segment) for segment in key.split("/")]
    pieces = [piece for name in folders for piece in (*_cut(name)[:-1], f"{_cut(name)[-1]}+")]
    return root.joinpath(*pieces, *_cut(last))


def _encode(segment: str) -> str:
    name = "".join(f"%{ord(c):02X}" if "A" <= c <= "Z" else quote(c, safe="") for c in segment)
    # A name of dots only means something to the file system, and an empty one nothing.
    return name.replace(".", "%2E") if not name.strip(".") and name else name or "%"


def _cut(name: str) -> list[str]:
    pieces = [name[i : i + _MAX_NAME] for i in range(0, len(name), _MAX_NAME)]
    return [*(f"{piece}&" for piece in pieces[:-1]), pieces[-1]]


def _key(relative: Path) -> str:
    """Return the key whose file this is: the way back from `_path`."""
    text = "".join(
        part[:-1] if part.endswith("&") else f"{part[:-1]}/" if part.endswith("+") else part for part in relative.parts
    )
    return "/".join("" if name == "%" else unquote(name) for name in text.split("/"))


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        if _UNFINISHED in folders:
            folders.remove(_UNFINISHED)
        yield from (Path(parent, file) for file in files)


def _signature(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_ctime_ns, stat.st_size


def _check_key(key: str) -> None:
    size = len(key.encode())
    if not 0 < size <= MAX_KEY_BYTES:
        raise PermanentError(
            f"The key {key[:80]!r} has {size} bytes, and a key has 1 to {MAX_KEY_BYTES}.",
            remedy="Shorten the names that the key is made of.",
        )


def _check_condition(key: str, present: str | None, if_none_match: bool, if_match: str | None) -> None:
    """Refuse the put when the object is not in the state that the caller named; called under the store's lock."""
    if if_none_match and present is not None:
        raise PreconditionFailedError(f"There is already an object {key}.")
    if if_match is not None and present != if_match:
        raise PreconditionFailedError(f"The object {key} is not in version {if_match} but in {present or 'none'}.")


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _whole_second(clock: Clock) -> datetime:
    return clock.now().replace(microsecond=0)


def _missing(key: str) -> InputError:
    return InputError(f"There is no object {key}.", remedy=EXPIRED)
