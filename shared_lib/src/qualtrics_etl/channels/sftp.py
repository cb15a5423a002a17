"""Files on the client's SFTP server: listed, read, put away, written, by synchronous calls.

Importing this module costs nothing: the SSH library is loaded when a client is entered.
"""

from __future__ import annotations

import logging
import posixpath
import stat
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from qualtrics_etl.file_names import RefusedName, check_pattern, keep_name, refuse_name

if TYPE_CHECKING:
    import asyncssh

    from qualtrics_etl.channels.loop_thread import LoopThread
    from qualtrics_etl.channels.sftp_login import Login
    from qualtrics_etl.channels.sftp_reader import SftpReader
    from qualtrics_etl.channels.sftp_session import SftpSession

CHUNK_BYTES = 256 * 1024

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SftpConnection:
    """Where the client's SFTP server is, and how it proves itself: `sftp` in config/<stage>.yml.

    Attributes:
        host_key: The server's public key, one or more lines as in `ssh-ed25519 AAAA...`; nothing else is trusted.
        connect_timeout_seconds: For name look-up, connection and log-in together.
        answer_timeout_seconds: For each request; for the whole of a listing.
    """

    host: str
    user: str
    host_key: str
    port: int = 22
    connect_timeout_seconds: float = 20.0
    answer_timeout_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class SftpSecrets:
    """What the log-in proves itself with: a key, a password, or both. Never shown by `repr`.

    Attributes:
        private_key: Text of a private key without passphrase, OpenSSH or PEM form.
        password: The password; also answers a keyboard-interactive question.
    """

    private_key: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A regular file on the server.

    Attributes:
        path: Folder and name, as `read`, `move` and `delete` take it.
        name: The last part of the path.
        size: Bytes.
        modified_at: UTC, whole seconds; the epoch where the server tells no time.
    """

    path: str
    name: str
    size: int
    modified_at: datetime


def log_refused_name(refused: RefusedName) -> None:
    """Report a file that is not taken because of its name, as a log event."""
    logger.warning("file_name_refused", extra={"file_name": refused.name, "reason": refused.reason})


class SftpClient:
    """One connection to the client's SFTP server, open inside a `with` block, for one thread.

    Entering it connects. Any method may raise `RetryableError` (no answer, connection lost; `call_made` is True
    when the request would have changed something) and `PermanentError` (the user has not the right).

    Args:
        stage: Names config/<stage>.yml and the secret's command in error texts.
    """

    def __init__(self, connection: SftpConnection, secrets: SftpSecrets, *, stage: str) -> None:
        self._connection = connection
        self._secrets = secrets
        self._stage = stage
        self._ssh: asyncssh.SSHClientConnection | None = None
        self._readers: set[SftpReader] = set()
        self._thread: LoopThread
        self._session: SftpSession

    def __enter__(self) -> Self:
        """Connect, check the host key and log in.

        Raises:
            ConfigurationError: A setting or a secret is missing or wrong; the text names it.
            RetryableError: The server can't be reached now.
        """
        from qualtrics_etl.channels.loop_thread import LoopThread

        self._thread = LoopThread("sftp-client")
        self._thread.start()
        try:
            self._thread.call(self._open())
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def list_files(
        self,
        folder: str,
        pattern: str = "*",
        *,
        marker_suffix: str = "",
        on_refused: Callable[[RefusedName], None] = log_refused_name,
    ) -> list[RemoteFile]:
        """List the regular files of a folder whose name fits, by name; not those of its folders.

        Hidden names, marker files and links are left out. A name that would lead out of the folder, holds control
        characters or is not UTF-8 is not taken but reported to `on_refused`.

        Args:
            pattern: Shell pattern with `*`, `?` and `[...]` for the name; upper and lower case differ.
            marker_suffix: End of the names of marker files; empty when the client writes none.

        Raises:
            ConfigurationError: There is no such folder, or the pattern holds a slash.
        """
        check_pattern(pattern)
        files = []
        for entry in self._thread.call(self._session.entries(folder or ".")):
            name = str(entry.filename)
            if not keep_name(name, pattern, marker_suffix=marker_suffix) or not _is_file(entry.attrs):
                continue
            refused = refuse_name(name)
            if refused:
                on_refused(refused)
            else:
                files.append(_remote_file(posixpath.join(folder, name), entry.attrs))
        return sorted(files, key=lambda file: file.name)

    def stat(self, path: str) -> RemoteFile | None:
        """Look at one file; None when there is no regular file of that path."""
        attributes = self._thread.call(self._session.attributes(path))
        if attributes is None or not _is_file(attributes):
            return None
        return _remote_file(path, attributes)

    def exists(self, path: str) -> bool:
        """Tell whether anything is at the path: a file, a folder or a link."""
        return self._thread.call(self._session.attributes(path)) is not None

    def read(self, path: str, chunk_bytes: int = CHUNK_BYTES) -> Generator[bytes, None, None]:
        """Stream a file in chunks of `chunk_bytes`, the last one shorter, with read-ahead and constant memory.

        What was yielded is the file only when the iteration ends without an error: it then had the same size and
        time at its end as at its beginning. Errors come while iterating, the first chunk's among them.

        Raises:
            NotYetError: The file is gone, or was written to meanwhile.
        """
        from qualtrics_etl.channels.sftp_reader import SftpReader

        reader = SftpReader(self._session, path, chunk_bytes)
        self._readers.add(reader)
        try:
            self._thread.call(reader.open())
            while chunk := self._thread.call(reader.next_chunk()):
                yield chunk
        finally:
            # an iterator that nobody finished may be dropped after the connection, which has then closed it
            if reader in self._readers:
                self._readers.remove(reader)
                self._thread.call(reader.close())

    def delete(self, path: str) -> None:
        """Delete a file; one that is no longer there counts as deleted, so that a repeat succeeds."""
        self._thread.call(self._session.remove(path))

    def move(self, path: str, folder: str) -> str | None:
        """Move a file into another folder; what lies there is never overwritten.

        Where the name is taken, the file's time is put before its suffix, then a number: `contacts.csv`,
        `contacts.20251231T235959Z.csv`, `contacts.20251231T235959Z.2.csv`.

        Returns:
            The new path; None when the file is no longer there, for example because an earlier attempt moved it.

        Raises:
            ConfigurationError: There is no such folder; names the setting `after_fetch`.
        """
        return self._thread.call(self._session.move(path, folder))

    def put(self, path: str, chunks: Iterable[bytes]) -> int:
        """Write a file from chunks in constant memory; it appears whole or not at all.

        It is written under a hidden temporary name and renamed. A file of the same path is replaced, so that a
        repeat ends in the same state.

        Returns:
            Its size in bytes.

        Raises:
            ConfigurationError: There is no such folder.
        """
        from qualtrics_etl.channels.sftp_session import temporary_path

        temporary = temporary_path(path)
        handle = self._thread.call(self._session.create(temporary))
        size = 0
        try:
            for chunk in chunks:
                self._thread.call(self._session.write(path, handle, size, chunk))
                size += len(chunk)
            self._thread.call(self._session.publish(temporary, handle, path, size))
        except BaseException:
            self._thread.call(self._session.discard(temporary, handle))
            raise
        return size

    async def _open(self) -> None:
        from qualtrics_etl.channels.sftp_login import log_in, open_session
        from qualtrics_etl.channels.sftp_session import SftpSession

        login = self._login()
        self._ssh = await log_in(login)
        sftp = await open_session(self._ssh, login)
        self._session = SftpSession(login.server, sftp, self._connection.answer_timeout_seconds)

    def _login(self) -> Login:
        from qualtrics_etl.channels.sftp_errors import Server
        from qualtrics_etl.channels.sftp_login import Login

        to = self._connection
        return Login(
            server=Server(f"{to.host}:{to.port}", to.user, self._stage),
            host=to.host,
            port=to.port,
            host_key=to.host_key,
            timeout_seconds=to.connect_timeout_seconds,
            private_key=self._secrets.private_key,
            password=self._secrets.password,
        )

    def _close(self) -> None:
        from qualtrics_etl.channels.sftp_login import hang_up

        while self._readers:
            self._thread.call(self._readers.pop().close())
        ssh, self._ssh = self._ssh, None
        if ssh is not None:
            self._thread.call(hang_up(ssh))
        self._thread.stop()


def _is_file(attributes: asyncssh.SFTPAttrs) -> bool:
    # A server that tells no kind is believed: a folder then fails loudly at reading, instead of nothing ever arriving.
    return attributes.permissions is None or stat.S_ISREG(attributes.permissions)


def _remote_file(path: str, attributes: asyncssh.SFTPAttrs) -> RemoteFile:
    modified_at = datetime.fromtimestamp(attributes.mtime or 0, tz=UTC)
    return RemoteFile(path, posixpath.basename(path), attributes.size or 0, modified_at)
