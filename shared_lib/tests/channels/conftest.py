"""A running SFTP server on loopback, and clients that know its host key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qualtrics_etl.channels.sftp import SftpClient, SftpConnection, SftpSecrets
from qualtrics_etl.local.sftp_server import LocalSftpServer

Connect = Callable[..., SftpClient]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that the SFTP user sees as `/`."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def server(root: Path) -> Iterator[LocalSftpServer]:
    """A server that lets one user in by key."""
    with LocalSftpServer(root) as running:
        yield running


@pytest.fixture
def password_server(root: Path) -> Iterator[LocalSftpServer]:
    """A server that lets one user in by password."""
    with LocalSftpServer(root, password="right-password") as running:
        yield running


@pytest.fixture
def connection(server: LocalSftpServer) -> SftpConnection:
    """How to reach the server, as a stage's configuration says it."""
    return SftpConnection(host=server.host, port=server.port, user=server.user, host_key=server.host_key)


@pytest.fixture
def connect(server: LocalSftpServer, connection: SftpConnection) -> Connect:
    """Make a client of the server; keyword arguments change its connection."""

    def make(**changes: object) -> SftpClient:
        secrets = SftpSecrets(private_key=server.private_key_for_client)
        return SftpClient(replace(connection, **changes), secrets, stage="dev")

    return make


@pytest.fixture
def client(connect: Connect) -> Iterator[SftpClient]:
    """A client that is logged in."""
    with connect() as entered:
        yield entered
