"""Object stores that fail when they are told to: before the effect, or after it, with the answer lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from typing_extensions import override

from qualtrics_etl.errors import RetryableError
from qualtrics_etl.ports import ObjectStore, ObjectSummary, PutResult, StoredObject


class ObjectsAround(ObjectStore):
    """Hands everything to another store; a test's store inherits it and changes what matters to the test."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner

    @override
    def get(self, key: str) -> StoredObject | None:
        return self._inner.get(key)

    @override
    def open(self, key: str, *, start: int = 0) -> BinaryIO:
        return self._inner.open(key, start=start)

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        return self._inner.put(key, body, if_none_match=if_none_match, if_match=if_match)

    @override
    def put_stream(self, key: str, chunks: Iterable[bytes]) -> PutResult:
        return self._inner.put_stream(key, chunks)

    @override
    def delete(self, key: str) -> None:
        self._inner.delete(key)

    @override
    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectSummary]:
        return self._inner.list(prefix, start_after=start_after)


class FailingObjects(ObjectsAround):
    """A store one of whose writes fails.

    Args:
        inner: The store that works.
        failing_write: Which write fails, from 1.
        after_effect: Whether it has its effect before it fails.
    """

    def __init__(self, inner: ObjectStore, failing_write: int, *, after_effect: bool) -> None:
        super().__init__(inner)
        self._writes_left = failing_write
        self._after_effect = after_effect

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        return self._write(
            key, lambda: super(FailingObjects, self).put(key, body, if_none_match=if_none_match, if_match=if_match)
        )

    @override
    def put_stream(self, key: str, chunks: Iterable[bytes]) -> PutResult:
        return self._write(key, lambda: super(FailingObjects, self).put_stream(key, chunks))

    def _write(self, key: str, write: Callable[[], PutResult]) -> PutResult:
        self._writes_left -= 1
        failing = self._writes_left == 0
        if failing and not self._after_effect:
            raise _failure(key)
        result = write()
        if failing:
            raise _failure(key)
        return result


def _failure(key: str) -> RetryableError:
    return RetryableError(f"The store did not answer the write of {key}.", call_made=False)
