"""Files are listed, read, put away and written; what goes wrong says what happens next."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qualtrics_etl.channels.sftp import CHUNK_BYTES, RemoteFile, SftpClient
from qualtrics_etl.channels.sftp_reader import READ_AHEAD_BYTES
from qualtrics_etl.errors import ConfigurationError, NotYetError, PermanentError, RetryableError
from qualtrics_etl.file_names import RefusedName
from qualtrics_etl.local.sftp_server import LocalSftpServer

Connect = Callable[..., SftpClient]

NIGHT = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
MIB = 1024 * 1024
TRY_AGAIN = (
    " It is tried again; if it stays so, check `sftp.host` and `sftp.port` in config/dev.yml, and whether the client's "
    "firewall lets this account's addresses in."
)


def drop(path: Path, content: bytes = b"x", *, at: datetime = NIGHT) -> Path:
    """Put a file there, as the client's nightly job does."""
    path.write_bytes(content)
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def content(client: SftpClient, path: str) -> bytes:
    """All that is read of a file."""
    return b"".join(client.read(path))


def names_in(folder: Path) -> list[str]:
    """What lies in a folder of the server."""
    return sorted(path.name for path in folder.iterdir())


def test_listing_holds_the_files_that_fit_sorted(root: Path, client: SftpClient) -> None:
    """Path, name, size and time of each file that fits are told, whatever script its name is in."""
    drop(root / "b kontakte märz.csv", b"12345")
    drop(root / "連絡先.csv", b"")
    drop(root / "a.csv", b"1")
    assert client.list_files("/", "*.csv") == [
        RemoteFile("/a.csv", "a.csv", 1, NIGHT),
        RemoteFile("/b kontakte märz.csv", "b kontakte märz.csv", 5, NIGHT),
        RemoteFile("/連絡先.csv", "連絡先.csv", 0, NIGHT),
    ]


def test_listing_leaves_out_what_is_no_finished_file(root: Path, client: SftpClient) -> None:
    """Folders, links, hidden files, marker files and names that don't fit are not listed."""
    (root / "in" / "folder.csv").mkdir(parents=True)
    drop(root / "in" / "a.csv")
    drop(root / "in" / "a.csv.done")
    drop(root / "in" / ".b.csv")
    (root / "in" / "link.csv").symlink_to("a.csv")
    assert [file.path for file in client.list_files("in", "*csv*", marker_suffix=".done")] == ["in/a.csv"]


def test_hostile_names_are_reported_and_not_listed(server: LocalSftpServer, root: Path, client: SftpClient) -> None:
    """A name that traverses, lies or can't be stored is reported with its reason; the good ones are still taken."""
    server.faults.claimed_names = (b"../../etc/evil.csv", b"m\xfcller.csv", b"line\nbreak.csv")
    drop(root / "good.csv")
    refused: list[RefusedName] = []
    assert [file.name for file in client.list_files("/", "*.csv", on_refused=refused.append)] == ["good.csv"]
    assert refused == [
        RefusedName("../../etc/evil.csv", "holds a path separator"),
        RefusedName(r"m\udcfcller.csv", "is not UTF-8"),
        RefusedName(r"line\nbreak.csv", "holds control characters"),
    ]


def test_refused_name_is_logged_when_nobody_asks_for_it(
    server: LocalSftpServer, client: SftpClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is not taken is never passed over in silence."""
    server.faults.claimed_names = (b"a\tb.csv",)
    client.list_files("/", "*.csv")
    assert [(record.msg, vars(record)["file_name"], vars(record)["reason"]) for record in caplog.records] == [
        ("file_name_refused", r"a\tb.csv", "holds control characters")
    ]


def test_pattern_with_a_folder_names_the_setting(client: SftpClient) -> None:
    """A pattern that can fit nothing is refused instead of finding nothing for ever."""
    with pytest.raises(ConfigurationError) as caught:
        client.list_files("/", "in/*.csv")
    assert str(caught.value) == (
        "The setting `pattern` is 'in/*.csv': it fits no file, since names hold no slash. Put the folder into the "
        "setting `folder`."
    )


def test_missing_folder_names_the_setting(server: LocalSftpServer, client: SftpClient) -> None:
    """A folder that is not there is a setting to correct."""
    with pytest.raises(ConfigurationError) as caught:
        client.list_files("/nowhere", "*.csv")
    assert str(caught.value) == (
        f"The SFTP server 127.0.0.1:{server.port} has no folder '/nowhere'. Correct the setting `folder` (workflow.yml "
        "or config/dev.yml), or have the client create the folder."
    )


def test_denied_folder_asks_for_the_right(server: LocalSftpServer, root: Path, client: SftpClient) -> None:
    """What the user may not do waits for the client to allow it."""
    (root / "in").mkdir()
    server.faults.denied = frozenset({"in"})
    with pytest.raises(PermanentError) as caught:
        client.list_files("/in", "*.csv")
    assert str(caught.value) == (
        f"The SFTP server 127.0.0.1:{server.port} does not let user 'etl' list the folder '/in': Permission denied. "
        "Have the client give that user (`sftp.user` in config/dev.yml) the right, then send the message back."
    )


def test_stat_and_exists_tell_files_from_the_rest(root: Path, client: SftpClient) -> None:
    """A file is described; a folder exists and is no file; what is not there is neither."""
    (root / "in").mkdir()
    drop(root / "in" / "a.csv", b"123")
    assert client.stat("/in/a.csv") == RemoteFile("/in/a.csv", "a.csv", 3, NIGHT)
    assert (client.stat("/in"), client.stat("/in/b.csv")) == (None, None)
    assert (client.exists("/in/a.csv"), client.exists("/in"), client.exists("/in/b.csv")) == (True, True, False)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 70_000, 262_144])
def test_chunks_are_the_file(root: Path, client: SftpClient, size: int) -> None:
    """Every chunk but the last has the size asked for, and together they are the file."""
    drop(root / "a.csv", os.urandom(size))
    chunks = list(client.read("/a.csv", 1000))
    assert b"".join(chunks) == (root / "a.csv").read_bytes()
    assert [len(chunk) for chunk in chunks[:-1]] == [1000] * (len(chunks) - 1)


def test_reading_a_large_file_takes_constant_memory(server: LocalSftpServer, root: Path, client: SftpClient) -> None:
    """50 MB are read with no more than the read-ahead between server and reader."""
    with (root / "big.csv").open("wb") as file:
        file.truncate(50 * MIB)
    read = ahead = 0
    for chunk in client.read("/big.csv"):
        ahead = max(ahead, server.bytes_served - read)
        read += len(chunk)
    assert read == 50 * MIB
    assert CHUNK_BYTES < ahead <= READ_AHEAD_BYTES + CHUNK_BYTES


def test_file_that_is_gone_is_looked_at_again(server: LocalSftpServer, client: SftpClient) -> None:
    """A file that was taken away between listing and reading is no failure."""
    with pytest.raises(NotYetError) as caught:
        content(client, "/in/a.csv")
    assert (caught.value.delay_seconds, caught.value.call_made) == (60.0, False)
    assert str(caught.value) == (
        f"The SFTP server 127.0.0.1:{server.port} could not read '/in/a.csv': the file is no longer there. It was "
        "moved or deleted meanwhile; if that goes on, ask the client what else takes files away."
    )


def test_file_that_grows_while_it_is_read_is_read_again(
    server: LocalSftpServer, root: Path, client: SftpClient
) -> None:
    """What was read of a file that somebody is writing is not taken for the file."""
    drop(root / "a.csv", b"1,2\n")
    server.faults.growing_file = "a.csv"
    with pytest.raises(NotYetError) as caught:
        content(client, "/a.csv")
    assert (caught.value.delay_seconds, caught.value.call_made) == (60.0, False)
    assert str(caught.value) == (
        f"The file '/a.csv' on the SFTP server 127.0.0.1:{server.port} changed while it was read. It is read again "
        "from its beginning; if that goes on, have the client upload under another name and rename when the file is "
        "complete."
    )


def test_file_that_shrinks_while_it_is_read_holds_no_invented_bytes(root: Path, client: SftpClient) -> None:
    """A file that is cut under the reader ends in an error, never in NULs."""
    drop(root / "a.csv", b"x" * 8 * MIB)
    chunks = client.read("/a.csv")
    assert set(next(chunks)) == {ord("x")}
    os.truncate(root / "a.csv", MIB)
    with pytest.raises(NotYetError, match="changed while it was read"):
        assert set(b"".join(chunks)) == {ord("x")}


def test_file_of_the_same_size_written_meanwhile_is_read_again(root: Path, client: SftpClient) -> None:
    """A file that was overwritten in place is noticed by its time."""
    drop(root / "a.csv", b"old")
    chunks = client.read("/a.csv")
    next(chunks)
    drop(root / "a.csv", b"new", at=datetime(2026, 3, 2, tzinfo=UTC))
    with pytest.raises(NotYetError, match="changed while it was read"):
        next(chunks)


def test_cut_connection_is_tried_again(server: LocalSftpServer, root: Path, client: SftpClient) -> None:
    """A connection lost in the middle of a file is a fault that passes, without effect at the client's."""
    drop(root / "a.csv", b"x" * 8 * MIB)
    server.faults.cut_after_bytes = 3 * MIB
    with pytest.raises(RetryableError) as caught:
        content(client, "/a.csv")
    assert caught.value.call_made is False
    assert str(caught.value) == (
        f"The SFTP server 127.0.0.1:{server.port} cut the connection: it could not read '/a.csv'." + TRY_AGAIN
    )


def test_server_that_hangs_is_tried_again(server: LocalSftpServer, root: Path, connect: Connect) -> None:
    """A request that is not answered in time ends as a fault that passes."""
    drop(root / "a.csv")
    server.faults.seconds_per_read = 30
    with connect(answer_timeout_seconds=0.1) as client, pytest.raises(RetryableError) as caught:
        content(client, "/a.csv")
    assert caught.value.call_made is False
    assert str(caught.value) == (
        f"The SFTP server 127.0.0.1:{server.port} did not answer within 0.1 s: it could not read '/a.csv'." + TRY_AGAIN
    )


def test_slow_server_is_waited_for(server: LocalSftpServer, root: Path, connect: Connect) -> None:
    """The time-out is for an answer, not for a file: a slow one comes through whole."""
    drop(root / "a.csv", os.urandom(400_000))
    server.faults.seconds_per_read = 0.03
    with connect(answer_timeout_seconds=0.3) as client:
        assert b"".join(client.read("/a.csv", 20_000)) == (root / "a.csv").read_bytes()


def test_reader_may_stop_early(root: Path, client: SftpClient) -> None:
    """Who has seen enough of a file goes on with the next request."""
    drop(root / "a.csv", b"x" * 8 * MIB)
    chunks = client.read("/a.csv")
    assert len(next(chunks)) == CHUNK_BYTES
    chunks.close()
    assert client.exists("/a.csv")


def test_reader_may_be_left_open(root: Path, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """An iterator that outlives its client ends quietly."""
    drop(root / "a.csv", b"x" * 8 * MIB)
    with connect() as client:
        chunks = client.read("/a.csv")
        next(chunks)
    chunks.close()
    assert caplog.records == []


def test_file_of_unknown_size_is_not_read(server: LocalSftpServer, root: Path, client: SftpClient) -> None:
    """Without a size nobody can tell a whole file from half of one."""
    drop(root / "a.csv")
    server.faults.tell_no_size = True
    with pytest.raises(PermanentError) as caught:
        content(client, "/a.csv")
    assert str(caught.value) == (
        f"The SFTP server 127.0.0.1:{server.port} does not tell the size of '/a.csv', so that its end can't be known. "
        "Have the client turn file attributes on at its server; then send the message back."
    )


def test_two_clients_read_at_once(root: Path, connect: Connect) -> None:
    """Clients in different threads don't disturb each other."""
    drop(root / "a.csv", os.urandom(4 * MIB))
    drop(root / "b.csv", os.urandom(4 * MIB))

    def read(path: str) -> bytes:
        with connect() as client:
            return content(client, path)

    with ThreadPoolExecutor(2) as pool:
        read_at_once = list(pool.map(read, ["/a.csv", "/b.csv"]))
    assert read_at_once == [(root / "a.csv").read_bytes(), (root / "b.csv").read_bytes()]


def test_deleting_twice_succeeds(root: Path, client: SftpClient) -> None:
    """A file is gone after the first delete, and a repeat changes nothing."""
    drop(root / "a.csv")
    client.delete("/a.csv")
    client.delete("/a.csv")
    assert names_in(root) == []


def test_denied_delete_asks_for_the_right(server: LocalSftpServer, root: Path, client: SftpClient) -> None:
    """A file that may not be deleted stays, and the text says whom to ask for what."""
    drop(root / "a.csv")
    server.faults.denied = frozenset({"a.csv"})
    with pytest.raises(PermanentError) as caught:
        client.delete("/a.csv")
    assert str(caught.value) == (
        f"The SFTP server 127.0.0.1:{server.port} does not let user 'etl' delete '/a.csv': Permission denied. Have the "
        "client give that user (`sftp.user` in config/dev.yml) the right, then send the message back."
    )
    assert names_in(root) == ["a.csv"]


def test_moving_never_overwrites(root: Path, client: SftpClient) -> None:
    """Files of one name that come night after night lie side by side in the folder."""
    (root / "done").mkdir()
    moved = []
    for night in (b"1", b"2", b"3", b"4"):
        drop(root / "a.csv", night)
        moved.append(client.move("/a.csv", "/done"))
    assert moved == [
        "/done/a.csv",
        "/done/a.20260301T023000Z.csv",
        "/done/a.20260301T023000Z.2.csv",
        "/done/a.20260301T023000Z.3.csv",
    ]
    assert [(root / str(path)[1:]).read_bytes() for path in moved] == [b"1", b"2", b"3", b"4"]


def test_moving_never_overwrites_who_was_faster(server: LocalSftpServer, root: Path, client: SftpClient) -> None:
    """A name that is taken between the look and the move stays with who took it, and the file where it was."""
    (root / "done").mkdir()
    drop(root / "a.csv", b"ours")
    server.faults.rival = "name"
    with pytest.raises(PermanentError) as caught:
        client.move("/a.csv", "/done")
    assert str(caught.value) == (
        f"The SFTP server 127.0.0.1:{server.port} has 100 files of the name of '/a.csv' in '/done'. Have the client "
        "tidy the folder up, then send the message back."
    )
    assert {path.read_bytes() for path in (root / "done").iterdir()} == {b"somebody else's"}
    assert (root / "a.csv").read_bytes() == b"ours"


def test_file_that_is_taken_while_it_is_moved_is_looked_at_again(
    server: LocalSftpServer, root: Path, client: SftpClient
) -> None:
    """A file that somebody else takes at the last moment is not mistaken for a missing folder."""
    (root / "done").mkdir()
    drop(root / "a.csv")
    server.faults.rival = "file"
    with pytest.raises(NotYetError) as caught:
        client.move("/a.csv", "/done")
    assert str(caught.value) == (
        f"The SFTP server 127.0.0.1:{server.port} could not move '/a.csv' to '/done': the file is no longer there. It "
        "was moved or deleted meanwhile; if that goes on, ask the client what else takes files away."
    )
    assert client.move("/a.csv", "/done") is None


def test_moving_what_was_moved_already_does_nothing(root: Path, client: SftpClient) -> None:
    """A repeat after a lost answer finds the file gone, and says so."""
    (root / "done").mkdir()
    assert client.move("/a.csv", "/done") is None
    assert names_in(root / "done") == []


def test_moving_to_a_missing_folder_names_the_setting(server: LocalSftpServer, root: Path, client: SftpClient) -> None:
    """A folder that is not there is a setting to correct, and the file stays where it is."""
    drop(root / "a.csv")
    with pytest.raises(ConfigurationError) as caught:
        client.move("/a.csv", "/done")
    assert str(caught.value) == (
        f"The SFTP server 127.0.0.1:{server.port} has no folder '/done'. Correct the setting `after_fetch` "
        "(workflow.yml or config/dev.yml), or have the client create the folder."
    )
    assert names_in(root) == ["a.csv"]


def test_written_file_appears_whole(root: Path, client: SftpClient) -> None:
    """While a file is written only a hidden name is there; at the end only its own."""
    seen = []

    def chunks() -> Iterator[bytes]:
        for part in (b"a" * 300_000, b"", b"b"):
            yield part
            seen.append([name.startswith(".out ü.csv.") for name in names_in(root)])

    assert client.put("/out ü.csv", chunks()) == 300_001
    assert seen == [[True], [True], [True]]
    assert names_in(root) == ["out ü.csv"]
    assert (root / "out ü.csv").read_bytes() == b"a" * 300_000 + b"b"


@pytest.mark.parametrize("refuse_replacing", [False, True], ids=["replaces in one", "older server"])
def test_writing_again_replaces(
    server: LocalSftpServer, root: Path, client: SftpClient, refuse_replacing: bool
) -> None:
    """A repeat after a lost answer ends in the same state."""
    server.faults.refuse_replacing = refuse_replacing
    client.put("/out.csv", [b"first, longer"])
    client.put("/out.csv", [b"second"])
    assert names_in(root) == ["out.csv"]
    assert (root / "out.csv").read_bytes() == b"second"


def test_writing_that_fails_leaves_nothing(root: Path, client: SftpClient) -> None:
    """When the content can't be made to its end, nothing of it stays at the client's."""

    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise LookupError("no more")

    with pytest.raises(LookupError, match=r"^no more$"):
        client.put("/out.csv", chunks())
    assert names_in(root) == []


def test_file_that_arrived_cut_is_not_published(server: LocalSftpServer, root: Path, client: SftpClient) -> None:
    """A server that confirms bytes and loses them doesn't get a broken file a good name."""
    server.faults.lose_writes = True
    with pytest.raises(RetryableError) as caught:
        client.put("/out.csv", [b"12345"])
    assert caught.value.call_made is False
    assert str(caught.value) == (
        f"The SFTP server 127.0.0.1:{server.port} kept 0 of the 5 bytes written to '/out.csv'. It is tried again; if "
        "it stays so, ask the client whether its disk is full."
    )
    assert names_in(root) == []


def test_writing_to_a_missing_folder_names_the_setting(server: LocalSftpServer, client: SftpClient) -> None:
    """A folder that is not there is a setting to correct."""
    with pytest.raises(ConfigurationError) as caught:
        client.put("/out/a.csv", [b"x"])
    assert str(caught.value) == (
        f"The SFTP server 127.0.0.1:{server.port} has no folder '/out'. Correct the setting `folder` (workflow.yml or "
        "config/dev.yml), or have the client create the folder."
    )


def test_client_can_be_entered_again(root: Path, connect: Connect) -> None:
    """After a lost connection the same client makes a new one."""
    drop(root / "a.csv")
    client = connect()
    with client:
        assert client.exists("/a.csv")
    with client:
        assert client.exists("/a.csv")
