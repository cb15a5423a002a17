"""An object store that fails when it is told to: before its effect, or after it, with the answer lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from typing_extensions import override

from qualtrics_etl.errors import RetryableError
from qualtrics_etl.ports import ObjectStore, ObjectSummary, PutResult, StoredObject


class FailingObjects(ObjectStore):
    """Hands everything to another store, but for one write.

    Args:
        inner: The store that works.
        failing_write: Which write fails, from 1.
        after_effect: Whether it has its effect before it fails.
    """

    def __init__(self, inner: ObjectStore, failing_write: int, *, after_effect: bool) -> None:
        self._inner = inner
        self._writes_left = failing_write
        self._after_effect = after_effect

    @override
    def get(self, key: str) -> StoredObject | None:
        return self._inner.get(key)

    @override
    def open(self, key: str, *, start: int = 0) -> BinaryIO:
        return self._inner.open(key, start=start)

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        failing = self._count()
        if failing and not self._after_effect:
            raise _failure(key)
        result = self._inner.put(key, body, if_none_match=if_none_match, if_match=if_match)
        if failing:
            raise _failure(key)
        return result

    @override
    def put_stream(self, key: str, chunks: Iterable[bytes]) -> PutResult:
        failing = self._count()
        if failing and not self._after_effect:
            raise _failure(key)
        result = self._inner.put_stream(key, chunks)
        if failing:
            raise _failure(key)
        return result

    @override
    def delete(self, key: str) -> None:
        self._inner.delete(key)

    @override
    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectSummary]:
        return self._inner.list(prefix, start_after=start_after)

    def _count(self) -> bool:
        self._writes_left -= 1
        return self._writes_left == 0


def _failure(key: str) -> RetryableError:
    return RetryableError(f"The store did not answer the write of {key}.", call_made=False)
