"""Archives that are hostile or broken. Expected: a refusal that names the archive, before a row of it is believed."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

from qualtrics_etl.errors import InputError
from qualtrics_etl.formats.batch_reader import Limits
from qualtrics_etl.formats.content import PackSpec, unpack
from qualtrics_etl.formats.rows import RowModel
from qualtrics_etl.formats.tables import TableSpec, read_table

from .case import Act, Arena, Case
from .csv_files import ANN, BOB, HEADER, Visit

TABLE = HEADER + ANN + BOB
READ = "2 rows"
NOTHING_SENT = "Nothing of it was sent to Qualtrics."


def read(data: bytes, *, member: str = "", max_unpacked_mb: int = 1_000) -> Act:
    """Read a file of these bytes to its end; return how many good rows it has."""

    def act(_: Arena) -> str:
        content = unpack(io.BytesIO(data), PackSpec(member, max_unpacked_mb), name="crm.zip")
        batches = list(read_table(content, TableSpec(), RowModel(Visit), Limits(rows=1_000)))
        return f"{sum(batch.row_count for batch in batches)} rows"

    return act


class Packed(NamedTuple):
    """A member of an archive."""

    name: str
    data: bytes = TABLE
    method: int = zipfile.ZIP_DEFLATED


def zipped(*members: Packed, comment: bytes = b"") -> bytes:
    """Return an archive as other programs write it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = comment
        for member in members:
            archive.writestr(zipfile.ZipInfo(member.name), member.data, member.method)
    return out.getvalue()


class Unseekable(io.RawIOBase):
    """Where an archive is written without going back: sizes stand behind the data."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # bytes are all that comes
        """Take bytes."""
        self.written += data
        return len(data)


def streamed_zip() -> bytes:
    """Return an archive with a data descriptor."""
    out = Unseekable()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("contacts.csv", TABLE)
    return bytes(out.written)


def zip64() -> bytes:
    """Return an archive whose sizes stand in the fields of large archives."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("contacts.csv", "w", force_zip64=True) as member,
    ):
        member.write(TABLE)
    return out.getvalue()


def entry(name: bytes, packed: bytes, size: int, check_sum: int, *, at: int, method: int = 8, flags: int = 0) -> bytes:
    """Return a line of an archive's directory."""
    fixed = struct.pack(
        "<4s6H3L5H2L",
        b"PK\x01\x02",
        20,
        20,
        flags,
        method,
        0,
        0,
        check_sum,
        len(packed),
        size,
        len(name),
        0,
        0,
        0,
        0,
        0,
        at,
    )
    return fixed + name


def local(name: bytes, packed: bytes, size: int, check_sum: int, *, method: int = 8, flags: int = 0) -> bytes:
    """Return a member as it stands in front of the directory."""
    head = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, flags, method, 0, 0, check_sum, len(packed), size, len(name), 0)
    return head + name + packed


def archive_of(members: bytes, entries: list[bytes]) -> bytes:
    """Return an archive with this directory, whatever is in front of it."""
    directory = b"".join(entries)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, len(entries), len(entries), len(directory), len(members), 0)
    return members + directory + end


def deflated(data: bytes) -> bytes:
    """Return data as it stands in an archive."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def hand_made(
    name: bytes = b"a.csv",
    *,
    data: bytes = TABLE,
    size: int | None = None,
    check_sum: int | None = None,
    local_name: bytes | None = None,
    method: int = 8,
    flags: int = 0,
    behind: bytes = b"",
) -> bytes:
    """Return an archive of one member, of which something may be a lie."""
    packed = deflated(data) + behind
    size = len(data) if size is None else size
    check_sum = zlib.crc32(data) if check_sum is None else check_sum
    members = local(local_name or name, packed, size, check_sum, method=method, flags=flags)
    return archive_of(members, [entry(name, packed, size, check_sum, at=0, method=method, flags=flags)])


def overlapping() -> bytes:
    """Return an archive in which many members are the same bytes: 42 kB of such say that they are petabytes."""
    packed, size = deflated(b"\0" * 1_000_000), 1_000_000
    check_sum = zlib.crc32(b"\0" * size)
    entries = [entry(b"%d.csv" % number, packed, size, check_sum, at=0) for number in range(200)]
    return archive_of(local(b"0.csv", packed, size, check_sum), entries)


def of_one_name() -> bytes:
    """Return an archive of two files that are called the same."""
    packed, size, check_sum = deflated(TABLE), len(TABLE), zlib.crc32(TABLE)
    member = local(b"a.csv", packed, size, check_sum)
    entries = [entry(b"a.csv", packed, size, check_sum, at=at) for at in (0, len(member))]
    return archive_of(2 * member, entries)


def quoted() -> bytes:
    """Return an archive in which a member's data begins with the header of the next one, quoted as not packed."""
    packed, size = deflated(TABLE), len(TABLE)
    second = local(b"b.csv", packed, size, zlib.crc32(TABLE))
    whole = second[: 30 + 5]
    first = b"\x00" + struct.pack("<HH", len(whole), len(whole) ^ 0xFFFF) + second
    data = whole + TABLE
    head = local(b"a.csv", first, len(data), zlib.crc32(data))
    at = len(head) - len(second)
    entries = [
        entry(b"a.csv", first, len(data), zlib.crc32(data), at=0),
        entry(b"b.csv", packed, size, zlib.crc32(TABLE), at=at),
    ]
    return archive_of(head, entries)


def patched(data: bytes, what: bytes, by: bytes) -> bytes:
    """Return bytes of which some are others."""
    assert what in data
    return data.replace(what, by)


def as_tar() -> bytes:
    """Return a table in a tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("contacts.csv")
        member.size = len(TABLE)
        archive.addfile(member, io.BytesIO(TABLE))
    return out.getvalue()


def refused(name: str, data: bytes, *says: str, member: str = "", max_unpacked_mb: int = 1_000) -> Case:
    """Return an archive that is refused."""
    act = read(data, member=member, max_unpacked_mb=max_unpacked_mb)
    return Case(name, act, InputError, ("crm.zip", "was sent to Qualtrics", *says))


def taken(name: str, data: bytes | Callable[[], bytes], *, member: str = "") -> Case:
    """Return an archive that is unusual and right."""
    return Case(name, read(data if isinstance(data, bytes) else data(), member=member), gives=READ)


def named(name: str, member: str, says: str) -> Case:
    """Return an archive whose member has a hostile name."""
    return refused(name, hand_made(member.encode(), flags=0x800), "has a name that", says)


GZ = gzip.compress(TABLE)
MANY_LINES = HEADER + ANN * 1_000_000
ZEROS = b"\0" * 20_000_000
CUT_OFF = "is damaged: it is cut off"
CHECK_SUM = "its check sum says so"

CASES = [
    taken("gzip_named_otherwise", GZ),
    taken("gzip_of_several_members", gzip.compress(HEADER) + gzip.compress(ANN) + gzip.compress(BOB)),
    taken("gzip_with_an_empty_member", gzip.compress(b"") + GZ + gzip.compress(b"")),
    taken("gzip_with_zeros_behind_it", GZ + b"\0" * 10_000),
    taken("gzip_with_zeros_between_members", gzip.compress(HEADER + ANN) + b"\0" * 512 + gzip.compress(BOB)),
    refused("gzip_with_garbage_behind_it", GZ + b"garbage", "something behind its end"),
    refused("gzip_with_one_byte_behind_it", GZ + b"\x1f", "something behind its end"),
    refused("gzip_cut_off_in_its_header", GZ[:5], CUT_OFF),
    refused("gzip_cut_off_in_its_data", GZ[:40], CUT_OFF),
    refused("gzip_cut_off_in_its_check_sum", GZ[:-6], CUT_OFF),
    refused("gzip_of_a_second_member_cut_off", gzip.compress(HEADER + ANN) + gzip.compress(BOB)[:-3], CUT_OFF),
    refused("gzip_of_another_check_sum", GZ[:-8] + b"\0\0\0\0" + GZ[-4:], CHECK_SUM),
    refused("gzip_of_another_length", GZ[:-4] + b"\0\0\0\0", CHECK_SUM),
    refused("gzip_of_a_method_that_is_none", GZ[:2] + b"\x07" + GZ[3:], "can't be unpacked"),
    refused("gzip_bomb_of_zeros", gzip.compress(HEADER + ZEROS), "200 times its size"),
    refused("gzip_bomb_that_looks_like_a_table", gzip.compress(MANY_LINES), "200 times its size"),
    refused(
        "gzip_that_unpacks_to_more_than_is_allowed",
        gzip.compress(HEADER + b"".join(b"p%d@x.example,P,%d\n" % (n, n) for n in range(60_000))),
        "more than the 1 MB that max_unpacked_mb allows",
        "raise max_unpacked_mb",
        max_unpacked_mb=1,
    ),
    refused("gzip_of_next_to_nothing_ten_thousand_times", gzip.compress(b"") * 10_000, "pieces of next to nothing"),
    refused("gzip_in_gzip", gzip.compress(GZ), "holds another archive", "a gzip archive", "packed once"),
    refused("zip_in_gzip", gzip.compress(zipped(Packed("a.csv"))), "holds another archive", "a zip archive"),
    refused("tar_in_gzip", gzip.compress(as_tar()), "holds another archive", "a tar archive"),
    taken("zip_named_otherwise", zipped(Packed("contacts.csv"))),
    taken("zip_of_a_file_not_deflated", zipped(Packed("contacts.csv", method=zipfile.ZIP_STORED))),
    taken("zip_with_a_data_descriptor", streamed_zip),
    taken("zip_with_sizes_of_64_bits", zip64),
    taken("zip_with_a_comment", zipped(Packed("contacts.csv"), comment=b"of the CRM")),
    taken("zip_of_folders", zipped(Packed("out/", b""), Packed("out/contacts.csv"), Packed("__MACOSX/._contacts.csv"))),
    taken("zip_of_several_one_fits", zipped(Packed("a.csv", b"x"), Packed("b/contacts.csv")), member="contacts*.csv"),
    taken("zip_of_several_one_fits_with_its_folder", zipped(Packed("a/x.csv", b""), Packed("b/x.csv")), member="b/*"),
    refused("zip_of_several", zipped(Packed("a.csv"), Packed("b.csv")), "holds 2 files", "Set `member`"),
    refused(
        "zip_of_several_two_fit",
        zipped(Packed("a.csv"), Packed("b.csv"), Packed("c.txt")),
        "2 of the 3 files",
        "Set `member`",
        member="*.csv",
    ),
    refused("zip_of_several_none_fits", zipped(Packed("a.txt"), Packed("b.txt")), "0 of the 2 files", member="*.csv"),
    refused("zip_of_two_with_one_name", of_one_name(), "holds 2 files"),
    refused("zip_of_nothing_but_a_folder", zipped(Packed("out/", b"")), "holds 0 files"),
    Case(
        "zip_of_a_workbook",
        read(zipped(Packed("[Content_Types].xml"), Packed("xl/workbook.xml"))),
        InputError,
        ("crm.zip", "a workbook", "saved as CSV"),
    ),
    refused("zip_cut_off", zipped(Packed("contacts.csv"))[:-30], CUT_OFF),
    refused("zip_cut_off_behind_its_first_bytes", zipped(Packed("contacts.csv"))[:10], CUT_OFF),
    refused("zip_with_garbage_behind_it", zipped(Packed("contacts.csv")) + b"garbage", "something behind its end"),
    refused("zip_behind_another_zip", zipped(Packed("a.csv")) + zipped(Packed("b.csv")), "in front of its first file"),
    refused("zip_of_another_check_sum", hand_made(check_sum=1), "a.csv in crm.zip", CHECK_SUM),
    refused("zip_of_a_larger_size", hand_made(size=len(TABLE) + 1), "a.csv in crm.zip", "another size"),
    refused("zip_of_a_smaller_size", hand_made(size=len(HEADER + ANN)), "a.csv in crm.zip", "another size"),
    refused("zip_with_something_behind_the_data", hand_made(behind=b"hidden"), "another size"),
    refused(
        "zip_whose_directory_names_another_file", hand_made(local_name=b"b.csv"), "not what the archive's directory"
    ),
    refused("zip_of_overlapping_members", overlapping(), "files in it share the same bytes", member="7.csv"),
    refused("zip_of_quoted_members", quoted(), "files in it share the same bytes", member="b.csv"),
    refused("zip_bomb", zipped(Packed("a.csv", HEADER + ZEROS)), "a.csv in crm.zip", "200 times its size"),
    refused("zip_bomb_that_says_it_is_small", hand_made(data=MANY_LINES, size=1_000), "a.csv in crm.zip", "200 times"),
    refused("zip_that_says_it_is_huge", hand_made(size=2_000_000_000), "more than the 1,000 MB"),
    refused("zip_in_zip", zipped(Packed("a.zip", zipped(Packed("a.csv")))), "holds another archive", "a zip archive"),
    refused("gzip_in_zip", zipped(Packed("a.csv.gz", GZ)), "holds another archive", "a gzip archive"),
    refused("zip_of_1_001_files", zipped(*(Packed(f"{n}", b"") for n in range(1_001))), "more than 1,000 files"),
    refused(
        "zip_of_a_huge_directory",
        zipped(Packed("a.csv"), *(Packed(f"{number}" * 30_000, b"") for number in range(10, 40))),
        "a directory of more than 1,000,000 bytes",
        member="a.csv",
    ),
    refused(
        "zip_whose_directory_is_said_to_be_huge",
        patched(zipped(Packed("a.csv")), struct.pack("<L", 51), struct.pack("<L", 2_000_000_000)),
        "crm.zip",
    ),
    Case("zip_with_a_password", read(hand_made(flags=1)), InputError, ("crm.zip", "asks for a password", "SFTP")),
    Case("zip_strongly_encrypted", read(hand_made(flags=0x41)), InputError, ("crm.zip", "asks for a password")),
    Case(
        "zip_packed_with_bzip2",
        read(zipped(Packed("a.csv", method=zipfile.ZIP_BZIP2))),
        InputError,
        ("crm.zip", "packed with bzip2", "deflate"),
    ),
    Case(
        "zip_packed_with_lzma",
        read(zipped(Packed("a.csv", method=zipfile.ZIP_LZMA))),
        InputError,
        ("crm.zip", "packed with LZMA"),
    ),
    Case(
        "zip_packed_with_a_method_of_nobody",
        read(hand_made(method=77)),
        InputError,
        ("crm.zip", "packed with method 77"),
    ),
    named("zip_member_that_traverses", "../../etc/cron.d/x.csv", "leads out of its folder: ../../etc"),
    named("zip_member_that_traverses_in_its_middle", "a/../../x.csv", "leads out of its folder"),
    named("zip_member_of_the_root", "/etc/passwd", "leads out of its folder"),
    named("zip_member_of_a_drive", "C:/boot.csv", "begins with a drive's letter"),
    named("zip_member_with_backslashes", "..\\..\\boot.csv", r"holds a path separator: ..\\..\\boot.csv"),
    named("zip_member_with_nul", "a.csv\0.exe", r"holds control characters: a.csv\x00.exe"),
    named("zip_member_with_a_newline", "a.csv\nERROR all is lost", r"holds control characters: a.csv\nERROR"),
    named("zip_member_that_turns_direction", "a\u202evsc.exe", "turn the direction of text"),
    named("zip_member_with_a_very_long_name", "n" * 60_000 + ".csv", "is longer than 255 bytes: nnn"),
]
