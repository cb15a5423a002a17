"""Each exception of the SSH library becomes one of ours."""

from __future__ import annotations

import asyncio
import inspect

import asyncssh
import pytest

from qualtrics_etl.channels.sftp_errors import Server, Task
from qualtrics_etl.errors import ConfigurationError, NotYetError, PermanentError, RetryableError

SERVER = Server("sftp.client.example:22", "etl", "dev")
READ = Task("read '/in/a.csv'")

KINDS: dict[str, type[Exception]] = {
    "SFTPNoSuchFile": NotYetError,
    "SFTPNoSuchPath": NotYetError,
    "SFTPPermissionDenied": PermanentError,
    "SFTPWriteProtect": PermanentError,
    "SFTPOpUnsupported": PermanentError,
    "SFTPCannotDelete": PermanentError,
    "SFTPInvalidFilename": PermanentError,
    "SFTPFileIsADirectory": PermanentError,
    "SFTPNotADirectory": PermanentError,
    "ChannelOpenError": RetryableError,
    "CompressionError": RetryableError,
    "ConnectionLost": RetryableError,
    "DisconnectError": RetryableError,
    "Error": RetryableError,
    "HostKeyNotVerifiable": RetryableError,
    "IllegalUserName": RetryableError,
    "KeyExchangeFailed": RetryableError,
    "MACError": RetryableError,
    "PermissionDenied": RetryableError,
    "ProtocolError": RetryableError,
    "ProtocolNotSupported": RetryableError,
    "SFTPBadMessage": RetryableError,
    "SFTPByteRangeLockConflict": RetryableError,
    "SFTPByteRangeLockRefused": RetryableError,
    "SFTPConnectionLost": RetryableError,
    "SFTPDeletePending": RetryableError,
    "SFTPDirNotEmpty": RetryableError,
    "SFTPEOFError": RetryableError,
    "SFTPError": RetryableError,
    "SFTPFailure": RetryableError,
    "SFTPFileAlreadyExists": RetryableError,
    "SFTPFileCorrupt": RetryableError,
    "SFTPGroupInvalid": RetryableError,
    "SFTPInvalidHandle": RetryableError,
    "SFTPInvalidParameter": RetryableError,
    "SFTPLinkLoop": RetryableError,
    "SFTPLockConflict": RetryableError,
    "SFTPNoConnection": RetryableError,
    "SFTPNoMatchingByteRangeLock": RetryableError,
    "SFTPNoMedia": RetryableError,
    "SFTPNoSpaceOnFilesystem": RetryableError,
    "SFTPOwnerInvalid": RetryableError,
    "SFTPQuotaExceeded": RetryableError,
    "SFTPUnknownPrincipal": RetryableError,
    "ServiceNotAvailable": RetryableError,
}
# those of commands, which are never run
COMMANDS = asyncssh.ProcessError
EXCEPTIONS = {
    name: kind
    for name, kind in vars(asyncssh).items()
    if inspect.isclass(kind) and issubclass(kind, asyncssh.Error) and not issubclass(kind, COMMANDS)
}


def make(kind: type[asyncssh.Error]) -> asyncssh.Error:
    """One exception of a class, as the library raises it."""
    coded = kind in {asyncssh.Error, asyncssh.DisconnectError, asyncssh.ChannelOpenError, asyncssh.SFTPError}
    return kind(4, "no luck") if coded else kind("no luck")


def test_each_exception_of_the_library_has_a_meaning() -> None:
    """A new exception in the library fails here until somebody has decided what it means."""
    kinds = {name: type(SERVER.translate(make(kind), READ)) for name, kind in EXCEPTIONS.items()}
    assert kinds == KINDS


def test_failure_shows_the_servers_own_words_made_safe() -> None:
    """The server's reason is quoted on one line of ASCII, cut, and never breaks a log line."""
    error = SERVER.translate(asyncssh.SFTPFailure("disk\nvoll: 100 % gefüllt." + "x" * 300), READ)
    assert str(error) == (
        r"The SFTP server sftp.client.example:22 failed to read '/in/a.csv': disk\nvoll: 100 % gef\xfcllt."
        + "x" * 171
        + ". It is tried again; if it stays so, ask the client what its server's log says."
    )


@pytest.mark.parametrize(("changes", "call_made"), [(False, False), (True, True)])
def test_lost_answer_leaves_open_only_what_changes_something(changes: bool, call_made: bool) -> None:
    """After a lost connection a read certainly had no effect; a change may have had one."""
    error = SERVER.translate(ConnectionResetError(), Task("do it", changes=changes))
    assert isinstance(error, RetryableError)
    assert error.call_made is call_made


def test_missing_folder_names_its_setting() -> None:
    """A folder that is not there is a setting to correct, not a file to wait for."""
    error = SERVER.translate(asyncssh.SFTPNoSuchFile("no"), Task("list", folder="/in", setting="folder"))
    assert isinstance(error, ConfigurationError)
    assert str(error) == (
        "The SFTP server sftp.client.example:22 has no folder '/in'. Correct the setting `folder` (workflow.yml or "
        "config/dev.yml), or have the client create the folder."
    )


def test_silence_is_bounded() -> None:
    """A request that is not answered ends after its time, as something to try again."""

    async def ask() -> None:
        async with SERVER.asked(READ, timeout_seconds=0.01):
            await asyncio.Event().wait()

    with pytest.raises(RetryableError) as caught:
        asyncio.run(ask())
    assert str(caught.value) == (
        "The SFTP server sftp.client.example:22 did not answer within 0.01 s: it could not read '/in/a.csv'. It is "
        "tried again; if it stays so, check `sftp.host` and `sftp.port` in config/dev.yml, and whether the client's "
        "firewall lets this account's addresses in."
    )
