"""What an SFTP server may claim to hold, and what it may do meanwhile. Expected: nothing leads out of the folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from qualtrics_etl.channels.sftp import SftpClient, SftpConnection, SftpSecrets
from qualtrics_etl.errors import ConfigurationError, NotYetError
from qualtrics_etl.file_names import keep_name, refuse_name
from qualtrics_etl.local.sftp_server import LocalSftpServer

from .case import Act, Arena, Case

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = b"email\nann@x.example\n"
OTHER_HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@contextmanager
def server(arena: Arena, host_key: str = "") -> Iterator[tuple[Path, SftpClient]]:
    """Give the folder of a server, and a client that is logged in."""
    root = arena.folder / "root"
    root.mkdir()
    with LocalSftpServer(root, password="of-the-server") as running:
        to = SftpConnection(
            host=running.host, port=running.port, user=running.user, host_key=host_key or running.host_key
        )
        with SftpClient(to, SftpSecrets(password="of-the-server"), stage="dev") as entered:
            yield root, entered


def named(name: str) -> Act:
    """Return what becomes of a file of this name."""

    def act(_: Arena) -> str:
        if not keep_name(name, "*"):
            return "left out"
        refused = refuse_name(name)
        if refused is None:
            return "taken"
        assert refused.name.isascii()
        assert refused.name.isprintable()
        assert len(refused.name) <= 300
        return refused.reason

    return act


def listed(make: Callable[[Path, Path], object]) -> Act:
    """Return the names that are taken from a folder in which something lies."""

    def act(arena: Arena) -> list[str]:
        with server(arena) as (root, entered):
            make(root, arena.folder)
            (root / "good.csv").write_bytes(CONTENT)
            return [file.name for file in entered.list_files("/", "*.csv", on_refused=lambda _: None)]

    return act


def read_while(happens: Callable[[Path], object], *, chunk_bytes: int = 1024) -> Act:
    """Read a large file, to which something happens after its first piece."""

    def act(arena: Arena) -> int:
        with server(arena) as (root, entered):
            path = root / "a.csv"
            path.write_bytes(b"x" * 8_000_000)
            pieces = entered.read("/a.csv", chunk_bytes)
            size = len(next(pieces))
            happens(path)
            return size + sum(map(len, pieces))

    return act


def truncate(path: Path) -> None:
    """Cut a file off."""
    with path.open("r+b") as file:
        file.truncate(10)


def grow(path: Path) -> None:
    """Let a file grow."""
    with path.open("ab") as file:
        file.write(b"more")


def link_out(root: Path, outside: Path) -> None:
    """Let a link lead out of the server's folder."""
    (outside / "secret.csv").write_bytes(b"outside")
    (root / "link.csv").symlink_to(outside / "secret.csv")


def with_wrong_host_key(arena: Arena) -> object:
    """Connect to a server that is another one than the stage's."""
    with server(arena, OTHER_HOST_KEY) as (_, entered):
        return entered


def read_what_is_gone(arena: Arena) -> object:
    """Read a file that was listed and vanished."""
    with server(arena) as (root, entered):
        path = root / "a.csv"
        path.write_bytes(CONTENT)
        (file,) = entered.list_files("/")
        path.unlink()
        return list(entered.read(file.path))


def list_a_file(arena: Arena) -> object:
    """List what is a file where a folder is expected."""
    with server(arena) as (root, entered):
        (root / "inbox").write_bytes(CONTENT)
        return entered.list_files("/inbox")


SEPARATOR = "holds a path separator"
CONTROL = "holds control characters"
TURNS = "holds characters that turn the direction of text"
CHANGED = ("'/a.csv'", "changed while it was read")

CASES = [
    Case("name_path_traversal", named("../../etc/passwd.csv"), gives=SEPARATOR),
    Case("name_absolute", named("/etc/passwd.csv"), gives=SEPARATOR),
    Case("name_with_backslashes", named("c\\..\\boot.csv"), gives=SEPARATOR),
    Case("name_with_a_newline", named("a.csv\nERROR all is lost.csv"), gives=CONTROL),
    Case("name_with_nul", named("a.csv\0.exe"), gives=CONTROL),
    Case("name_with_an_escape_sequence", named("\x1b]0;title\x07.csv"), gives=CONTROL),
    Case("name_with_a_line_separator", named("a\u2028b.csv"), gives=CONTROL),
    Case("name_that_turns_direction", named("a\u202evsc.exe"), gives=TURNS),
    Case("name_with_isolates", named("a\u2066\u2069.csv"), gives=TURNS),
    Case("name_that_is_not_utf8", named("m\udcfcller.csv"), gives="is not UTF-8"),
    Case("name_of_255_bytes", named("n" * 251 + ".csv"), gives="taken"),
    Case("name_of_256_bytes", named("n" * 252 + ".csv"), gives="is longer than 255 bytes"),
    Case("name_of_a_megabyte", named("n" * 1_000_000), gives="is longer than 255 bytes"),
    Case("name_with_a_leading_dash", named("-rf --no-preserve-root.csv"), gives="taken"),
    Case("name_of_shell_characters", named("$(reboot);`id`&.csv"), gives="taken"),
    Case("name_of_dots_only", named("..."), gives="left out"),
    Case("name_of_two_dots", named(".."), gives="left out"),
    Case("name_that_is_empty", named(""), gives="left out"),
    Case("folder_where_a_file_is_expected", listed(lambda root, _: (root / "a.csv").mkdir()), gives=["good.csv"]),
    Case("link_out_of_the_folder", listed(link_out), gives=["good.csv"]),
    Case("link_to_nowhere", listed(lambda root, _: (root / "a.csv").symlink_to("nowhere")), gives=["good.csv"]),
    Case("link_to_itself", listed(lambda root, _: (root / "a.csv").symlink_to("a.csv")), gives=["good.csv"]),
    Case("names_on_a_real_server", listed(lambda root, _: (root / "a\n.csv").write_bytes(b"")), gives=["good.csv"]),
    Case("file_that_vanishes", read_what_is_gone, NotYetError, ("a.csv",), needs_remedy=False),
    Case("file_that_grows_while_it_is_read", read_while(grow), NotYetError, CHANGED),
    Case("file_that_shrinks_while_it_is_read", read_while(truncate), NotYetError, CHANGED),
    Case("file_where_a_folder_is_expected", list_a_file, ConfigurationError, ("/inbox", "`folder`")),
    Case("wrong_host_key", with_wrong_host_key, ConfigurationError, ("host_key",)),
]
