"""What a client's file holds: the file itself, or what was packed with gzip or zip.

What a file is, its first bytes say. What is packed can't be entered in its middle: it is read from its beginning, up
to where reading goes on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from typing_extensions import override

from qualtrics_etl.errors import ConfigurationError, InputError
from qualtrics_etl.formats.inflating import Gauge, PieceStream, gunzip
from qualtrics_etl.formats.lines import ByteStream
from qualtrics_etl.formats.openings import GZIP, OPENING_BYTES, ZIP, archive_kind
from qualtrics_etl.formats.zip_archive import find_member, unzip

MAX_UNPACKED_MB = 1_000
"""Ten million contacts, if nothing else is set."""

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class PackSpec:
    """The client's settings for packed files.

    Attributes:
        member: Pattern of the table's name in a zip archive; blank where the archive holds one file.
        max_unpacked_mb: Most that may come of a packed file, in MB of 10**6 bytes.
    """

    member: str = ""
    max_unpacked_mb: int = MAX_UNPACKED_MB


class Content(Protocol):
    """A table's bytes, not packed."""

    @property
    def name(self) -> str:
        """What errors call it."""

    def open(self, start: int = 0) -> ByteStream:
        """Return the bytes from `start` on; what was opened before ends."""


def unpack(file: BinaryIO, spec: PackSpec, *, name: str, meanwhile: Callable[[], object] = lambda: None) -> Content:
    """Find out what a file holds.

    Args:
        file: A file that can seek, and gives as many bytes as are asked for, if there are as many.
        name: Its name, for errors.
        meanwhile: Called again and again while something is left out; may raise to stop.

    Raises:
        InputError: It is an archive that can't be read or is hostile, or holds another one.
    """
    file.seek(0)
    opening = file.read(OPENING_BYTES)
    if opening.startswith(GZIP):
        return _not_nested(_Gunzipped(file, spec, name, meanwhile), name)
    if opening.startswith(ZIP):
        return _not_nested(_Unzipped(file, spec, name, meanwhile), name)
    return _Plain(file, name)


def read_opening(content: Content) -> bytes:
    """Return the first bytes: 512, unless there are fewer."""
    stream, opening = content.open(), b""
    while len(opening) < OPENING_BYTES and (piece := stream.read(OPENING_BYTES - len(opening))):
        opening += piece
    return opening


class _Named(Content):
    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name

    @property
    @override
    def name(self) -> str:
        return self._name


class _Plain(_Named):
    @override
    def open(self, start: int = 0) -> ByteStream:
        self._file.seek(start)
        return self._file


class _Packed(_Named):
    def __init__(self, file: BinaryIO, spec: PackSpec, name: str, meanwhile: Callable[[], object]) -> None:
        super().__init__(file, name)
        self._max_bytes = spec.max_unpacked_mb * MB
        self._meanwhile = meanwhile

    @override
    def open(self, start: int = 0) -> ByteStream:
        stream = PieceStream(self._pieces(Gauge(self._name, self._max_bytes)))
        if stream.skip(start, self._meanwhile):
            raise ConfigurationError(
                f"{self._name} ends before the place up to which its rows are stored.",
                remedy="Set `member` of parse_file to what it was when the run began, and send the message back.",
            )
        return stream

    @abstractmethod
    def _pieces(self, gauge: Gauge) -> Iterator[bytes]:
        """Unpack from the beginning on."""


class _Gunzipped(_Packed):
    @override
    def _pieces(self, gauge: Gauge) -> Iterator[bytes]:
        self._file.seek(0)
        return gunzip(self._file, gauge)


class _Unzipped(_Packed):
    def __init__(self, file: BinaryIO, spec: PackSpec, name: str, meanwhile: Callable[[], object]) -> None:
        self._member, self._end = find_member(file, spec.member, name)
        super().__init__(file, spec, f"{self._member.filename} in {name}", meanwhile)

    @override
    def _pieces(self, gauge: Gauge) -> Iterator[bytes]:
        return unzip(self._file, self._member, self._end, gauge)


def _not_nested(content: Content, name: str) -> Content:
    if kind := archive_kind(read_opening(content)):
        raise InputError(
            f"{name} holds another archive: what is in it begins like {kind}. Nothing of it was sent to Qualtrics.",
            remedy="Ask the client for the table itself, packed once.",
            file=name,
        )
    return content
