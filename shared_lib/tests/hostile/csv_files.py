"""CSV files that are hostile or broken. Expected: a refusal that names the file, or rows rejected one by one."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

from qualtrics_etl.errors import ConfigurationError, InputError
from qualtrics_etl.formats.csv_file import read_batches
from qualtrics_etl.formats.csv_header import CsvSpec
from qualtrics_etl.formats.rows import Row, RowModel

from .case import Act, Arena, Case

HEADER = b"email,first_name,visits\n"
ANN = b"ann@x.example,Ann,1\n"
BOB = b"bob@x.example,Bob,2\n"
LARGEST_LOOK = 2_000_000
"""Bytes within which any refusal must be decided, however long the file is."""


class Visit(Row):
    email: str
    first_name: str
    visits: int


class Outcome(NamedTuple):
    """Lines of the good rows, and the rejects as (line, field, how the reason begins)."""

    good: list[int]
    rejects: list[tuple[int, str | None, str]]


class Stream:
    """A file that is made while it is read, and counts what is asked of it."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self.given = 0

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        while len(self._rest) < size and (piece := next(self._pieces, b"")):
            self._rest += piece
        taken, self._rest = self._rest[:size], self._rest[size:]
        self.given += len(taken)
        return taken


def endless(piece: bytes) -> Iterator[bytes]:
    """Give a piece for ever."""
    while True:
        yield piece * 1000


def read(data: bytes, model: type[Row] | None = Visit, spec: CsvSpec | None = None) -> Act:
    """Read a file of these bytes."""

    def act(_: Arena) -> Outcome:
        batches = list(read_batches(io.BytesIO(data), spec or CsvSpec(), RowModel(model), file="crm.csv"))
        rejects = [(each.line, each.field, each.reason[:30]) for batch in batches for each in batch.rejects]
        return Outcome([line for batch in batches for line in batch.lines], rejects)

    return act


def read_endless(opening: bytes, piece: bytes) -> Act:
    """Read a file that never ends; the refusal must come within `LARGEST_LOOK`."""

    def act(_: Arena) -> object:
        stream = Stream(piece for part in ((opening,), endless(piece)) for piece in part)
        try:
            return next(read_batches(stream, CsvSpec(), RowModel(Visit), file="crm.csv"))
        finally:
            assert stream.given <= LARGEST_LOOK

    return act


def run(rows: bytes) -> Act:
    """Take a file through parsing and importing; return who is in the list, and why the others are not."""

    def act(arena: Arena) -> object:
        place = arena.place
        place.use(parse_file={"settings": {"max_reject_ratio": 1.0}})
        place.begin(b"email,first_name,branch\n" + rows + BOB)
        place.run()
        reasons = [
            line.split(",")[2] for key in place.keys("rejects/") for line in place.text(key).splitlines()[1:] if line
        ]
        return place.members(), reasons

    return act


def run_formulas(arena: Arena) -> object:
    """Import values that a spreadsheet would run; return what arrived, and the cells of the reject file."""
    place = arena.place
    place.use(parse_file={"settings": {"max_reject_ratio": 1.0}})
    place.begin(b"email,first_name,phone\nann@x.example,=1+1,+49 30 1\n=cmd|'/C calc'!A0;@x,-1,2,=2\n")
    place.run()
    directories = place.simulator.state.directories.values()
    arrived = [
        (each.fields["firstName"], each.fields["phone"])
        for directory in directories
        for each in directory.contacts.values()
    ]
    (key,) = place.keys("rejects/")
    rejects = list(csv.DictReader(io.StringIO(place.text(key), newline="")))
    return arrived, [each["raw"] for each in rejects]


def as_zip(*names: str) -> bytes:
    """Return an archive of files of these names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, HEADER + ANN)
    return out.getvalue()


def refused(name: str, data: bytes, *says: str) -> Case:
    """Return a file that is refused as a whole, by its name."""
    return Case(name, read(data), InputError, ("crm.csv", *says))


def rows(name: str, data: bytes, good: list[int], rejects: list[tuple[int, str | None, str]]) -> Case:
    """Return a file of which some rows are rejected."""
    return Case(name, read(HEADER + data), gives=Outcome(good, rejects))


BAD_QUOTE = "has a quote that is not closed"
LONG = "is a line of more than 1,000,0"
TABLE = HEADER + ANN
BINARY = bytes(range(256)) * 4

CASES = [
    Case("header_only", read(HEADER), gives=Outcome([], [])),
    refused("empty_file", b"", "is empty"),
    refused("nothing_but_a_mark", b"\xef\xbb\xbf", "is empty"),
    refused("nothing_but_nul", b"\0" * 5000, "NUL"),
    refused("zip_named_csv", as_zip("contacts.csv"), "zip archive", "as CSV or XML"),
    refused("xlsx_named_csv", as_zip("[Content_Types].xml", "xl/workbook.xml"), "xlsx"),
    refused("gzip_named_csv", gzip.compress(TABLE), "gzip archive"),
    refused("bzip2_named_csv", bz2.compress(TABLE), "bzip2 archive"),
    refused("xz_named_csv", lzma.compress(TABLE), "xz archive"),
    refused("pdf_named_csv", b"%PDF-1.7\n" + BINARY, "PDF document"),
    refused("elf_program_named_csv", b"\x7fELF\x02\x01\x01\0" + BINARY, "a program"),
    refused("windows_program_named_csv", b"MZ\x90\0\x03\0\0\0" + BINARY, "a program"),
    refused("old_workbook_named_csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + BINARY, "old Office"),
    refused("database_named_csv", b"SQLite format 3\0" + BINARY, "a database"),
    refused("picture_named_csv", b"\x89PNG\r\n\x1a\n" + BINARY, "a picture"),
    refused("pgp_message_named_csv", b"-----BEGIN PGP MESSAGE-----\n\nhQEMA\n", "PGP message", "encrypted"),
    refused("web_page_named_csv", b"\n <!DOCTYPE html><html><title>Log in</title></html>", "a web page"),
    refused("xml_with_entities_named_csv", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]>', "XML document"),
    Case("column_named_like_a_program", read(b"MZ,email,first_name,visits\n1," + ANN), gives=Outcome([2], [])),
    refused("columns_100_000", b",".join(b"c%d" % n for n in range(100_000)) + b"\n" + ANN, "100,000 columns"),
    refused("header_of_long_names", b",".join([b"n" * 9_000] * 20) + b"\n" + ANN, "20 columns", "characters"),
    refused("columns_of_one_name", b"first_name,visits" + b",email" * 1_500 + b"\n", "'email'", "and 1490 more"),
    refused("columns_that_look_alike", b"E-Mail,e_mail,first_name,visits\n", "'email' is missing"),
    refused("homoglyph_column", "\u0435mail,first_name,visits\n".encode(), "'email' is missing"),
    refused("header_with_a_control_character", b"em\x00ail,first_name,visits\n", "NUL"),
    refused("header_quote_never_closed", b'email,"first_name\n' + ANN * 60_000, "line 1", "quote"),
    Case("header_that_never_ends", read_endless(b"email,", b"x"), InputError, ("crm.csv", "line 1", "1,000,000")),
    Case("endless_zip", read_endless(as_zip("a"), b"\0"), InputError, ("crm.csv", "zip archive")),
    Case("endless_columns", read_endless(b"email,first_name,visits", b",x"), InputError, ("crm.csv", "1,000,000")),
    refused("utf16_without_a_mark", TABLE.decode().encode("utf-16-le"), "NUL", "utf-16"),
    refused("utf32", TABLE.decode().encode("utf-32"), "NUL"),
    refused("header_in_latin1", "email,first_näme,visits\n".encode("latin-1"), "is not utf-8", "cp1252"),
    rows(
        "row_in_latin1",
        "zoe@x.example,Zoë,3\n".encode("latin-1") + BOB,
        [3],
        [(2, None, "is not utf-8; set `encoding` t")],
    ),
    rows("overlong_utf8", b"a@x.example,\xc0\xaf,3\n" + BOB, [3], [(2, None, "is not utf-8; set `encoding` t")]),
    rows(
        "surrogates_in_utf8", b"a@x.example,\xed\xa0\x80,3\n" + BOB, [3], [(2, None, "is not utf-8; set `encoding` t")]
    ),
    rows("nul_in_a_cell", b"a@x.example,A\0,1\n" + BOB, [3], [(2, None, "holds a NUL character; send th")]),
    rows(
        "lone_quote_in_each_line",
        b'"\n' * 3 + BOB,
        [5],
        [(2, None, "has 1 cell, the header has 3"), (4, None, BAD_QUOTE)],
    ),
    rows("unclosed_quote", b'eve@x.example,"Eve,3\n' + ANN + BOB, [3, 4], [(2, None, BAD_QUOTE)]),
    rows(
        "unclosed_quote_over_megabytes",
        b'eve@x.example,"' + ANN * 150_000,
        list(range(3, 150_002)),
        [(2, None, BAD_QUOTE)],
    ),
    rows("field_of_two_megabytes", b"a@x.example," + b"A" * 2_000_000 + b",1\n" + BOB, [3], [(2, None, LONG)]),
    rows("row_of_100_000_cells", b"," * 99_998 + b"x\n" + BOB, [3], [(2, None, "has 99999 cells, the header ha")]),
    rows("row_of_a_million_cells", b"x" + b"," * 1_000_000 + b"\n" + BOB, [3], [(2, None, LONG)]),
    rows("mixed_line_ends", ANN.replace(b"\n", b"\r\n") + BOB.replace(b"\n", b"\r") + ANN, [2, 3, 4], []),
    rows("line_ends_of_unicode_are_text", "a@x.example,A\u2028\x0c\x85,1\n".encode() + BOB, [2, 3], []),
    rows("two_files_in_one", b"\xef\xbb\xbf" + TABLE + BOB, [3, 4], [(2, "visits", "should be a valid integer, una")]),
    rows(
        "number_that_is_none",
        b"a@x.example,A,NaN\na@x.example,A,1e999\n" + BOB,
        [4],
        [(2, "visits", "should be a valid integer, una"), (3, "visits", "should be a valid integer, una")],
    ),
    rows(
        "number_of_5_000_digits",
        b"a@x.example,A," + b"9" * 5_000 + b"\n" + BOB,
        [3],
        [(2, "visits", "Unable to parse input string a")],
    ),
    Case(
        "codec_that_is_no_text",
        lambda _: CsvSpec(encoding="zip"),
        ConfigurationError,
        ("`encoding`", "'zip'"),
    ),
    Case(
        "formulas_arrive_as_they_are_and_rejects_run_none",
        run_formulas,
        gives=([("=1+1", "+49 30 1")], ["'=cmd|'/C calc'!A0;'@x,'-1,2,'=2"]),
    ),
    Case(
        "email_with_a_newline",
        run(b'"eve@x.example\nBcc: all@x.example",Eve,N\n'),
        gives=(["bob@x.example"], ["email is not an e-mail address."]),
    ),
    Case(
        "mark_in_the_middle",
        run("\ufeffeve@x.example,Eve,N\n".encode()),
        gives=(["bob@x.example"], ["email holds the control character U+FEFF."]),
    ),
    Case(
        "invisible_character_in_an_address",
        run("e\u200bve@x.example,Eve,N\n".encode()),
        gives=(["bob@x.example"], ["email holds the invisible character U+200B."]),
    ),
    Case(
        "homoglyph_in_an_address",
        run("\u0430nn@x.example,Ann,N\n".encode()),
        gives=(["bob@x.example"], ["email mixes letters of CYRILLIC and LATIN in one word."]),
    ),
    Case(
        "control_characters_in_a_name",
        run(b"eve@x.example,E\x1b[2Jve,N\n"),
        gives=(["bob@x.example"], ["first_name holds the control character U+001B."]),
    ),
    Case(
        "name_that_turns_the_direction_of_text",
        run("eve@x.example,\u202eevE,N\n".encode()),
        gives=(["bob@x.example"], ["first_name holds the control character U+202E."]),
    ),
    Case(
        "control_characters_in_embedded_data",
        run(b"eve@x.example,Eve,\x07\n"),
        gives=(["bob@x.example"], ["embedded_data.branch holds the control character U+0007."]),
    ),
    Case(
        "address_of_300_characters",
        run(b"e" * 300 + b"@x.example,Eve,N\n"),
        gives=(["bob@x.example"], ["email is not an e-mail address."]),
    ),
]
