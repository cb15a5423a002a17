"""Where lines end, in which encodings, and how far a window looks."""

from __future__ import annotations

import io

import pytest

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.formats.lines import ByteWindow, Encoding, codec_name, read_encoding, skip_line


def window_on(data: bytes) -> ByteWindow:
    """A window that begins with the first byte."""
    return ByteWindow(io.BytesIO(data), 0)


def test_a_window_looks_ahead_without_taking() -> None:
    """What was looked at is still there until it is taken; the end of the file is known when it is reached."""
    window = window_on(b"abcdef")

    assert window.peek(4) == (b"abcd", False)
    window.advance(3)
    assert (window.offset, window.peek(3), window.peek(9)) == (3, (b"def", True), (b"def", True))


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16-le", "utf-16-be"])
def test_lines_end_at_lf_cr_and_crlf_only(encoding: str) -> None:
    """Characters that Python takes for line ends, but no spreadsheet does, stay within a line."""
    text = ["a\x0b\x0c\x1c\x85\r\n", "\r", "b\n", "\n", "c"]
    if encoding != "cp1252":
        text[0] = "ä\u2028\x85\x0c\r\n"
    block = "".join(text).encode(encoding, "replace")

    lines = Encoding(encoding).split(block, final=True)
    assert lines == [line.encode(encoding, "replace") for line in text]
    assert Encoding(encoding).split(block, final=False) == lines[:-1]


def test_a_cr_at_the_end_of_a_block_may_be_half_a_line_end() -> None:
    """Whether CR alone ends the line is known only when the next byte is."""
    assert Encoding("utf-8").split(b"a\rb\r", final=False) == [b"a\r"]


@pytest.mark.parametrize(
    ("data", "left"), [(b"abc\r\ndef", b"def"), (b"abc\rdef", b"def"), (b"abc", b""), (b"x" * 600_000 + b"\r\ny", b"y")]
)
def test_skipping_a_line_stops_behind_its_end(data: bytes, left: bytes) -> None:
    """A line of any length is skipped with its line end, and no byte of the next one."""
    window = window_on(data)
    skip_line(window, Encoding("utf-8"))

    assert (window.offset, window.peek(100)[0]) == (len(data) - len(left), left)


@pytest.mark.parametrize(
    ("opening", "setting", "name", "taken"),
    [
        (b"\xef\xbb\xbfa", "cp1252", "utf-8", 3),
        (b"\xff\xfea\0", "utf-8", "utf-16-le", 2),
        (b"\xfe\xff\0a", "utf-8", "utf-16-be", 2),
        (b"a", "UTF_8", "utf-8", 0),
        (b"a\0", "UTF-16", "utf-16-le", 0),
        (b"", "utf-8-sig", "utf-8", 0),
        (b"a", "Windows-1252", "windows-1252", 0),
    ],
)
def test_the_byte_order_mark_is_stronger_than_the_setting(opening: bytes, setting: str, name: str, taken: int) -> None:
    """A file that says what it is written in is believed, and the mark is no part of the first column's name."""
    window = window_on(opening)

    assert read_encoding(window, setting) == Encoding(name)
    assert window.offset == taken


@pytest.mark.parametrize("setting", ["hex", "utf-7", "utf-32", "nope", "", "cp037"])
def test_an_encoding_that_is_none_is_refused(setting: str) -> None:
    """Codecs in which line ends and commas are other bytes would cut the file wrongly: the setting says so at once."""
    with pytest.raises(ConfigurationError) as caught:
        codec_name(setting)

    assert str(caught.value) == (
        f"The setting `encoding` is {setting!r}, which is no encoding of text files. "
        "Set it to utf-8, cp1252, latin-1 or utf-16."
    )
