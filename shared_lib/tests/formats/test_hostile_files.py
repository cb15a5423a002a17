"""Files as clients really send them: good rows go on, the others are kept with line, field and reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from qualtrics_etl.errors import InputError
from qualtrics_etl.formats.csv_header import CsvSpec
from qualtrics_etl.formats.rows import RowModel

HEADER = b"email,first_name,visits\n"
ANN = b"ann@x.example,Ann,1\n"
BOB = b"bob@x.example,Bob,2\n"
ZOE = "zoe@x.example,Zoë,3\n"

ANN_ROW = ["ann@x.example", "Ann", 1, None]
BOB_ROW = ["bob@x.example", "Bob", 2, None]
ZOE_ROW = ["zoe@x.example", "Zoë", 3, None]

BAD_QUOTES = (
    "has a quote that is not closed within 1,000 lines and 1,000,000 bytes, or text behind a closing quote; "
    "quotes inside a cell must be doubled"
)
LONG_LINE = "is a line of more than 1,000,000 bytes"
NO_EMAIL = r"does not match the pattern ^[^@\s]+@[^@\s]+$"
NO_NUMBER = "should be a valid integer, unable to parse string as an integer"


@dataclass(frozen=True)
class Case:
    """A file, and what is to be found in it: line to good row, and rejects as (line, field, reason)."""

    name: str
    data: bytes
    rows: dict[int, list[Any]] = field(default_factory=dict)
    rejects: list[tuple[int, str | None, str]] = field(default_factory=list)
    spec: CsvSpec = field(default_factory=CsvSpec)


CASES = [
    Case("plain", HEADER + ANN + BOB, {2: ANN_ROW, 3: BOB_ROW}),
    Case("no_last_line_end", HEADER + ANN.rstrip(), {2: ANN_ROW}),
    Case("header_only", HEADER),
    Case("header_only_without_line_end", HEADER.rstrip()),
    Case("crlf", (HEADER + ANN + BOB).replace(b"\n", b"\r\n"), {2: ANN_ROW, 3: BOB_ROW}),
    Case("cr", (HEADER + ANN + BOB).replace(b"\n", b"\r"), {2: ANN_ROW, 3: BOB_ROW}),
    Case("mixed_line_ends", HEADER + ANN.replace(b"\n", b"\r\n") + BOB, {2: ANN_ROW, 3: BOB_ROW}),
    Case("bom", b"\xef\xbb\xbf" + HEADER + ANN, {2: ANN_ROW}),
    Case("bom_beats_setting", b"\xef\xbb\xbf" + HEADER + ZOE.encode(), {2: ZOE_ROW}, spec=CsvSpec(encoding="cp1252")),
    Case("utf16_of_a_spreadsheet", (HEADER.decode() + ZOE).encode("utf-16"), {2: ZOE_ROW}),
    Case("utf16_big_endian", b"\xfe\xff" + (HEADER.decode() + ZOE).encode("utf-16-be"), {2: ZOE_ROW}),
    Case("utf16_set", (HEADER.decode() + ZOE).encode("utf-16-le"), {2: ZOE_ROW}, spec=CsvSpec(encoding="utf-16")),
    Case(
        "utf16_cut_within_a_character",
        (HEADER + ANN).decode().encode("utf-16") + b"x",
        {2: ANN_ROW},
        [(3, None, "is not utf-16-le; set `encoding` to what the file is written in, often cp1252")],
    ),
    Case(
        "latin1_bytes_in_utf8",
        HEADER + ANN + ZOE.encode("latin-1") + BOB,
        {2: ANN_ROW, 4: BOB_ROW},
        [(3, None, "is not utf-8; set `encoding` to what the file is written in, often cp1252")],
    ),
    Case("latin1_set", HEADER + ZOE.encode("latin-1"), {2: ZOE_ROW}, spec=CsvSpec(encoding="latin-1")),
    Case(
        "nul",
        HEADER + b"ann@x.example,A\0nn,1\n" + BOB,
        {3: BOB_ROW},
        [(2, None, "holds a NUL character; send the file as text, or set `encoding` to utf-16")],
    ),
    Case(
        "quoted_newlines",
        HEADER + b'ann@x.example,"An\r\n\nn",1\n' + BOB,
        {2: ["ann@x.example", "An\r\n\nn", 1, None], 5: BOB_ROW},
    ),
    Case("quotes_doubled", HEADER + b'ann@x.example,"""Ann"", x",1\n', {2: ["ann@x.example", '"Ann", x', 1, None]}),
    Case("quote_within_a_cell", HEADER + b'ann@x.example,An"n,1\n', {2: ["ann@x.example", 'An"n', 1, None]}),
    Case("blanks_around_cells", HEADER + b'  ann@x.example , "Ann", 1 \n', {2: ANN_ROW}),
    Case(
        "text_behind_a_closing_quote",
        HEADER + b'ann@x.example,"Ann" the first,1\n' + BOB,
        {3: BOB_ROW},
        [(2, None, BAD_QUOTES)],
    ),
    Case(
        "unclosed_quote_meets_no_other",
        HEADER + ANN + b'eve@x.example,"Eve,3\n' + BOB,
        {2: ANN_ROW, 4: BOB_ROW},
        [(3, None, BAD_QUOTES)],
    ),
    Case(
        "unclosed_quote_meets_another",
        HEADER + b'"eve@x.example,Eve,3\n"ann@x.example",Ann,1\n',
        {3: ANN_ROW},
        [(2, None, BAD_QUOTES)],
    ),
    Case(
        "unclosed_quote_in_a_long_file",
        HEADER + b'eve@x.example,"Eve,3\n' + ANN * 2_500,
        dict.fromkeys(range(3, 2503), ANN_ROW),
        [(2, None, BAD_QUOTES)],
    ),
    Case(
        "unclosed_quote_before_long_lines",
        HEADER + b'eve@x.example,"Eve,3\n' + b"y" * 600_000 + b"\n" + b"y" * 600_000 + b"\n" + ANN,
        {5: ANN_ROW},
        [
            (2, None, BAD_QUOTES),
            (3, None, "has 1 cell, the header has 3"),
            (4, None, "has 1 cell, the header has 3"),
        ],
    ),
    Case(
        "short_and_long_rows",
        HEADER + b"ann@x.example,Ann\n" + b"ann@x.example,Ann,1,2\n" + BOB,
        {4: BOB_ROW},
        [(2, None, "has 2 cells, the header has 3"), (3, None, "has 4 cells, the header has 3")],
    ),
    Case(
        "field_of_a_megabyte",
        HEADER + b"ann@x.example," + b"A" * 1_048_576 + b",1\n" + BOB,
        {3: BOB_ROW},
        [(2, None, LONG_LINE)],
    ),
    Case(
        "field_just_below",
        HEADER + b"ann@x.example," + b"A" * 999_000 + b",1\n" + BOB,
        {2: ["ann@x.example", "A" * 999_000, 1, None], 3: BOB_ROW},
    ),
    Case(
        "line_of_50_megabytes",
        HEADER + ANN + b"x" * 50_000_000 + b"\r\n" + BOB,
        {2: ANN_ROW, 4: BOB_ROW},
        [(3, None, LONG_LINE)],
    ),
    Case("endless_last_line", HEADER + ANN + b"x" * 3_000_000, {2: ANN_ROW}, [(3, None, LONG_LINE)]),
    Case(
        "lines_without_content",
        b"\n" + HEADER + b"\n" + ANN + b",,\n   \n" + BOB + b"\n\n\n",
        {4: ANN_ROW, 7: BOB_ROW},
    ),
    Case(
        "only_rejects",
        HEADER + b"ann,Ann,1\nbob,Bob,two\n",
        {},
        [(2, "email", NO_EMAIL), (3, "email", f"{NO_EMAIL}; visits {NO_NUMBER}")],
    ),
    Case(
        "blank_cells",
        HEADER + b"ann@x.example, ,1\n,Ann,\n",
        {},
        [(2, "first_name", "is blank"), (3, "email", "is blank; visits is blank")],
    ),
    Case(
        "number_too_large_for_json",
        HEADER + b"ann@x.example,Ann," + b"9" * 30 + b"\n" + BOB,
        {3: BOB_ROW},
        [(2, "visits", "is too large a number, or of a type that can't be stored")],
    ),
    Case("semicolons", (HEADER + ANN).replace(b",", b";"), {2: ANN_ROW}),
    Case("tabs", (HEADER + ANN).replace(b",", b"\t"), {2: ANN_ROW}),
    Case("pipes", (HEADER + ANN).replace(b",", b"|"), {2: ANN_ROW}),
    Case("carets_set", (HEADER + ANN).replace(b",", b"^"), {2: ANN_ROW}, spec=CsvSpec(delimiter="^")),
    Case(
        "commas_in_a_header_of_semicolons",
        b'email;"first_name";visits;"a,b,c,d"\nann@x.example;Ann;1;-\n',
        {2: ANN_ROW},
    ),
    Case(
        "columns_in_another_order",
        b"Visits;FIRST NAME;x;E-mail\n1;Ann;-;ann@x.example\n",
        {2: ANN_ROW},
        spec=CsvSpec(columns={"e mail": "email"}),
    ),
    Case("repeated_column_that_is_not_used", b"email,x,first_name,visits,x\nann@x.example,,Ann,1,\n", {2: ANN_ROW}),
    Case("header_over_two_lines", b'email,"first\nname",visits\n' + ANN, {3: ANN_ROW}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_good_rows_go_on_and_the_others_are_rejected(case: Case, read: Any) -> None:
    """Whatever is in a file, each row is either good, with its line, or a reject with line, field and reason."""
    batches = read(case.data, spec=case.spec)

    rows = {line: row for batch in batches for line, row in zip(batch.lines, batch.rows(), strict=True)}
    rejects = [(r.line, r.field, r.reason) for batch in batches for r in batch.rejects]
    assert rows == case.rows
    assert rejects == case.rejects


@dataclass(frozen=True)
class Refused:
    """A file that can't be used as a whole, and the error that says so."""

    name: str
    data: bytes
    what: str
    remedy: str
    line: int | None = 1
    column: str | None = None
    spec: CsvSpec = field(default_factory=CsvSpec)


EMPTY = "crm.csv is empty: it has no header."
ASK_AGAIN = "Ask for the file again; a file without rows still needs its header line."
UNREADABLE = "The header of crm.csv (line 1) can't be read: it"
LOOK_AT = "Look at the settings `encoding` and `delimiter`, or ask for the file again."

REFUSED = [
    Refused("empty", b"", EMPTY, ASK_AGAIN, line=None),
    Refused("nothing_but_blank_lines", b"\n\n   \n,,\n", EMPTY, ASK_AGAIN, line=None),
    Refused(
        "missing_column",
        b"\nemail,visits\nann@x.example,1\n",
        "Column 'first_name' is missing from crm.csv: the header (line 2) has 2 columns, and none of this name.",
        "Ask for a file with this column, or name it in the setting `columns`; when all columns seem to be missing, "
        "look at the settings `delimiter` and `encoding`.",
        line=2,
        column="first_name",
    ),
    Refused(
        "repeated_column",
        b"email,First-Name,visits,first_name\n" + ANN,
        "Column 'first_name' stands more than once in crm.csv: columns 2 and 4 of the header (line 1).",
        "Ask for a file where it stands once; names are compared without case, and blanks, dashes and underscores "
        "count as the same.",
        column="first_name",
    ),
    Refused(
        "wrong_delimiter",
        HEADER + ANN,
        "crm.csv has another delimiter: its header (line 1), cut at semicolon, has 1 column, cut at comma it has 3.",
        "Set `delimiter` to comma (',') or to auto.",
        spec=CsvSpec(delimiter=";"),
    ),
    Refused(
        "delimiter_that_auto_does_not_know",
        (HEADER + ANN).replace(b",", b"^"),
        "crm.csv has another delimiter: its header (line 1), cut at comma, has 1 column, "
        "and none of comma, semicolon, tab, pipe cuts it into more.",
        "Set `delimiter` to the character between the columns.",
    ),
    Refused(
        "header_in_another_encoding",
        "email,pr\u00e9nom,visits\n".encode("latin-1"),
        f"{UNREADABLE} is not utf-8; set `encoding` to what the file is written in, often cp1252.",
        LOOK_AT,
    ),
    Refused(
        "utf16_without_a_mark",
        (HEADER + ANN).decode().encode("utf-16-le"),
        f"{UNREADABLE} holds a NUL character; send the file as text, or set `encoding` to utf-16.",
        LOOK_AT,
    ),
    Refused(
        "unclosed_quote_in_the_header",
        b'email,"first_name,visits\n' + ANN,
        f"{UNREADABLE} {BAD_QUOTES}.",
        LOOK_AT,
    ),
    Refused("header_without_end", b"x" * 2_000_000, f"{UNREADABLE} {LONG_LINE}.", LOOK_AT),
    Refused(
        "header_without_names",
        b"\t,\t\n1,2\n",
        "Column 'email' is missing from crm.csv: the header (line 1) has 2 columns, and none of this name.",
        "Ask for a file with this column, or name it in the setting `columns`; when all columns seem to be missing, "
        "look at the settings `delimiter` and `encoding`.",
        column="email",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_file_that_is_wholly_wrong_is_refused(case: Refused, read: Any) -> None:
    """A file without a usable header gives no row at all, and an error that names file, line, column and remedy."""
    with pytest.raises(InputError) as caught:
        read(case.data, spec=case.spec)

    error = caught.value
    assert (error.what, error.remedy) == (case.what, case.remedy)
    assert (error.file, error.row_number, error.field) == ("crm.csv", case.line, case.column)


def test_a_file_without_a_header_shows_nobodys_data(read: Any) -> None:
    """Where the header is missing, the first line is a person: no error quotes it."""
    with pytest.raises(InputError) as caught:
        read(ANN + BOB)
    with pytest.raises(InputError) as caught_with_delimiter:
        read(ANN + BOB, spec=CsvSpec(delimiter=";"))

    assert "ann@x.example" not in str(caught.value) + str(caught_with_delimiter.value)


@pytest.mark.parametrize(
    ("columns", "name", "what"),
    [
        ({}, None, "Columns 1, 3 and 4 of crm.csv have the same name in its header (line 1)."),
        (
            {"Canaria": "first_name"},
            "Canaria",
            "Column 'Canaria' stands more than once in crm.csv: columns 1, 3 and 4 of the header (line 1).",
        ),
    ],
)
def test_a_repeated_name_is_shown_only_where_it_is_ours(
    read: Any, columns: dict[str, str], name: str | None, what: str
) -> None:
    """Without a row model a column's name is the file's, perhaps a person; one of the setting `columns` is ours."""
    with pytest.raises(InputError) as caught:
        read(b"Canaria,1,canaria,Canaria\n", spec=CsvSpec(columns=columns), model=RowModel())

    assert (caught.value.what, caught.value.field) == (what, name)
    assert "anaria" not in caught.value.remedy
