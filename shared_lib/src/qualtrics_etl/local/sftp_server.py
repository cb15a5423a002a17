"""A real SFTP server on this machine's loopback: what the client's server is for a local run, and for tests.

Importing this module costs little: the SSH library is loaded when a server is entered.
"""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Literal, Self, cast

from typing_extensions import override

from qualtrics_etl.channels.loop_thread import LoopThread

if TYPE_CHECKING:
    import os

    import asyncssh

LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class SftpFaults:
    """What goes wrong on the server; may be changed at any time while it runs.

    Attributes:
        refuse_login: Nobody gets in.
        cut_after_bytes: The connection is cut once this many bytes have been read since the server's start.
        seconds_per_read: Each read request takes this long.
        growing_file: A file, below the root, that gets one byte longer each time somebody looks at it.
        rival: What somebody else takes just before each rename: the new name, or the file itself.
        lose_writes: What is written is confirmed, and lost.
        tell_no_size: The size of a file that is open is not told.
        refuse_replacing: There is no rename that replaces, as on many older servers.
        denied: Names of files and folders that nobody may open, change or list.
        claimed_names: Names that every listing shows beside what is there, each as a file of no bytes.
    """

    refuse_login: bool = False
    cut_after_bytes: int | None = None
    seconds_per_read: float = 0.0
    growing_file: str = ""
    rival: Literal["", "name", "file"] = ""
    lose_writes: bool = False
    tell_no_size: bool = False
    refuse_replacing: bool = False
    denied: frozenset[str] = frozenset()
    claimed_names: tuple[bytes, ...] = ()


class LocalSftpServer:
    """An SFTP server for one user, from `with` to the end of the block, on 127.0.0.1.

    Attributes:
        host: Where it listens.
        port: The port, from entering on.
        host_key: The public line to pin in `sftp.host_key`, from entering on.
        private_key_for_client: Text of a key that lets the user in, from entering on; empty when a password or an
            authorized key was given.
        bytes_served: How many bytes have been read since the start.
        connections: Who is connected.
        open_files: What they have open.
        faults: What goes wrong.

    Args:
        root: The folder that the user sees as `/`.
        port: Where it is to listen; 0 takes a free port. One that is in use is an OSError on entering.
        user: The only user.
        password: Lets the user in.
        authorized_key: Public key that lets the user in, in OpenSSH form.
        private_host_key: Text of the server's private key; empty to make one.
        host_key_path: Keeps the private host key, so that the next server shows the same; made at first use.
    """

    def __init__(
        self,
        root: Path,
        *,
        port: int = 0,
        user: str = "etl",
        password: str = "",
        authorized_key: str = "",
        private_host_key: str = "",
        host_key_path: Path | None = None,
        faults: SftpFaults | None = None,
    ) -> None:
        self.root = root
        self.user = user
        self.password = password
        self.faults = faults or SftpFaults()
        self.host = LOOPBACK
        self.port = port
        self.host_key = ""
        self.private_key_for_client = ""
        self.bytes_served = 0
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.open_files: set[BinaryIO] = set()
        self._authorized_key = authorized_key
        self._private_host_key = private_host_key
        self._host_key_path = host_key_path
        self._thread: LoopThread
        self._listener: asyncssh.SSHAcceptor

    def __enter__(self) -> Self:
        self._thread = LoopThread("sftp-server")
        self._thread.start()
        try:
            self._thread.call(self._listen())
        except BaseException:
            self._thread.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.call(self._shut_down())
        self._thread.stop()

    def admits(self, user: str, *, password: str = "", public_key: str = "") -> bool:
        """Tell whether a log-in succeeds, with one of the two."""
        if self.faults.refuse_login or user != self.user:
            return False
        return (bool(password) and password == self.password) or (
            bool(public_key) and public_key.split()[:2] == self._authorized_key.split()[:2]
        )

    def files_class(self) -> type[asyncssh.SFTPServer]:
        """Return the class that answers requests; a test's server puts more around it."""
        return _files_class(self)

    def grow(self) -> None:
        """Let the growing file grow, if there is one."""
        if self.faults.growing_file:
            with (self.root / self.faults.growing_file).open("ab") as file:
                file.write(b"\n")

    async def _listen(self) -> None:
        import asyncssh

        key = self._read_host_key()
        self.host_key = key.export_public_key().decode().strip()
        if not (self.password or self._authorized_key):
            client_key = asyncssh.generate_private_key("ssh-ed25519")
            self.private_key_for_client = client_key.export_private_key().decode()
            self._authorized_key = client_key.export_public_key().decode()
        gate, files = _gate_class(self), self.files_class()
        self._listener = await asyncssh.listen(
            LOOPBACK,
            self.port,
            config=None,
            server_host_keys=[key],
            server_factory=gate,
            sftp_factory=lambda channel: files(channel, chroot=str(self.root).encode()),
            gss_host=None,
        )
        self.port = self._listener.get_port()

    async def _shut_down(self) -> None:
        for connection in list(self.connections):
            connection.abort()
        for file in self.open_files:
            file.close()
        self._listener.close()
        await self._listener.wait_closed()

    def _read_host_key(self) -> asyncssh.SSHKey:
        import asyncssh

        path = self._host_key_path
        if self._private_host_key:
            return asyncssh.import_private_key(self._private_host_key)
        if path and path.exists():
            return asyncssh.import_private_key(path.read_bytes())
        key = asyncssh.generate_private_key("ssh-ed25519")
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(key.export_private_key())
        return key


def known_host_key(sentence: str) -> str:
    """Return the text of a private key that everybody can derive from a sentence: its public half is always the same.

    It proves nothing to anybody. It is for a server that only this machine reaches, whose key stands in a file.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(sentence.encode()).digest())
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def _gate_class(server: LocalSftpServer) -> type[asyncssh.SSHServer]:
    """Make the class that decides who gets in; its base is only there once the SSH library is loaded."""
    import asyncssh

    class Gate(asyncssh.SSHServer):
        @override
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            self._connection = conn
            server.connections.add(conn)

        @override
        def connection_lost(self, exc: Exception | None) -> None:
            server.connections.discard(self._connection)

        @override
        def password_auth_supported(self) -> bool:
            return bool(server.password)

        @override
        def validate_password(self, username: str, password: str) -> bool:
            return server.admits(username, password=password)

        @override
        def public_key_auth_supported(self) -> bool:
            return True

        @override
        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            return server.admits(username, public_key=key.export_public_key().decode())

    return Gate


def _files_class(server: LocalSftpServer) -> type[asyncssh.SFTPServer]:
    """Make the class that answers requests, with the server's faults."""
    import asyncssh

    class Files(asyncssh.SFTPServer):
        @override
        def map_path(self, path: bytes) -> bytes:
            if posixpath.basename(path).decode(errors="replace") in server.faults.denied:
                raise asyncssh.SFTPPermissionDenied("Permission denied")
            return super().map_path(path)

        @override
        def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> BinaryIO:
            file = cast("BinaryIO", super().open(path, pflags, attrs))
            server.open_files.add(file)
            return file

        @override
        def close(self, file_obj: object) -> None:
            file = cast("BinaryIO", file_obj)
            server.open_files.discard(file)
            file.close()

        @override
        async def read(self, file_obj: object, offset: int, size: int) -> bytes:
            await asyncio.sleep(server.faults.seconds_per_read)
            file = cast("BinaryIO", file_obj)
            file.seek(offset)
            block = file.read(size)
            server.bytes_served += len(block)
            if server.faults.cut_after_bytes is not None and server.bytes_served >= server.faults.cut_after_bytes:
                self.connection.abort()
            return block

        @override
        def write(self, file_obj: object, offset: int, data: bytes) -> int:
            file = cast("BinaryIO", file_obj)
            file.seek(offset)
            return len(data) if server.faults.lose_writes else file.write(data)

        @override
        def rename(self, oldpath: bytes, newpath: bytes) -> None:
            if server.faults.rival == "file":
                Path(self.map_path(oldpath).decode()).unlink()
            if server.faults.rival == "name":
                Path(self.map_path(newpath).decode()).write_bytes(b"somebody else's")
            super().rename(oldpath, newpath)

        @override
        def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
            if server.faults.refuse_replacing:
                raise asyncssh.SFTPOpUnsupported("Operation unsupported")
            super().posix_rename(oldpath, newpath)

        @override
        def fstat(self, file_obj: object) -> os.stat_result | asyncssh.SFTPAttrs:
            server.grow()
            if server.faults.tell_no_size:
                return asyncssh.SFTPAttrs(mtime=0)
            return cast("os.stat_result", super().fstat(file_obj))

        @override
        def lstat(self, path: bytes) -> os.stat_result:
            server.grow()
            return cast("os.stat_result", super().lstat(path))

        @override
        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            server.grow()
            async for name in super().scandir(path):
                yield name
            for claimed in server.faults.claimed_names:
                attributes = asyncssh.SFTPAttrs(size=0, permissions=stat.S_IFREG | 0o644, mtime=0)
                yield asyncssh.SFTPName(claimed, attrs=attributes)

    return Files
