"""An SFTP server whose every request is a boundary of the worker that makes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from qualtrics_etl.local.sftp_server import LocalSftpServer
from qualtrics_etl.testing.boundaries import Boundary, CrashKind, Watch, Worker

if TYPE_CHECKING:
    import asyncssh

REQUESTS = (
    "open",
    "read",
    "write",
    "close",
    "stat",
    "lstat",
    "fstat",
    "setstat",
    "remove",
    "rename",
    "posix_rename",
    "mkdir",
    "rmdir",
)
"""Requests that a client of ours makes, as the server's class calls them; a listing is one more."""


class WatchedSftpServer(LocalSftpServer):
    """An SFTP server that a worker's connection dies with.

    A worker that is killed sees its connection cut; what it tries after that, anywhere, has no effect.

    Attributes:
        watch: Counts the requests; may be changed between two connections.
    """

    watch: Watch

    @override
    def files_class(self) -> type[asyncssh.SFTPServer]:
        base, server = super().files_class(), self

        class Files(base):  # type: ignore[misc, valid-type]  # it is made for this server
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                self.watch = server.watch
                # Who is at work has just connected; what comes from nobody has no effect.
                self.worker = server.watch.current or Worker("", alive=False)
                self.is_listing = False
                self.is_cut = False

            async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
                kind = await self.come_to(f"list {_text(path)}")
                self.is_listing = True  # what the server itself looks at is no request
                names = [name async for name in super().scandir(path)]
                self.is_listing = False
                self.leave(kind)
                for name in names:
                    yield name

            async def come_to(self, what: str) -> CrashKind | None:
                boundary, kind = self.watch.meet(self.worker, f"sftp {what}")
                if kind is not None and kind.others_come_first:
                    await self.stand_still(boundary)
                if kind is CrashKind.REFUSED:
                    self.cut()
                self.go_on_if_alive()
                return kind

            async def stand_still(self, boundary: Boundary) -> None:
                # In another thread, since whoever works meanwhile needs this server.
                await asyncio.to_thread(self.watch.wait, boundary)

            def leave(self, kind: CrashKind | None) -> None:
                if kind is not None and kind.dies_after:
                    self.worker.alive = False
                if kind is CrashKind.LOST_ANSWER:
                    self.cut()
                self.go_on_if_alive()

            def go_on_if_alive(self) -> None:
                if not self.worker.alive:
                    self.cut()

            def cut(self) -> None:
                import asyncssh

                self.is_cut = True
                self.connection.abort()
                raise asyncssh.SFTPConnectionLost("The connection is cut.")

        for name in REQUESTS:
            setattr(Files, name, _around(name, getattr(base, name)))
        return Files


def _around(name: str, request: Callable[..., Any]) -> Callable[..., Any]:
    def watched(files: Any, *arguments: Any) -> Any:
        # When a connection is cut, the server closes its files: that is no request either.
        is_own = files.is_listing or (files.is_cut and name == "close")
        return request(files, *arguments) if is_own else met(files, *arguments)

    async def met(files: Any, *arguments: Any) -> Any:
        kind = await files.come_to(f"{name} {_text(arguments[0])}".rstrip())
        answer = request(files, *arguments)
        if isawaitable(answer):
            answer = await answer
        files.leave(kind)
        return answer

    return watched


def _text(of: object) -> str:
    """Return a path as people read it; what is no path has no text."""
    return of.decode(errors="replace") if isinstance(of, bytes) else ""
