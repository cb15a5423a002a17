"""The one table in a zip archive: found in the archive's directory, checked, and unpacked as a stream.

Nothing is written under a name that an archive gives; a name is matched and shown, and refused where it would lead
elsewhere. The directory and the data it speaks of must agree: programs that trust different ones see different files.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, BinaryIO

from qualtrics_etl.errors import InputError
from qualtrics_etl.file_names import RefusedName, refuse_name
from qualtrics_etl.formats.inflating import Feed, Gauge, damaged, inflate
from qualtrics_etl.formats.openings import ZIP

if TYPE_CHECKING:
    from zipfile import ZipInfo

MAX_MEMBERS = 1_000
MAX_DIRECTORY_BYTES = 1_000_000
"""Of the directory with everything behind it: it is held in memory."""

_STORED, _DEFLATED = 0, 8
_METHODS = {9: "deflate64", 12: "bzip2", 14: "LZMA", 93: "zstd", 95: "xz", 98: "PPMd"}
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # classic, strong, and a directory whose values are masked
_UTF_8 = 0x800
_LOCAL_HEADER = struct.Struct("<4s2x2H16x2H")
"""Signature, flags, method, lengths of name and extra field. Source: PKWARE APPNOTE 4.3.7."""
_END = b"PK\x05\x06"
_END_BYTES = 22
_DRIVE = re.compile(r"[A-Za-z]:")
_LONGEST_SHOWN = 80


def find_member(archive: BinaryIO, pattern: str, file: str) -> tuple[ZipInfo, int]:
    """Find the member that is the table; return it, and how many bytes it may reach to.

    Args:
        pattern: Shell pattern that its name fits, folders included or not; blank where there is only one file.
        file: The archive's name, for errors.

    Raises:
        InputError: The archive can't be read or is hostile, or none or several of its files fit.
    """
    members, end = _directory(archive, file)
    _refuse_overlaps(members, end, file)
    member = _choose(members, pattern, file)
    _refuse_hostile_name(member, file)
    _refuse_what_cannot_be_unpacked(member, file)
    behind = [other.header_offset for other in members if other.header_offset > member.header_offset]
    return member, min([*behind, end])


def unzip(archive: BinaryIO, member: ZipInfo, end: int, gauge: Gauge) -> Iterator[bytes]:
    """Unpack a member.

    Args:
        end: Where its data must have ended.

    Raises:
        InputError: It is damaged, is not what the directory says, or grows too much.
    """
    gauge.check(member.compress_size, member.file_size)
    _go_to_data(archive, member, end, gauge.file)
    feed, check_sum, size = Feed(archive, gauge, member.compress_size), 0, 0
    for piece in inflate(feed, gauge) if member.compress_type == _DEFLATED else _stored(feed, gauge):
        check_sum = zlib.crc32(piece, check_sum)
        size += len(piece)
        yield piece
    if feed.is_short() or feed.next() or size != member.file_size:
        raise damaged(gauge.file, "has another size than the archive's directory says")
    if check_sum != member.CRC:
        raise damaged(gauge.file, "is not what was packed (its check sum says so)")


def _stored(feed: Feed, gauge: Gauge) -> Iterator[bytes]:
    while piece := feed.next():
        gauge.grow(len(piece))
        yield piece


class _Bounded:
    """An archive of which only so much is read."""

    def __init__(self, archive: BinaryIO, file: str) -> None:
        self._archive = archive
        self._file = file
        self._size = archive.seek(0, os.SEEK_END)
        self._left = MAX_DIRECTORY_BYTES + 2 * (1 << 16)  # the end is looked for in the last 64 KiB, once or twice

    def read(self, size: int = -1, /) -> bytes:
        size = self._size - self._archive.tell() if size < 0 else size
        self._left -= size
        if self._left < 0:
            raise _too_many(self._file)
        return self._archive.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._archive.seek(offset, whence)

    def tell(self) -> int:
        return self._archive.tell()

    def close(self) -> None:
        """Leave the archive open: it is read further."""


def _directory(archive: BinaryIO, file: str) -> tuple[list[ZipInfo], int]:
    """Return the members, in the order of their places, and where the directory begins."""
    import zipfile

    try:
        read = zipfile.ZipFile(_Bounded(archive, file))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error, OSError) as exc:
        raise damaged(file, "is cut off, or no zip archive that can be read") from exc
    members = sorted(read.infolist(), key=lambda member: member.header_offset)
    if len(members) > MAX_MEMBERS:
        raise _too_many(file)
    archive.seek(-_END_BYTES - len(read.comment), os.SEEK_END)
    if archive.read(len(_END)) != _END:
        raise damaged(file, "has something behind its end")
    if members and members[0].header_offset != 0:
        raise damaged(file, "has something in front of its first file, perhaps another archive")
    return members, read.start_dir


def _refuse_overlaps(members: Sequence[ZipInfo], end: int, file: str) -> None:
    """Refuse members that share data: it is how a small archive claims to hold petabytes."""
    starts = [*(member.header_offset for member in members[1:]), end]
    for member, start in zip(members, starts, strict=True) if members else ():
        if member.header_offset + _LOCAL_HEADER.size + member.compress_size > start:
            raise InputError(
                f"{file} is no honest archive: files in it share the same bytes. Nothing of it was sent to Qualtrics.",
                remedy="Ask the client what this file is.",
                file=file,
            )


def _choose(members: Sequence[ZipInfo], pattern: str, file: str) -> ZipInfo:
    if any(member.orig_filename == "[Content_Types].xml" for member in members):
        raise InputError(
            f"{file} is a workbook or document of Office (such as .xlsx), and no archive of a table.",
            remedy="Ask the client for the table itself, saved as CSV.",
            file=file,
        )
    files = [member for member in members if _is_file(member.orig_filename)]
    fitting = [member for member in files if _fits(member.orig_filename, pattern)] if pattern else files
    if len(fitting) == 1:
        return fitting[0]
    what = f"{len(fitting)} of the {len(files)} files in {file} fit the setting `member` ({pattern!r})"
    if not pattern:
        what = f"{file} holds {len(files)} files"
    raise InputError(
        f"{what}, and one is read. Nothing of it was sent to Qualtrics.",
        remedy="Set `member` of parse_file to a pattern that the name of the table fits and no other, or ask the client"
        " for an archive of one file.",
        file=file,
    )


def _is_file(name: str) -> bool:
    """Tell whether a name is a file's that somebody packed; folders and what systems add of their own are none."""
    return not name.endswith("/") and not name.startswith("__MACOSX/") and name != ".DS_Store"


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern)


def _refuse_hostile_name(member: ZipInfo, file: str) -> None:
    name = member.orig_filename  # as it stands there: `filename` ends at a NUL
    refused = next(filter(None, map(_refuse_segment, name.split("/"))), None)
    if refused is None:
        return
    raise InputError(
        f"A file in {file} has a name that {refused.reason}: {ascii(name)[1:-1][:_LONGEST_SHOWN]}. Nothing of it was"
        " sent to Qualtrics.",
        remedy="Ask the client for an archive in which the file has a plain name.",
        file=file,
    )


def _refuse_segment(segment: str) -> RefusedName | None:
    if segment in {"", ".", ".."}:
        return RefusedName(segment, "leads out of its folder")
    if _DRIVE.match(segment):
        return RefusedName(segment, "begins with a drive's letter")
    return refuse_name(segment)


def _refuse_what_cannot_be_unpacked(member: ZipInfo, file: str) -> None:
    if member.flag_bits & _ENCRYPTED:
        what = f"{file} is encrypted: its file asks for a password."
        remedy = "Ask the client for the archive without a password; SFTP protects it on its way."
    elif member.compress_type not in {_STORED, _DEFLATED}:
        method = _METHODS.get(member.compress_type, f"method {member.compress_type}")
        what = f"{file} is packed with {method}, which is not read here."
        remedy = "Ask the client to pack it in the usual way of zip (deflate), or not at all."
    else:
        return
    raise InputError(what, remedy=remedy, file=file)


def _go_to_data(archive: BinaryIO, member: ZipInfo, end: int, file: str) -> None:
    """Go behind the header in front of a member's data, which must say what the directory says."""
    archive.seek(member.header_offset)
    header = archive.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(ZIP):
        raise damaged(file, "is not where the archive's directory says")
    _, flags, method, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    name = archive.read(name_bytes).decode("utf-8" if flags & _UTF_8 else "cp437", "replace")
    if (name, method, flags & _ENCRYPTED) != (member.orig_filename, member.compress_type, 0):
        raise damaged(file, "is not what the archive's directory says")
    start = archive.seek(extra_bytes, os.SEEK_CUR)
    if start + member.compress_size > end:
        raise damaged(file, "reaches into what is behind it")


def _too_many(file: str) -> InputError:
    return InputError(
        f"{file} holds more than {MAX_MEMBERS:,} files, or a directory of more than {MAX_DIRECTORY_BYTES:,} bytes."
        " Nothing of it was sent to Qualtrics.",
        remedy="Ask the client for an archive of the table alone.",
        file=file,
    )
