"""From bytes to physical lines: a window over a stream, and codecs that know where a line ends.

A line ends with LF, CR LF or CR, whichever the file uses; nothing else ends one (a form feed or U+2028 is text).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Protocol

from qualtrics_etl.errors import ConfigurationError

READ_BYTES = 256 * 1024
"""How much is asked from the stream at once."""

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_WIDE = ("utf-16-le", "utf-16-be")
_ASCII = bytes(range(128))


class ByteStream(Protocol):
    """What is read from: a file, an object of the store, a body of HTTP."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""


class ByteWindow:
    """A look ahead into a stream that need not be able to seek.

    Attributes:
        offset: Byte in the file where the window begins.
    """

    def __init__(self, stream: ByteStream, offset: int) -> None:
        self.offset = offset
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self._ended = False

    def peek(self, size: int) -> tuple[bytes, bool]:
        """Return the next `size` bytes without taking them, and whether the file ends with them.

        Only at the end of the file are they fewer; how the stream cuts its answers makes no difference.
        """
        # One byte more than asked for tells whether the file ends here.
        while not self._ended and len(self._buffer) - self._at <= size:
            data = self._stream.read(READ_BYTES)
            self._ended = not data
            self._buffer = self._buffer[self._at :] + data
            self._at = 0
        block = self._buffer[self._at : self._at + size]
        return block, self._at + len(block) == len(self._buffer)

    def advance(self, count: int) -> None:
        """Take `count` bytes that were looked at."""
        self._at += count
        self.offset += count


@dataclass(frozen=True, slots=True)
class Encoding:
    """How bytes are text.

    Attributes:
        name: Codec, one that `str.encode` knows.
    """

    name: str

    def split(self, block: bytes, *, final: bool) -> list[bytes]:
        """Cut a block into lines, each with its line end; what may go on behind the block is left out."""
        lines = self._split_wide(block, final=final) if self.name in _WIDE else block.splitlines(keepends=True)
        # A CR at the end of the block may be half of a CR LF.
        if lines and not final and not self._ends(lines[-1]):
            lines.pop()
        return lines

    def decode(self, lines: list[bytes]) -> tuple[list[str], dict[int, str]]:
        """Return the lines as text, and for lines that are none (by index) why."""
        faults: dict[int, str] = {}
        try:
            texts = [str(line, self.name) for line in lines] if self.name != "utf-8" else list(map(bytes.decode, lines))
        except UnicodeDecodeError:
            texts = [self._decode_line(line, index, faults) for index, line in enumerate(lines)]
        if "\0" in "".join(texts):
            found = (index for index, text in enumerate(texts) if "\0" in text)
            faults.update(
                dict.fromkeys(found, "holds a NUL character; send the file as text, or set `encoding` to utf-16")
            )
        return texts, faults

    def _decode_line(self, line: bytes, index: int, faults: dict[int, str]) -> str:
        try:
            return str(line, self.name)
        except UnicodeDecodeError:
            faults[index] = f"is not {self.name}; set `encoding` to what the file is written in, often cp1252"
            return str(line, self.name, "replace")

    def _split_wide(self, block: bytes, *, final: bool) -> list[bytes]:
        whole = len(block) & ~1
        # A surrogate is passed through, so that bytes and text always have the same length; decoding refuses it.
        text = block[:whole].decode(self.name, "surrogatepass")
        lines = [line.encode(self.name, "surrogatepass") for line in io.StringIO(text, newline="")]
        if final and whole < len(block):
            lines.append(block[whole:])
        return lines

    def _ends(self, line: bytes) -> bool:
        return line.endswith("\n".encode(self.name))


def read_encoding(window: ByteWindow, setting: str) -> Encoding:
    """Take the byte order mark, if any, and return the file's encoding; a mark is stronger than the setting."""
    opening, _ = window.peek(3)
    for mark, name in _BYTE_ORDER_MARKS:
        if opening.startswith(mark):
            window.advance(len(mark))
            return Encoding(name)
    return Encoding(codec_name(setting))


def codec_name(setting: str) -> str:
    """Return the codec that a setting means.

    Raises:
        ConfigurationError: There is no such codec, or not one for text in which ASCII is ASCII (UTF-16 apart).
    """
    plain = setting.strip().lower().replace("_", "-")
    known = {"utf8": "utf-8", "utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf16": "utf-16-le"}
    name = known.get(plain, plain)
    if name in _WIDE or _keeps_ascii(name):
        return name
    raise ConfigurationError(
        f"The setting `encoding` is {setting!r}, which is no encoding of text files.",
        remedy="Set it to utf-8, cp1252, latin-1 or utf-16.",
    )


def skip_line(window: ByteWindow, encoding: Encoding) -> None:
    """Take everything up to the next line end, in constant memory."""
    while True:
        block, final = window.peek(READ_BYTES)
        lines = encoding.split(block, final=final)
        if lines or final:
            window.advance(len(lines[0]) if lines else len(block))
            return
        # The last unit stays: it may be a CR whose LF has not been seen.
        window.advance(len(block) - 2)


def _keeps_ascii(name: str) -> bool:
    try:
        return _ASCII.decode(name).encode("ascii") == _ASCII
    except (LookupError, UnicodeError):
        return False
