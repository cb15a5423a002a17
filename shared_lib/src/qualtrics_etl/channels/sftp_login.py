"""Logging in to an SFTP server with nothing trusted and nothing tried but what the settings say.

The machine's known hosts, SSH agent, keys and configuration are not looked at: a function on AWS and a developer's
laptop must behave alike. Imports asyncssh at the top, so it is itself imported only where a connection is made.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass, field

import asyncssh
from asyncssh.public_key import get_default_public_key_algs
from typing_extensions import override

from qualtrics_etl.channels.sftp_errors import Server, Task, printable
from qualtrics_etl.errors import ConfigurationError, PermanentError, QualtricsEtlError

KEEPALIVE_SECONDS = 10  # a dead peer is noticed after three of them, also while rows are parsed and nothing is read
ENCRYPTIONS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"  # first of the defaults: in hardware, the fastest
HANG_UP_SECONDS = 2.0
LOG_IN = Task("log in")
OPEN_SESSION = Task("open an SFTP session")

# At INFO it writes several lines a request, file names (which may name persons) among them.
if logging.getLogger("asyncssh").level == logging.NOTSET:
    asyncssh.set_log_level(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Login:
    """All that a log-in needs, as text from settings and secrets.

    Attributes:
        host_key: The pinned keys, one a line.
        private_key: Text of the private key; empty to log in by password alone.
        password: The password; empty to log in by key alone.
    """

    server: Server
    host: str
    port: int
    host_key: str
    timeout_seconds: float
    private_key: str = field(repr=False)
    password: str = field(repr=False)


class HostKeyWitness(asyncssh.SSHClient):
    """Keeps the host key that was shown and not trusted, for the error text."""

    shown: asyncssh.SSHKey | None = None

    @override
    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = key
        return False


async def log_in(login: Login) -> asyncssh.SSHClientConnection:
    """Connect, check the host key and authenticate.

    Raises:
        ConfigurationError: A setting or a secret is missing or wrong; the text names it.
        RetryableError: The server can't be reached now.
    """
    pinned = read_host_keys(login.host_key, login.server)
    private_key = read_private_key(login.private_key, login.server)
    if private_key is None and not login.password:
        raise _no_secret(login.server)
    witness = HostKeyWitness()
    try:
        async with asyncio.timeout(login.timeout_seconds):
            return await _connect(login, pinned, private_key, witness)
    except (asyncssh.Error, OSError, UnicodeError) as error:
        if witness.shown is not None:
            raise _other_host_key(login.server, pinned, witness.shown) from error
        if isinstance(error, (asyncssh.PermissionDenied, asyncssh.IllegalUserName)):
            raise _refused_login(login, private_key) from error
        raise _no_connection(error, login) from error


async def open_session(ssh: asyncssh.SSHClientConnection, login: Login) -> asyncssh.SFTPClient:
    """Begin an SFTP session on the connection; names that are not UTF-8 survive as surrogates."""
    async with login.server.asked(OPEN_SESSION, timeout_seconds=login.timeout_seconds):
        return await ssh.start_sftp_client(path_errors="surrogateescape")


async def hang_up(ssh: asyncssh.SSHClientConnection) -> None:
    """Close the connection in order, or at once when the server does not take part."""
    ssh.close()
    try:
        async with asyncio.timeout(HANG_UP_SECONDS):
            await ssh.wait_closed()
    except TimeoutError:
        ssh.abort()


def read_host_keys(text: str, server: Server) -> list[asyncssh.SSHKey]:
    """Read the pinned host keys, one a line.

    Raises:
        ConfigurationError: There is none, or a line is not a public key.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise _host_key_form("`sftp.host_key` is empty", server)
    return [_read_host_key(number, line, server) for number, line in lines]


def read_private_key(text: str, server: Server) -> asyncssh.SSHKey | None:
    r"""Read the private key; None when there is none.

    A key that went through an environment variable often has `\n` written out where lines ended.
    """
    if not text.strip():
        return None
    try:
        return asyncssh.import_private_key(text.replace("\\n", "\n").strip() + "\n")
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise ConfigurationError(
            "The secret `sftp_private_key` is not a private key without a passphrase in OpenSSH or PEM form.",
            remedy="Set the whole text, from `-----BEGIN OPENSSH PRIVATE KEY-----` to the END line: "
            f"{_set_secret('sftp_private_key', server)}.",
        ) from error


async def _connect(
    login: Login, pinned: list[asyncssh.SSHKey], private_key: asyncssh.SSHKey | None, witness: HostKeyWitness
) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        login.host,
        login.port,
        client_factory=lambda: witness,
        config=None,
        known_hosts=(pinned, [], []),
        server_host_key_algs=_host_key_algorithms(pinned),
        username=login.server.user,
        # None, not an empty list: that would stand for the keys in ~/.ssh
        client_keys=[private_key] if private_key else None,
        password=login.password or None,
        preferred_auth=("publickey", "keyboard-interactive", "password"),
        agent_path=None,
        gss_host=None,
        x509_trusted_certs=None,
        encryption_algs=ENCRYPTIONS,
        compression_algs=None,
        keepalive_interval=KEEPALIVE_SECONDS,
        utf8_decode_errors="replace",
    )


def _host_key_algorithms(pinned: list[asyncssh.SSHKey]) -> list[str]:
    """Ask for the pinned kinds first, and for the others so that a server which has none of them shows its key."""
    wanted = [name for key in pinned for name in key.sig_algorithms] + get_default_public_key_algs()
    return [name.decode() for name in dict.fromkeys(wanted)]


def _no_connection(error: asyncssh.Error | OSError | UnicodeError, login: Login) -> QualtricsEtlError:
    """Choose what it means that server and client did not come to the point of a password."""
    server = login.server
    if isinstance(error, TimeoutError):
        return server.silent(LOG_IN, login.timeout_seconds)
    if isinstance(error, (OSError, UnicodeError)):
        return _unreachable(error, server)
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return PermanentError(
            f"The SFTP server {server.address} and this client have no algorithm in common: {printable(error.reason)}.",
            remedy="Have the client enable current algorithms (curve25519-sha256, aes256-gcm, ssh-ed25519); then "
            "send the message back.",
        )
    if isinstance(error, (asyncssh.ProtocolError, asyncssh.ProtocolNotSupported)):
        return ConfigurationError(
            f"What answers at {server.address} does not speak SSH as it is today: {printable(error.reason)}.",
            remedy=f"Correct `sftp.host` and `sftp.port` in {server.config_file}.",
        )
    return server.translate(error, LOG_IN)


def _unreachable(error: OSError | UnicodeError, server: Server) -> QualtricsEtlError:
    # EAI_AGAIN is a name server that gave no answer: it says nothing about the name
    unknown_name = isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN
    if unknown_name or isinstance(error, UnicodeError):
        return ConfigurationError(
            f"There is no host of the name in `sftp.host`: {server.address}.",
            remedy=f"Correct `sftp.host` in {server.config_file}.",
        )
    if isinstance(error, ConnectionRefusedError):
        return server.lost(LOG_IN, "refused the connection")
    return server.lost(LOG_IN, f"can't be reached ({printable(str(error))})")


def _read_host_key(number: int, line: str, server: Server) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(line)
    except asyncssh.KeyImportError as error:
        raise _host_key_form(f"Line {number} of `sftp.host_key` is not a public key", server) from error


def _host_key_form(what: str, server: Server) -> ConfigurationError:
    return ConfigurationError(
        f"{what}: the SFTP server {server.address} can't be told from another one.",
        remedy=f"Write the server's public key into {server.config_file}, one a line, as in `host_key: \"ssh-ed25519 "
        'AAAA..."`, without the host name in front. The client knows it; `ssh-keyscan` shows what the server claims: '
        "compare the two by telephone or another channel.",
    )


def _other_host_key(server: Server, pinned: list[asyncssh.SSHKey], shown: asyncssh.SSHKey) -> ConfigurationError:
    expected = " or ".join(_fingerprint(key) for key in pinned)
    return ConfigurationError(
        f"The SFTP server {server.address} showed another host key than the pinned one: expected {expected}, shown "
        f"{_fingerprint(shown)}. Nothing was sent to it.",
        remedy="Somebody may stand in between: compare the shown fingerprint with the client by telephone or another "
        f"channel; only when it is right, change `sftp.host_key` in {server.config_file}.",
    )


def _refused_login(login: Login, private_key: asyncssh.SSHKey | None) -> ConfigurationError:
    server = login.server
    used = []
    if private_key:
        used.append(("sftp_private_key", f"the key {_fingerprint(private_key)} (secret `sftp_private_key`)"))
    if login.password:
        used.append(("sftp_password", "the password (secret `sftp_password`)"))
    shown = " and ".join(words for _, words in used)
    return ConfigurationError(
        f"The SFTP server {server.address} refused user {server.user!r} with {shown}.",
        remedy=f"Correct `sftp.user` in {server.config_file}, or set the right secret: "
        f"{' or '.join(_set_secret(name, server) for name, _ in used)}"
        f"{'; the client must have the public half of the key for this user' if private_key else ''}.",
    )


def _no_secret(server: Server) -> ConfigurationError:
    return ConfigurationError(
        f"There is neither a private key nor a password for the SFTP server {server.address}.",
        remedy=f"Set one: {_set_secret('sftp_private_key', server)} or {_set_secret('sftp_password', server)}.",
    )


def _fingerprint(key: asyncssh.SSHKey) -> str:
    return f"{key.get_algorithm()} {key.get_fingerprint()}"


def _set_secret(name: str, server: Server) -> str:
    return f"`make secret NAME={name} STAGE={server.stage}`"
