"""Reading a large object over HTTP ranges, as a file that can seek."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from qualtrics_etl.aws.failures import translate
from qualtrics_etl.errors import QualtricsEtlError, RetryableError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.response import StreamingBody

MAX_REOPENS = 3
"""How often in a row a broken connection is taken up again before the reader learns of it."""


@dataclass(frozen=True, slots=True)
class OpenedRange:
    """An object from some byte on.

    Attributes:
        body: The bytes; None where the range begins at the end or behind it.
        size: Of the whole object, in bytes.
        etag: Which version it is.
    """

    body: StreamingBody | None
    size: int
    etag: str


class ObjectReader(io.RawIOBase):
    """One version of an object, as a seekable file.

    A connection that breaks is taken up at the next byte, of the same version. Seeking closes the connection; the
    next read opens another one.

    Args:
        where: The object, as errors name it.
        fetch: Opens it from a byte on; with a version mark, only that version.
        start: Byte at which reading begins.
    """

    def __init__(self, where: str, fetch: Callable[[int, str | None], OpenedRange], start: int) -> None:
        self._where = where
        self._fetch = fetch
        self._position = start
        opened = fetch(start, None)
        self._body, self._size, self._etag = opened.body, opened.size, opened.etag

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        if base + offset != self._position:
            self._disconnect()
            self._position = base + offset
        return self._position

    @override
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        if not view or self._position >= self._size:
            return 0
        chunk = self._read(len(view))
        view[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)

    @override
    def close(self) -> None:
        self._disconnect()
        super().close()

    def _read(self, size: int) -> bytes:
        broken: Exception | None = None
        for _ in range(1 + MAX_REOPENS):
            try:
                chunk = self._connected().read(size)
            except QualtricsEtlError:
                raise
            except Exception as exc:
                broken = exc
            else:
                if chunk:
                    return chunk
            self._disconnect()
        failure = translate(broken, f"Reading {self._where}") if broken else None
        raise failure or RetryableError(f"Reading {self._where} broke off at byte {self._position}.") from broken

    def _connected(self) -> StreamingBody:
        if self._body is None:
            self._body = self._fetch(self._position, self._etag).body
        if self._body is None:
            raise RetryableError(f"{self._where} ends at byte {self._position}, before its size of {self._size}.")
        return self._body

    def _disconnect(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None
