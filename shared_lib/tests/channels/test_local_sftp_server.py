"""The local SFTP server is one client's server: pinned key, one user, one folder."""

from __future__ import annotations

from pathlib import Path

import asyncssh
import pytest

from qualtrics_etl.channels.sftp import SftpClient, SftpConnection, SftpSecrets
from qualtrics_etl.errors import QualtricsEtlError
from qualtrics_etl.local.sftp_server import LocalSftpServer


def test_next_server_shows_the_same_host_key(tmp_path: Path) -> None:
    """A resumed run finds the host key that its settings have pinned, and nobody else can read it."""
    kept = tmp_path / "state" / "host_key"
    with LocalSftpServer(tmp_path, host_key_path=kept) as first:
        pinned = first.host_key
    with LocalSftpServer(tmp_path, host_key_path=kept) as second:
        assert second.host_key == pinned
    assert kept.stat().st_mode & 0o777 == 0o600


def test_given_keys_are_used(tmp_path: Path) -> None:
    """Host key and authorised key may be given, and then no key is made for the client."""
    host_key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    server = LocalSftpServer(
        tmp_path,
        user="acme",
        authorized_key=user_key.export_public_key("openssh").decode(),
        private_host_key=host_key.export_private_key().decode(),
    )
    with server:
        to = SftpConnection("127.0.0.1", "acme", host_key.export_public_key().decode(), server.port)
        with SftpClient(to, SftpSecrets(private_key=user_key.export_private_key().decode()), stage="local") as client:
            assert client.exists("/")
    assert server.private_key_for_client == ""


@pytest.mark.parametrize("path", ["/../secret.csv", "../../secret.csv"])
def test_user_sees_only_the_root(tmp_path: Path, server: LocalSftpServer, client: SftpClient, path: str) -> None:
    """What lies beside the root can't be reached by any path."""
    (tmp_path / "secret.csv").write_text("secret")
    with pytest.raises(QualtricsEtlError, match="is no longer there"):
        b"".join(client.read(path))
