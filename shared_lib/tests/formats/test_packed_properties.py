"""What holds for any packed file and any XML, looked for with tables and damages that nobody would think of."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Callable
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.errors import InputError
from qualtrics_etl.formats.batch_reader import Limits
from qualtrics_etl.formats.batches import Batch, Position, decode_batch, encode_batch, encode_rejects
from qualtrics_etl.formats.content import PackSpec, unpack
from qualtrics_etl.formats.rows import RowModel
from qualtrics_etl.formats.tables import TableSpec, read_table
from qualtrics_etl.formats.xml_record import Record
from qualtrics_etl.formats.xml_records import XmlRecords

Rows = list[list[str]]
NAMES = ("email", "first_name", "visits", "note")

letters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff\x85\u2028")
texts = st.text(letters, max_size=8).map(str.strip)
cells = st.sampled_from(["a@x.example", "b@x.example", "7", "12", "Ann", ""]) | texts
tables = st.lists(st.lists(cells, min_size=4, max_size=4).filter(any), max_size=8)
"""Rows of e-mail, first name, visits and note; most of them are bad."""


def as_csv(rows: Rows) -> bytes:
    """Return a table as CSV."""
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([NAMES, *rows])
    return out.getvalue().encode()


def as_xml(rows: Rows, *, with_attributes: bool = False, encoding: str = "utf-8") -> bytes:
    """Return a table as XML; blank cells are left out where they are last."""
    lines = []
    for row in rows:
        named = list(zip(NAMES, map(escape, row), strict=True))
        while named and not named[-1][1]:
            named.pop()
        lines.append("".join(f"<{name}>{cell}</{name}>" for name, cell in named))
    tag = '<row xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="false">' if with_attributes else "<row>"
    body = "".join(f"{tag}{line}</row>\n" for line in lines)
    return f'<?xml version="1.0" encoding="{encoding}"?><all>\n{body}</all>'.encode(encoding)


def as_zip(data: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive of one file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("a/contacts.csv", data)
    return out.getvalue()


def as_gzip_members(data: bytes, cut: int) -> bytes:
    """Return data in two members of a gzip file."""
    return gzip.compress(data[:cut]) + gzip.compress(data[cut:], mtime=0)


class Dripping(io.BytesIO):
    """A file whose answers are as long as it likes, where much is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return some of the next bytes."""
        return super().read(size if size is None or size < 4096 else 1 + self.tell() % 7)


def read(
    data: bytes,
    model: RowModel,
    *,
    rows_per_batch: int = 3,
    position: Position | None = None,
    file: Callable[[bytes], io.BytesIO] = io.BytesIO,
) -> list[Batch]:
    """Read a file of any form."""
    content = unpack(file(data), PackSpec(), name="crm.csv")
    return list(read_table(content, TableSpec(), model, Limits(rows_per_batch), position=position))


def outcome(data: bytes, model: RowModel, **limits: int) -> list[Batch] | InputError:
    """Return what is read, or how it is refused."""
    try:
        return read(data, model, **limits)
    except InputError as error:
        return error


def stored(batches: list[Batch]) -> list[bytes]:
    """Return batches and rejects as they are stored."""
    return [part for batch in batches for part in (encode_batch(batch), encode_rejects(batch.rejects))]


def seen(batches: list[Batch]) -> list[tuple[object, ...]]:
    """Return what does not depend on how a table was written down: all but places in the file."""
    return [
        (
            (batch.number, batch.header, batch.rows(), batch.is_last, batch.end.rows, batch.end.rejected),
            [(reject.field, reject.reason) for reject in batch.rejects],
        )
        for batch in batches
    ]


@given(rows=tables, cut=st.integers(0, 200), rows_per_batch=st.integers(1, 4))
def test_packed_table_is_the_table(crm: RowModel, rows: Rows, cut: int, rows_per_batch: int) -> None:
    """A table, packed in any of the ways that are read, gives the same bytes as the table itself."""
    table = as_csv(rows)
    bare = stored(read(table, crm, rows_per_batch=rows_per_batch))
    for packed in (as_gzip_members(table, cut), as_zip(table), as_zip(table, zipfile.ZIP_STORED)):
        assert stored(read(packed, crm, rows_per_batch=rows_per_batch)) == bare


@given(
    rows=tables,
    rows_per_batch=st.integers(1, 4),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
    with_attributes=st.booleans(),
)
def test_table_in_xml_gives_the_rows_of_csv(
    crm: RowModel, rows: Rows, rows_per_batch: int, encoding: str, with_attributes: bool
) -> None:
    """The same table in XML ends in the same rows, rejects and batches as in CSV, or the columns are missing."""
    wanted = seen(read(as_csv(rows), crm, rows_per_batch=rows_per_batch))
    xml = as_xml(rows, encoding=encoding, with_attributes=with_attributes)
    found = outcome(xml, crm, rows_per_batch=rows_per_batch)
    if isinstance(found, InputError):
        assert "has no column" in found.what
        assert any(not any(row[at:]) for at in range(3) for row in rows)
    else:
        assert seen(found) == wanted


@given(
    rows=tables,
    form=st.sampled_from([as_xml, lambda rows: gzip.compress(as_csv(rows)), lambda rows: as_zip(as_xml(rows))]),
    rows_per_batch=st.integers(1, 4),
)
def test_any_form_can_be_read_on_from_any_batch(rows: Rows, form: Callable[[Rows], bytes], rows_per_batch: int) -> None:
    """However a table was packed or written, what is behind a stored batch reads the same in another process."""
    data, model = form(rows), RowModel()
    batches = read(data, model, rows_per_batch=rows_per_batch)
    for done, batch in enumerate(batches, start=1):
        end = decode_batch(encode_batch(batch)).end
        assert stored(read(data, model, rows_per_batch=rows_per_batch, position=end)) == stored(batches[done:])


@given(rows=tables, form=st.sampled_from([as_csv, as_xml]), pack=st.sampled_from([bytes, gzip.compress, as_zip]))
def test_stored_bytes_depend_on_the_file_alone(
    rows: Rows, form: Callable[[Rows], bytes], pack: Callable[[bytes], bytes]
) -> None:
    """However the store cuts its answers, batches are the same bytes."""
    data, model = pack(form(rows)), RowModel()
    assert stored(read(data, model, file=Dripping)) == stored(read(data, model))


@given(
    rows=tables,
    pack=st.sampled_from([gzip.compress, as_zip, lambda data: as_zip(data, zipfile.ZIP_STORED)]),
    damages=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=3),
    cut=st.integers(0, 10_000),
    behind=st.binary(max_size=4),
)
def test_damaged_archive_gives_the_whole_table_or_none(
    crm: RowModel,
    rows: Rows,
    pack: Callable[[bytes], bytes],
    damages: list[tuple[int, int]],
    cut: int,
    behind: bytes,
) -> None:
    """Whatever happens to an archive, it is read to the rows that were packed, or refused with our own error."""
    table = as_csv(rows)
    data = bytearray(pack(table))
    for at, flip in damages:
        data[at % len(data)] ^= flip
    data = data[: cut if cut < len(data) else None] + behind
    found = outcome(bytes(data), crm)
    if isinstance(found, InputError):
        assert (found.file or "").endswith("crm.csv")
        assert found.remedy
    else:
        assert stored(found) == stored(read(table, crm))


markup = st.lists(
    st.sampled_from(
        [
            *("<row>", "</row>", "<email>", "</email>", "<first_name>", "</first_name>", "<visits>7</visits>", "<a/>"),
            *("a@x.example", "Ann", "7", " ", "\n", "&amp;", "&lt;", "&x;", "<!-- -->", "<![CDATA[<row>]]>", "<?p x?>"),
            *('<a b="c">', "</a>", "<!DOCTYPE x>", "\0", "é", "]]>", "<", "&", '<row id="1"/>'),
            "<row><email>a@x.example</email><first_name>Ann</first_name><visits>7</visits></row>",
        ]
    ),
    max_size=30,
)


@given(opening=st.sampled_from(["<all>", '<?xml version="1.0"?><all>', ""]), parts=markup, is_whole=st.booleans())
def test_any_markup_is_read_or_refused(crm: RowModel, opening: str, parts: list[str], is_whole: bool) -> None:
    """Whatever an XML file is made of, it is read, or refused by an error that names it and says what to do."""
    data = (opening + "".join(parts) + ("</all>" if is_whole else "")).encode()
    found = outcome(data, crm)
    if isinstance(found, InputError):
        assert (found.file, bool(found.remedy)) == ("crm.csv", True)
    else:
        lines = [line for batch in found for line in [*batch.lines, *(each.line for each in batch.rejects)]]
        assert len(lines) == (found[-1].end.rows if found else 0)


WHOLE = [
    *("<c/>", "<a/>", "\n  ", "\r\n", "\r", " ", "<!-- </c> -->", "<![CDATA[</c><c><a>1</a></c>]]>", "x", "é", "\xa0"),
    *("<c><a>1</a><b>2</b></c>", "<c>\n<a/>\n<b>2</b></c>\n", "<c><a>é</a></c>", '<c id="7"><b>1</b></c>', "<c:c/>"),
    *("<c><b>2</b><a>1</a></c>", "<c><a>1</a><a>2</a></c>", "<c><a>1</a>x</c>", '<c><a k="v">1</a></c>', "<c>x</c>"),
    *("<c><a><b>1</b></a></c>", "<c><a>\r\n</a></c>", "<c><a>&lt;</a></c>", "<c><z>9</z></c>", "<c id='2'></c>"),
    *('<c id="a\nb"><a>1</a></c>', "<p><c><a>1</a></c></p>", "<c><c><a>1</a></c></c>", "<c><a>\xa0</a>\xa0</c>"),
    *("<c><a><![CDATA[</a></c>]]></a></c>", "<c><a>1</a><!-- </c> --></c>", '<c id="1" id="2"/>', "<c><a>]]></a></c>"),
]
PARTS = [
    "<c>",
    "</c>",
    "<a>",
    "</a>",
    "<p>",
    "</p>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<",
    "&",
    "\0",
    "<c><a>1</a></c>",
]
plain = st.lists(st.sampled_from(WHOLE), max_size=12) | st.lists(st.sampled_from([*WHOLE, *PARTS]), max_size=12)


@given(
    parts=plain,
    record=st.sampled_from(["", "c", "p/c", "c/c"]),
    takes_no_other=st.booleans(),
    cuts=st.lists(st.integers(1, 40), max_size=6),
)
def test_short_way_to_plain_records_makes_no_difference(
    parts: list[str], record: str, takes_no_other: bool, cuts: list[int]
) -> None:
    """What is taken without asking the parser is what the parser would have told, or the same refusal."""
    data = ("<all>" + "".join(parts) + "</all>").encode()
    short, long = (
        records_of(data, record, takes_no_other=takes_no_other, cuts=cuts, reads_plain=way) for way in (True, False)
    )
    assert short == long


@pytest.mark.parametrize(("opens", "closes"), [("<!--", "-->"), ("<?p ", "?>"), ("<![CDATA[", "]]>")])
@pytest.mark.parametrize("empty", ["<contact/>", "<contact />", "<contact></contact>"])
def test_record_within_a_comment_is_none_wherever_a_piece_ends(empty: str, opens: str, closes: str) -> None:
    """What a comment, an instruction or CDATA holds is no record, also where a piece of the file ends in it."""
    first, last = "<all><contact><a>1</a></contact>", "<contact><a>2</a></contact></all>"
    opening = f"{first}{empty}{opens}{' ' * 20}"
    data = f"{opening}<contact><a>gone</a></contact>{closes}{last}".encode()
    for end in range(len(first) + 1, len(opening) + 1):
        found = records_of(data, "", takes_no_other=False, cuts=[end - len(first), len(first)], reads_plain=True)
        assert [cells for cells, *_ in found] == [["1"], ["2", "", ""]], end


class Cut(io.BytesIO):
    """A file that is read in pieces of these sizes."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        super().__init__(data)
        self._cuts = list(cuts)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next piece."""
        return super().read(self._cuts.pop() if self._cuts else size)


def records_of(
    data: bytes, record: str, *, takes_no_other: bool, cuts: list[int], reads_plain: bool
) -> list[tuple[object, ...]] | str:
    """Return the records of a file with the columns a, b and @id, or why it is refused."""
    records = XmlRecords(Cut(data, cuts), record, file="crm.xml", reads_plain=reads_plain)
    records.columns.fix(["a", "b", "@id"], takes_no_other=takes_no_other)
    try:
        while not records.is_at_end:
            records.read_on()
    except InputError as error:
        return str(error)
    return [comparable(each) for each in records.waiting]


def comparable(record: Record) -> tuple[object, ...]:
    """Return all of a record, its beginning as text."""
    raw = record.raw if isinstance(record.raw, str) else record.raw.decode()
    return (record.cells, record.line, record.offset, raw, list(record.faults))
