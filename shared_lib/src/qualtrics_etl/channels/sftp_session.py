"""What is asked of an SFTP server, request by request; each foreign error is turned at this border.

Imports asyncssh (through its neighbours), so it is itself imported only where a connection is made.
"""

from __future__ import annotations

import asyncio
import posixpath
import secrets
import time
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any

import asyncssh

from qualtrics_etl.channels.sftp_errors import ABSENT, Server, Task
from qualtrics_etl.errors import PermanentError, RetryableError

MAX_SAME_NAMES = 100
TIDY_SECONDS = 2.0  # a dead server must not hold up the end


@dataclass(frozen=True, slots=True)
class SftpSession:
    """One log-in's requests. Every request ends within `timeout_seconds`, a listing as a whole."""

    server: Server
    sftp: asyncssh.SFTPClient
    timeout_seconds: float

    def asked(self, task: Task) -> AbstractAsyncContextManager[None]:
        """Bound the time of what is done inside, and turn its foreign exceptions into ours."""
        return self.server.asked(task, timeout_seconds=self.timeout_seconds)

    async def entries(self, folder: str) -> list[asyncssh.SFTPName]:
        """Everything in a folder, in the server's order."""
        task = Task(f"list the folder {folder!r}", folder=folder)
        async with self.asked(task):
            return list(await self.sftp.readdir(folder))

    async def attributes(self, path: str) -> asyncssh.SFTPAttrs | None:
        """Attributes of what is at a path (of a link itself); None when nothing is."""
        async with self.asked(Task(f"look at {path!r}")):
            try:
                return await self.sftp.lstat(path)
            except ABSENT:
                return None

    async def remove(self, path: str) -> None:
        """Delete a file; what is not there needs no deleting."""
        task = Task(f"delete {path!r}", changes=True)
        async with self.asked(task):
            with suppress(*ABSENT):
                await self.sftp.remove(path)

    async def move(self, path: str, folder: str) -> str | None:
        """Move a file into a folder under a name that is free there."""
        task = Task(f"move {path!r} to {folder!r}", folder=folder, setting="after_fetch", changes=True)
        attributes = await self.attributes(path)
        if attributes is None:
            return None
        for target in _free_names(path, folder, attributes.mtime or 0):
            if await self.attributes(target) is None and await self._rename(path, target, task):
                return target
        raise PermanentError(
            f"The SFTP server {self.server.address} has {MAX_SAME_NAMES} files of the name of {path!r} in {folder!r}.",
            remedy="Have the client tidy the folder up, then send the message back.",
        )

    async def create(self, path: str) -> asyncssh.SFTPClientFile:
        """Create a file that must not be there yet."""
        folder = posixpath.dirname(path) or "."
        task = Task(f"write {path!r}", folder=folder, changes=True)
        async with self.asked(task):
            return await self.sftp.open(path, "xb")

    async def write(self, path: str, handle: asyncssh.SFTPClientFile, offset: int, chunk: bytes) -> None:
        """Write a chunk at its place."""
        async with self.asked(_writing(path)):
            await handle.write(chunk, offset)

    async def publish(self, temporary: str, handle: asyncssh.SFTPClientFile, path: str, size: int) -> None:
        """Close a written file, check its size, and give it its name; a file of that name is replaced.

        Raises:
            RetryableError: The server kept another number of bytes than was sent.
        """
        async with self.asked(_writing(path)):
            await handle.close()
            kept = (await self.sftp.stat(temporary)).size
            if kept not in {None, size}:
                raise RetryableError(
                    f"The SFTP server {self.server.address} kept {kept} of the {size} bytes written to {path!r}.",
                    call_made=False,
                    remedy="It is tried again; if it stays so, ask the client whether its disk is full.",
                )
            await self._replace(temporary, path)

    async def discard(self, path: str, handle: asyncssh.SFTPClientFile) -> None:
        """Close and remove what is not needed; a failure here must not hide the one that led to it."""
        await self.quietly(handle.close())
        await self.quietly(self.sftp.remove(path))

    async def quietly(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what only tidies up: that it fails changes nothing."""
        with suppress(asyncssh.Error, OSError):
            await asyncio.wait_for(work, min(self.timeout_seconds, TIDY_SECONDS))

    async def _rename(self, path: str, target: str, task: Task) -> bool:
        """Rename; False when somebody else took the name first."""
        async with self.asked(task):
            try:
                # the plain request: it refuses an existing target, which the POSIX one overwrites
                await self.sftp.rename(path, target)
            except (asyncssh.SFTPFileAlreadyExists, asyncssh.SFTPFailure):
                if not await self.sftp.lexists(target):
                    raise
                return False
            except ABSENT as error:
                if await self.sftp.lexists(path):
                    raise
                raise self.server.translate(error, Task(task.words)) from error
            return True

    async def _replace(self, temporary: str, path: str) -> None:
        try:
            await self.sftp.posix_rename(temporary, path)
        except asyncssh.SFTPOpUnsupported:
            with suppress(*ABSENT):
                await self.sftp.remove(path)
            await self.sftp.rename(temporary, path)


def temporary_path(path: str) -> str:
    """Name a file that is being written: hidden, next to its final place, never the same twice."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, f".{name}.{secrets.token_hex(4)}.part")


def _free_names(path: str, folder: str, mtime: int) -> Iterator[str]:
    """Names to try: its own, with its time (a file that comes every night), with its time and a number."""
    stem, suffix = posixpath.splitext(posixpath.basename(path))
    changed = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(mtime))
    yield posixpath.join(folder, f"{stem}{suffix}")
    yield posixpath.join(folder, f"{stem}.{changed}{suffix}")
    for number in range(2, MAX_SAME_NAMES):
        yield posixpath.join(folder, f"{stem}.{changed}.{number}{suffix}")


def _writing(path: str) -> Task:
    return Task(f"write {path!r}", changes=True)
