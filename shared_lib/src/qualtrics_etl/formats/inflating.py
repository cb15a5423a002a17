"""Bytes that were deflated are inflated a piece at a time, and no further than they may grow.

What is deflated grows at most a thousandfold, so that a file of megabytes can be gigabytes of zeros: a bomb. Each piece
is counted before it is handed on.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from qualtrics_etl.errors import InputError
from qualtrics_etl.formats.lines import ByteStream
from qualtrics_etl.formats.openings import GZIP

MAX_RATIO = 200
"""What grows more is refused. Tables grow ten to fifty times; one that repeats a line for ever is no table."""

FREE_BYTES = 10_000_000
"""So much may come of anything: it does no harm, and of little data the ratio says nothing."""

MEMBERS_AT_LEAST = 1_000
BYTES_OF_MEMBER = 500
"""A gzip file of more members than this, of fewer bytes each on average, is made to cost time."""

PACKED_BYTES = 4096  # few, since what is behind the end of a member is copied
PIECE_BYTES = 64 * 1024

_GZIP_WRAPPER = 16 + zlib.MAX_WBITS
_NO_WRAPPER = -zlib.MAX_WBITS


@dataclass(slots=True)
class Gauge:
    """How much was read and how much came of it.

    Attributes:
        file: Its name, for errors.
        max_bytes: Most that may come of it.
    """

    file: str
    max_bytes: int
    _packed: int = field(default=0, init=False)
    _unpacked: int = field(default=0, init=False)

    def feed(self, count: int) -> None:
        """Note bytes that were read; fewer than none where some are given back."""
        self._packed += count

    def grow(self, count: int) -> None:
        """Note bytes that came of them.

        Raises:
            InputError: There are too many.
        """
        self._unpacked += count
        self.check(self._packed, self._unpacked)

    def check(self, packed: int, unpacked: int) -> None:
        """Refuse what grows too much.

        Raises:
            InputError: It does.
        """
        if unpacked > self.max_bytes:
            raise InputError(
                f"{self.file} unpacks to more than the {self.max_bytes // 1_000_000:,} MB that max_unpacked_mb allows;"
                " nothing of it was sent to Qualtrics.",
                remedy="If the client's files are that large, raise max_unpacked_mb of parse_file and send the message"
                " back; else ask the client what this file is.",
                file=self.file,
            )
        if unpacked > FREE_BYTES and unpacked > MAX_RATIO * packed:
            raise InputError(
                f"{self.file} unpacks to more than {MAX_RATIO} times its size, as no table does; nothing of it was sent"
                " to Qualtrics.",
                remedy="Ask the client what this file is; if it is right, for the same file without packing it.",
                file=self.file,
            )

    def count_member(self, members: int) -> None:
        """Refuse many members of next to nothing.

        Raises:
            InputError: There are.
        """
        if members > MEMBERS_AT_LEAST and self._unpacked < members * BYTES_OF_MEMBER:
            raise InputError(
                f"{self.file} is made of more than {MEMBERS_AT_LEAST:,} pieces of next to nothing; nothing of it was"
                " sent to Qualtrics.",
                remedy="Ask the client to pack the file in one piece.",
                file=self.file,
            )


class Feed:
    """Packed bytes, a little at a time; what was too much can be given back.

    Args:
        stream: Where they are read from.
        size: How many there are; None for all that the stream has.
    """

    def __init__(self, stream: ByteStream, gauge: Gauge, size: int | None = None) -> None:
        self._stream = stream
        self._gauge = gauge
        self._left = size
        self._returned = b""

    def next(self) -> bytes:
        """Return the next bytes; none at the end."""
        data, self._returned = self._returned, b""
        if not data:
            data = self._stream.read(PACKED_BYTES if self._left is None else min(PACKED_BYTES, self._left))
            self._left = None if self._left is None else self._left - len(data)
        self._gauge.feed(len(data))
        return data

    def give_back(self, data: bytes) -> None:
        """Take back the end of what was last given."""
        self._gauge.feed(-len(data))
        self._returned = data + self._returned

    def is_short(self) -> bool:
        """Tell whether the stream ended before it gave all that there should be."""
        return bool(self._left)


class PieceStream:
    """Pieces of bytes as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""
        piece = self._rest or next(self._pieces, b"")
        self._rest = piece[size:]
        return piece[:size]

    def skip(self, count: int, meanwhile: Callable[[], object]) -> int:
        """Leave out bytes; return how many were missing.

        Args:
            meanwhile: Called again and again; may raise to stop.
        """
        while count and (piece := self.read(min(count, PIECE_BYTES))):
            count -= len(piece)
            meanwhile()
        return count


def gunzip(packed: ByteStream, gauge: Gauge) -> Iterator[bytes]:
    """Unpack a gzip file: one member or several behind each other, and zeros at the end.

    Raises:
        InputError: It is damaged, ends too early, has something else behind it, or grows too much.
    Source: RFC 1952 (members, and their CRC); GNU gzip manual, the page on tapes (zeros at the end are ignored).
    """
    feed, members = Feed(packed, gauge), 0
    while True:
        yield from inflate(feed, gauge, wrapper=_GZIP_WRAPPER)
        members += 1
        gauge.count_member(members)
        rest = _behind_zeros(feed)
        if not rest:
            return
        while len(rest) < len(GZIP) and (more := feed.next()):
            rest += more
        feed.give_back(rest)
        if not rest.startswith(GZIP):
            raise damaged(gauge.file, "has something behind its end that is no gzip data")


def inflate(feed: Feed, gauge: Gauge, *, wrapper: int = _NO_WRAPPER) -> Iterator[bytes]:
    """Inflate up to the end that the data itself has; what is behind it goes back.

    Raises:
        InputError: The data is damaged, ends too early, or grows too much.
    """
    inflating, is_full = zlib.decompressobj(wrapper), False
    while not inflating.eof:
        data = inflating.unconsumed_tail
        # A full piece may be followed by one that needs no more data.
        if not data and not is_full and not (data := feed.next()):
            raise damaged(gauge.file, "is cut off: it ends before its data does")
        try:
            piece = inflating.decompress(data, PIECE_BYTES)
        except zlib.error as exc:
            raise damaged(gauge.file, "can't be unpacked, or is not what was packed (its check sum says so)") from exc
        is_full = len(piece) == PIECE_BYTES
        if piece:
            gauge.grow(len(piece))
            yield piece
    feed.give_back(inflating.unused_data)


def damaged(file: str, why: str) -> InputError:
    """Return the error for an archive that is not whole."""
    return InputError(
        f"{file} is damaged: it {why}. Nothing of it was sent to Qualtrics.",
        remedy="Ask the client to pack the file anew and send it again.",
        file=file,
    )


def _behind_zeros(feed: Feed) -> bytes:
    while data := feed.next():
        if rest := data.lstrip(b"\0"):
            return rest
    return b""
