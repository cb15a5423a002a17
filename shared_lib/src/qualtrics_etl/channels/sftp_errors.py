"""The border to asyncssh: each of its exceptions becomes one of ours, with the setting to change.

Imports asyncssh at the top, so it is itself imported only where a connection is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncssh

from qualtrics_etl.errors import (
    ConfigurationError,
    NotYetError,
    PermanentError,
    QualtricsEtlError,
    RetryableError,
)

LOOK_AGAIN_SECONDS = 60.0

ABSENT = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)
LOST = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.DisconnectError, OSError)
REFUSED = (
    asyncssh.SFTPPermissionDenied,
    asyncssh.SFTPWriteProtect,
    asyncssh.SFTPOpUnsupported,
    asyncssh.SFTPCannotDelete,
    asyncssh.SFTPInvalidFilename,
    asyncssh.SFTPFileIsADirectory,
    asyncssh.SFTPNotADirectory,
)


@dataclass(frozen=True, slots=True)
class Task:
    """What is being asked of the server, in the words of an error text.

    Attributes:
        words: The end of "it could not ...", for example `list the folder '/in'`.
        folder: The folder that must exist; empty when a missing path means that a file is gone.
        setting: The setting that names the folder.
        changes: Whether the request changes something at the client's, so that a lost answer leaves that open.
    """

    words: str
    folder: str = ""
    setting: str = "folder"
    changes: bool = False


@dataclass(frozen=True, slots=True)
class Server:
    """Who is spoken to, and where its settings stand."""

    address: str
    user: str
    stage: str

    @property
    def config_file(self) -> str:
        """The file with the `sftp` settings of this stage."""
        return f"config/{self.stage}.yml"

    @asynccontextmanager
    async def asked(self, task: Task, *, timeout_seconds: float) -> AsyncIterator[None]:
        """Bound the time of what is done inside, and turn its foreign exceptions into ours."""
        try:
            async with asyncio.timeout(timeout_seconds):
                yield
        except TimeoutError as error:
            raise self.silent(task, timeout_seconds) from error
        except (asyncssh.Error, OSError) as error:
            raise self.translate(error, task) from error

    def translate(self, error: asyncssh.Error | OSError, task: Task) -> QualtricsEtlError:
        """Choose the error that says what happens to the message next."""
        if isinstance(error, ABSENT):
            return self._absent(task)
        if isinstance(error, REFUSED):
            return self._refused(task, error.reason)
        if isinstance(error, LOST):
            return self.lost(task, "cut the connection")
        return RetryableError(
            f"The SFTP server {self.address} failed to {task.words}{_said(error)}.",
            call_made=task.changes,
            remedy="It is tried again; if it stays so, ask the client what its server's log says.",
        )

    def silent(self, task: Task, seconds: float) -> RetryableError:
        """Say that the answer did not come in time."""
        return self.lost(task, f"did not answer within {seconds:g} s")

    def lost(self, task: Task, cause: str) -> RetryableError:
        """Say that no answer came."""
        return RetryableError(
            f"The SFTP server {self.address} {cause}: it could not {task.words}.",
            call_made=task.changes,
            remedy=f"It is tried again; if it stays so, check `sftp.host` and `sftp.port` in {self.config_file}, and "
            "whether the client's firewall lets this account's addresses in.",
        )

    def _absent(self, task: Task) -> QualtricsEtlError:
        if task.folder:
            return ConfigurationError(
                f"The SFTP server {self.address} has no folder {task.folder!r}.",
                remedy=f"Correct the setting `{task.setting}` (workflow.yml or {self.config_file}), or have the client "
                "create the folder.",
            )
        return NotYetError(
            f"The SFTP server {self.address} could not {task.words}: the file is no longer there.",
            delay_seconds=LOOK_AGAIN_SECONDS,
            remedy="It was moved or deleted meanwhile; if that goes on, ask the client what else takes files away.",
        )

    def _refused(self, task: Task, reason: str) -> PermanentError:
        return PermanentError(
            f"The SFTP server {self.address} does not let user {self.user!r} {task.words}"
            f"{': ' + printable(reason) if reason else ''}.",
            remedy=f"Have the client give that user (`sftp.user` in {self.config_file}) the right, "
            "then send the message back.",
        )


def printable(reason: str) -> str:
    """Make the server's own words safe to show: one line of ASCII, at most 200 characters."""
    return ascii(reason.rstrip(". "))[1:-1][:200]


def _said(error: asyncssh.Error | OSError) -> str:
    reason = error.reason if isinstance(error, asyncssh.Error) else error.strerror
    return f": {printable(reason)}" if reason else ""
