"""Nothing is trusted and nothing is tried but what the settings say; each failure names what to change."""

from __future__ import annotations

import logging
import os
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import asyncssh
import pytest

from qualtrics_etl.channels.sftp import SftpClient, SftpConnection, SftpSecrets
from qualtrics_etl.errors import ConfigurationError, PermanentError, QualtricsEtlError, RetryableError
from qualtrics_etl.local.sftp_server import LocalSftpServer

Connect = Callable[..., SftpClient]

OTHER_KEY = asyncssh.generate_private_key("ssh-ed25519")
OTHER_KIND = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
PINNED = OTHER_KEY.export_public_key().decode().strip()
CANARY = "canary-4f1d-do-not-show"


def public_line(key: asyncssh.SSHKey) -> str:
    """The key as it is pinned."""
    return key.export_public_key().decode().strip()


def fingerprint(line: str) -> str:
    """The fingerprint of a pinned line."""
    return asyncssh.import_public_key(line).get_fingerprint()


def failure(client: SftpClient) -> QualtricsEtlError:
    """What entering the client raises."""
    with pytest.raises(QualtricsEtlError) as caught, client:
        pass
    return caught.value


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that accepts connections and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


def greeting(port_says: bytes) -> Iterator[int]:
    """A port that says its greeting to one caller and then waits for the caller to hang up."""

    def greet() -> None:
        caller, _ = listener.accept()
        with caller:
            caller.sendall(port_says)
            while caller.recv(65536):
                pass

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=greet)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.fixture
def old_port() -> Iterator[int]:
    """A port that greets as SSH servers did twenty years ago."""
    yield from greeting(b"SSH-1.5-Ancient\r\n")


@pytest.fixture
def weak_port() -> Iterator[int]:
    """A port of an SSH server that only knows an encryption which is no longer safe."""
    ciphers, macs, none = b"aes128-cbc", b"hmac-sha2-256", b"none"
    lists = [b"curve25519-sha256", b"ssh-ed25519", ciphers, ciphers, macs, macs, none, none, b"", b""]
    offer = b"\x14" + bytes(16) + b"".join(struct.pack(">I", len(names)) + names for names in lists) + bytes(5)
    padding = 4 + -(len(offer) + 9) % 8
    packet = struct.pack(">IB", 1 + len(offer) + padding, padding) + offer + bytes(padding)
    yield from greeting(b"SSH-2.0-Weak\r\n" + packet)


@pytest.mark.parametrize("pinned", [OTHER_KEY, OTHER_KIND], ids=["same kind", "a kind the server does not have"])
def test_other_host_key_stops_before_anything_is_sent(
    server: LocalSftpServer, connect: Connect, pinned: asyncssh.SSHKey
) -> None:
    """A server that shows another key is not logged in to, and both fingerprints are shown."""
    error = failure(connect(host_key=public_line(pinned)))
    assert isinstance(error, ConfigurationError)
    assert str(error) == (
        f"The SFTP server 127.0.0.1:{server.port} showed another host key than the pinned one: expected "
        f"{pinned.get_algorithm()} {pinned.get_fingerprint()}, shown ssh-ed25519 {fingerprint(server.host_key)}. "
        "Nothing was sent to it. Somebody may stand in between: compare the shown fingerprint with the client by "
        "telephone or another channel; only when it is right, change `sftp.host_key` in config/dev.yml."
    )


def test_one_of_several_pinned_keys_is_enough(server: LocalSftpServer, connect: Connect) -> None:
    """While the client changes its key, the old and the new one are both pinned."""
    with connect(host_key=f"{public_line(OTHER_KEY)}\n\n  {server.host_key} its comment\n") as client:
        assert client.exists("/")


@pytest.mark.parametrize(
    ("host_key", "what"),
    [
        ("", "`sftp.host_key` is empty"),
        (" \n", "`sftp.host_key` is empty"),
        ("ssh-ed25519 nonsense", "Line 1 of `sftp.host_key` is not a public key"),
        (f"{PINNED}\nhost.example {PINNED}", "Line 2 of `sftp.host_key` is not a public key"),
        (OTHER_KEY.export_private_key().decode(), "Line 1 of `sftp.host_key` is not a public key"),
    ],
)
def test_unusable_host_key_shows_the_right_form(
    server: LocalSftpServer, connect: Connect, host_key: str, what: str
) -> None:
    """A missing or garbled host key is refused before connecting, with the form that it must have."""
    assert str(failure(connect(host_key=host_key))) == (
        f"{what}: the SFTP server 127.0.0.1:{server.port} can't be told from another one. Write the server's public "
        'key into config/dev.yml, one a line, as in `host_key: "ssh-ed25519 AAAA..."`, without the host name in front. '
        "The client knows it; `ssh-keyscan` shows what the server claims: compare the two by telephone or another "
        "channel."
    )


def test_wrong_user_names_user_and_key(server: LocalSftpServer, connect: Connect) -> None:
    """A refused key log-in names `sftp.user`, the key's fingerprint and the secret's command."""
    key = asyncssh.import_private_key(server.private_key_for_client)
    error = failure(connect(user="nobody"))
    assert isinstance(error, ConfigurationError)
    assert str(error) == (
        f"The SFTP server 127.0.0.1:{server.port} refused user 'nobody' with the key ssh-ed25519 "
        f"{key.get_fingerprint()} (secret `sftp_private_key`). Correct `sftp.user` in config/dev.yml, or set the right "
        "secret: `make secret NAME=sftp_private_key STAGE=dev`; the client must have the public half of the key for "
        "this user."
    )


def test_wrong_password_names_user_and_secret(password_server: LocalSftpServer) -> None:
    """A refused password log-in names `sftp.user` and the secret's command, never the password."""
    to = SftpConnection(password_server.host, "etl", password_server.host_key, password_server.port)
    error = failure(SftpClient(to, SftpSecrets(password=CANARY), stage="prod"))
    assert isinstance(error, ConfigurationError)
    assert str(error) == (
        f"The SFTP server 127.0.0.1:{to.port} refused user 'etl' with the password (secret `sftp_password`). Correct "
        "`sftp.user` in config/prod.yml, or set the right secret: `make secret NAME=sftp_password STAGE=prod`."
    )


def test_password_is_tried_after_the_key(password_server: LocalSftpServer) -> None:
    """With both secrets set, a server that doesn't know the key still lets the password in."""
    to = SftpConnection(password_server.host, "etl", password_server.host_key, password_server.port)
    secrets = SftpSecrets(private_key=OTHER_KEY.export_private_key().decode(), password="right-password")
    with SftpClient(to, secrets, stage="dev") as client:
        assert client.exists("/")


def test_server_that_lets_nobody_in_names_both_secrets(server: LocalSftpServer, connection: SftpConnection) -> None:
    """When key and password were both refused, the text names both."""
    server.faults.refuse_login = True
    secrets = SftpSecrets(private_key=OTHER_KEY.export_private_key().decode(), password=CANARY)
    assert str(failure(SftpClient(connection, secrets, stage="dev"))) == (
        f"The SFTP server 127.0.0.1:{server.port} refused user 'etl' with the key ssh-ed25519 "
        f"{OTHER_KEY.get_fingerprint()} (secret `sftp_private_key`) and the password (secret `sftp_password`). Correct "
        "`sftp.user` in config/dev.yml, or set the right secret: `make secret NAME=sftp_private_key STAGE=dev` or "
        "`make secret NAME=sftp_password STAGE=dev`; the client must have the public half of the key for this user."
    )


def test_no_secret_names_the_two_commands(connection: SftpConnection) -> None:
    """Without key and password nothing is tried, least of all the keys of this machine."""
    assert str(failure(SftpClient(connection, SftpSecrets(), stage="dev"))) == (
        f"There is neither a private key nor a password for the SFTP server 127.0.0.1:{connection.port}. Set one: "
        "`make secret NAME=sftp_private_key STAGE=dev` or `make secret NAME=sftp_password STAGE=dev`."
    )


@pytest.mark.parametrize(
    "text",
    [CANARY, public_line(OTHER_KEY), OTHER_KEY.export_private_key("pkcs8-pem", passphrase=CANARY).decode()],
    ids=["nonsense", "a public key", "with a passphrase"],
)
def test_unusable_private_key_shows_the_right_form(connection: SftpConnection, text: str) -> None:
    """A private key that can't be read is a secret to set again; its text is not shown."""
    assert str(failure(SftpClient(connection, SftpSecrets(private_key=text), stage="dev"))) == (
        "The secret `sftp_private_key` is not a private key without a passphrase in OpenSSH or PEM form. Set the whole "
        "text, from `-----BEGIN OPENSSH PRIVATE KEY-----` to the END line: "
        "`make secret NAME=sftp_private_key STAGE=dev`."
    )


def test_private_key_survives_an_environment_variable(server: LocalSftpServer, connection: SftpConnection) -> None:
    """A key whose line ends were written out as backslash and n is read all the same."""
    text = server.private_key_for_client.strip().replace("\n", "\\n")
    with SftpClient(connection, SftpSecrets(private_key=text), stage="dev") as client:
        assert client.exists("/")


@pytest.mark.parametrize("host", ["no such host", "sftp..example", "x" * 70 + ".example"])
def test_unknown_host_names_the_setting(connect: Connect, connection: SftpConnection, host: str) -> None:
    """A host name that nobody knows is a setting to correct."""
    error = failure(connect(host=host))
    assert isinstance(error, ConfigurationError)
    assert str(error) == (
        f"There is no host of the name in `sftp.host`: {host}:{connection.port}. Correct `sftp.host` in config/dev.yml."
    )


def test_refused_connection_is_tried_again(connect: Connect) -> None:
    """A server that is down is waited for, and it is certain that nothing happened."""
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused, and nobody takes the port
        port = unused.getsockname()[1]
        error = failure(connect(port=port))
    assert isinstance(error, RetryableError)
    assert error.call_made is False
    assert str(error) == (
        f"The SFTP server 127.0.0.1:{port} refused the connection: it could not log in. It is tried again; if it "
        "stays so, check `sftp.host` and `sftp.port` in config/dev.yml, and whether the client's firewall lets this "
        "account's addresses in."
    )


def test_silent_server_is_tried_again(connect: Connect, deaf_port: int) -> None:
    """A server that says nothing is given up after the time-out of the connection."""
    error = failure(connect(port=deaf_port, connect_timeout_seconds=0.1))
    assert isinstance(error, RetryableError)
    assert error.call_made is False
    assert error.what == f"The SFTP server 127.0.0.1:{deaf_port} did not answer within 0.1 s: it could not log in."


def test_what_does_not_speak_ssh_names_the_port(connect: Connect, old_port: int) -> None:
    """Another service on the port is a setting to correct."""
    error = failure(connect(port=old_port))
    assert isinstance(error, ConfigurationError)
    assert str(error) == (
        f"What answers at 127.0.0.1:{old_port} does not speak SSH as it is today: Unsupported SSH version. Correct "
        "`sftp.host` and `sftp.port` in config/dev.yml."
    )


def test_server_without_a_common_algorithm_waits_for_the_client(connect: Connect, weak_port: int) -> None:
    """A server that only knows what is broken is the client's to mend: no retry helps."""
    error = failure(connect(port=weak_port))
    assert isinstance(error, PermanentError)
    assert str(error) == (
        f"The SFTP server 127.0.0.1:{weak_port} and this client have no algorithm in common: No matching encryption "
        "algorithm found, sent aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,"
        "aes192-ctr,aes128-ctr and received aes128-cbc. Have the client enable current algorithms (curve25519-sha256, "
        "aes256-gcm, ssh-ed25519); then send the message back."
    )


def test_keys_and_hosts_of_this_machine_are_not_used(server: LocalSftpServer, tmp_path: Path) -> None:
    """Neither ~/.ssh/known_hosts, nor its keys, nor its configuration help a client whose settings are wrong."""
    ssh = tmp_path / "home" / ".ssh"
    ssh.mkdir(parents=True)
    (ssh / "id_ed25519").write_text(server.private_key_for_client)
    (ssh / "id_ed25519").chmod(0o600)
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    (ssh / "config").write_text("Host *\n  User etl\n  StrictHostKeyChecking no\n")
    program = (
        "from qualtrics_etl.channels.sftp import *\n"
        f"for host_key in {[server.host_key, PINNED]!r}:\n"
        f"    to = SftpConnection('127.0.0.1', 'etl', host_key, {server.port})\n"
        "    try:\n"
        "        SftpClient(to, SftpSecrets(password='x'), stage='dev').__enter__()\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, error.what.split(' ', 4)[4][:30])\n"
    )
    environment = {**os.environ, "HOME": str(ssh.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "ConfigurationError refused user 'etl' with the pa",
        "ConfigurationError showed another host key than t",
    ]


def test_secrets_are_in_no_log_and_no_error(password_server: LocalSftpServer, caplog: pytest.LogCaptureFixture) -> None:
    """Password and key appear neither in the library's most talkative log, nor in an error's whole traceback."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="asyncssh")
    to = SftpConnection(password_server.host, "etl", password_server.host_key, password_server.port)
    key = OTHER_KEY.export_private_key().decode()
    client = SftpClient(to, SftpSecrets(private_key=key, password=CANARY), stage="dev")
    error = failure(client)
    seen = caplog.text + "".join(traceback.format_exception(error)) + repr(vars(client))
    assert "Beginning auth for user etl" in seen
    assert CANARY not in seen
    assert not [line for line in key.splitlines()[1:-1] if line in seen]
