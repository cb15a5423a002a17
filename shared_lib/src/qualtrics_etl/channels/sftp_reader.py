"""Reading one remote file in order, with several chunks on the way while the caller works on the last one.

Imports asyncssh (through its neighbours), so it is itself imported only where a connection is made.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import asyncssh

from qualtrics_etl.channels.sftp_errors import LOOK_AGAIN_SECONDS, Task
from qualtrics_etl.channels.sftp_session import SftpSession
from qualtrics_etl.errors import NotYetError, PermanentError

READ_AHEAD_BYTES = 2 * 1024 * 1024  # covers 100 ms of distance at 20 MB/s
MAX_BLOCK_BYTES = 64 * 1024  # of one request; servers may allow less, and say so


class SftpReader:
    """One file from its first byte to the size that it had when it was opened.

    The time-out is for the chunk that is waited for, from then on: those behind it may take as long as they need.
    """

    def __init__(self, session: SftpSession, path: str, chunk_bytes: int) -> None:
        self._session = session
        self._task = Task(f"read {path!r}")
        self._path = path
        self._chunk_bytes = chunk_bytes
        self._handle: asyncssh.SFTPClientFile | None = None
        self._size = 0
        self._mtime: int | None = None
        self._asked = 0
        self._coming: deque[asyncio.Task[bytes]] = deque()

    async def open(self) -> None:
        """Open the file and note its size and time.

        Raises:
            NotYetError: There is no such file.
        """
        async with self._session.asked(self._task):
            # block_size=0: asyncssh's own parallel reading fills gaps with NULs when a file shrinks meanwhile
            self._handle = await self._session.sftp.open(self._path, "rb", block_size=0)
            attributes = await self._handle.stat()
        if attributes.size is None:
            raise PermanentError(
                f"The SFTP server {self._session.server.address} does not tell the size of {self._path!r}, so that "
                "its end can't be known.",
                remedy="Have the client turn file attributes on at its server; then send the message back.",
            )
        self._size, self._mtime = attributes.size, attributes.mtime

    async def next_chunk(self) -> bytes:
        """Wait for the next chunk; empty when the file has been read whole and is still the same.

        Raises:
            NotYetError: The file was written to since it was opened.
        """
        self._ask_ahead()
        if not self._coming:
            await self._check_unchanged()
            return b""
        async with self._session.asked(self._task):
            return await self._coming.popleft()

    async def close(self) -> None:
        """Give up what is on the way, and close the file."""
        for chunk in self._coming:
            chunk.cancel()
        await asyncio.gather(*self._coming, return_exceptions=True)
        if self._handle is not None:
            await self._session.quietly(self._handle.close())

    def _ask_ahead(self) -> None:
        while self._asked < self._size and (not self._coming or self._ahead() + self._chunk_bytes <= READ_AHEAD_BYTES):
            size = min(self._chunk_bytes, self._size - self._asked)
            self._coming.append(asyncio.create_task(self._read(self._asked, size)))
            self._asked += size

    def _ahead(self) -> int:
        return len(self._coming) * self._chunk_bytes

    async def _read(self, start: int, size: int) -> bytes:
        """Read exactly `size` bytes, in parallel requests of what the server allows."""
        block = min(MAX_BLOCK_BYTES, self._session.sftp.limits.max_read_len or MAX_BLOCK_BYTES)
        end = start + size
        blocks = await asyncio.gather(*(self._read_block(at, min(at + block, end)) for at in range(start, end, block)))
        return b"".join(blocks)

    async def _read_block(self, start: int, end: int) -> bytes:
        """Read from `start` to `end`, asking again where the server answers with fewer bytes."""
        assert self._handle is not None
        block = bytearray()
        while start + len(block) < end:
            # opened without an encoding, a file gives bytes; the library's type can't say so
            more = cast("bytes", await self._handle.read(end - start - len(block), start + len(block)))
            if not more:
                raise self._changed()
            block += more
        return bytes(block)

    async def _check_unchanged(self) -> None:
        assert self._handle is not None
        async with self._session.asked(self._task):
            now = await self._handle.stat()
        if (now.size, now.mtime) != (self._size, self._mtime):
            raise self._changed()

    def _changed(self) -> NotYetError:
        return NotYetError(
            f"The file {self._path!r} on the SFTP server {self._session.server.address} changed while it was read.",
            delay_seconds=LOOK_AGAIN_SECONDS,
            remedy="It is read again from its beginning; if that goes on, have the client upload under another name "
            "and rename when the file is complete.",
        )
