"""A folder of objects that can go back to how it was when the run's state was last written down.

A run that is killed leaves objects that know of calls which the saved simulator and queues never heard of. Going back
makes the three fit again: what came after the last save is simply done once more.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import orjson
from typing_extensions import override

from qualtrics_etl.local.objects import FolderObjects
from qualtrics_etl.ports import Clock, PutResult


class RevertibleObjects(FolderObjects):
    """Objects in files; before one changes for the first time, a log keeps what it was."""

    def __init__(self, root: Path, clock: Clock) -> None:
        super().__init__(root, clock)
        self._log: BinaryIO | None = None
        self._noted: set[str] = set()
        self._noting = threading.Lock()

    def keep_log(self, path: Path | None) -> None:
        """Begin an empty log: the objects as they are now are what `revert` goes back to; None keeps none."""
        if self._log is not None:
            self._log.close()
        self._noted.clear()
        self._log = path.open("wb") if path is not None else None

    def revert(self, path: Path) -> None:
        """Undo what a log has noted; without a log nothing has changed."""
        # A line that is cut short is of a change that never happened: it is written first.
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        for line in reversed(lines):
            key, body = orjson.loads(line)
            if body is None:
                super().delete(key)
            else:
                super().put(key, base64.b64decode(body))

    @override
    def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> PutResult:
        self._note(key)
        return super().put(key, body, if_none_match=if_none_match, if_match=if_match)

    @override
    def put_stream(self, key: str, chunks: Iterable[bytes]) -> PutResult:
        self._note(key)
        return super().put_stream(key, chunks)

    @override
    def delete(self, key: str) -> None:
        self._note(key)
        super().delete(key)

    def _note(self, key: str) -> None:
        with self._noting:
            if self._log is None or key in self._noted:
                return
            found = self.get(key)
            self._log.write(orjson.dumps([key, base64.b64encode(found.body).decode() if found else None]) + b"\n")
            self._log.flush()
            self._noted.add(key)
