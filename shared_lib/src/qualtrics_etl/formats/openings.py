"""How files begin: what a file is, whatever its name says."""

from __future__ import annotations

OPENING_BYTES = 512
"""So much of a file is looked at; a tar archive shows itself at byte 257."""

GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"

_ARCHIVES = (
    (b"pk\x03\x04", "a zip archive (an .xlsx workbook is one too)"),
    (b"pk\x05\x06", "an empty zip archive"),
    (b"pk\x07\x08", "a part of a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xfd7zxz\0", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"rar!\x1a\x07", "a rar archive"),
)
_OTHERS = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a workbook or document of old Office"),
    (b"%pdf-", "a PDF document"),
    (b"\x7felf", "a program"),
    (b"\x89png\r\n", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"sqlite format 3\0", "a database"),
    (b"-----begin pgp", "a PGP message"),
)
_WEB_PAGES = (
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)
_XML = ((b"<?xml", "an XML document"),)
_ARCHIVES_OF_LETTERS = ((b"bzh", "a bzip2 archive"),)
_OTHERS_OF_LETTERS = ((b"mz", "a program"),)
"""Only of files that are no text behind it: the name of a column may begin so."""
_TAR_AT, _TAR = 257, b"ustar"


def archive_kind(opening: bytes) -> str | None:
    """Say what kind of archive begins so; None where none does."""
    if opening[_TAR_AT:].startswith(_TAR):
        return "a tar archive"
    return _first(opening, _ARCHIVES if _is_text(opening) else _ARCHIVES + _ARCHIVES_OF_LETTERS)


def other_kind(opening: bytes) -> str | None:
    """Say what other kind of file than a CSV file begins so; None where a CSV file may."""
    marks = _OTHERS + _WEB_PAGES + _XML
    return archive_kind(opening) or _first(opening, marks if _is_text(opening) else marks + _OTHERS_OF_LETTERS)


def begins_like_xml(opening: bytes) -> bool:
    """Tell whether a file begins with markup that is no web page."""
    text = _as_ascii(opening).lstrip()
    if _first(text, _WEB_PAGES):
        return False
    return text[:1] == b"<" and (text[1:2] in (b"?", b"!", b"_", b":") or text[1:2].isalpha() or text[1:2] >= b"\x80")


def _as_ascii(opening: bytes) -> bytes:
    """Return the opening without its byte order mark, of UTF-16 every other byte."""
    for mark, first in ((b"\xff\xfe", 0), (b"\xfe\xff", 1)):
        if opening.startswith(mark):
            return opening[2 + first :: 2]
    if opening[:2] in (b"<\0", b"\0<"):
        return opening.replace(b"\0", b"")
    return opening.removeprefix(b"\xef\xbb\xbf")


def _is_text(opening: bytes) -> bool:
    return opening[:64].isascii() and b"\0" not in opening[:64]


def _first(opening: bytes, marks: tuple[tuple[bytes, str], ...]) -> str | None:
    plain = opening.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((kind for mark, kind in marks if plain.startswith(mark)), None)
