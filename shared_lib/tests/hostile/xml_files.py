"""XML files that are hostile or broken. Expected: a refusal that names the file, or records rejected one by one."""

from __future__ import annotations

import io
from collections.abc import Iterator

from qualtrics_etl.errors import ConfigurationError, InputError
from qualtrics_etl.formats.batch_reader import Limits
from qualtrics_etl.formats.rows import Row, RowModel
from qualtrics_etl.formats.xml_file import XmlSpec, read_xml_batches

from .case import Act, Arena, Case
from .csv_files import LARGEST_LOOK, Outcome, Stream, Visit, endless

DECLARATION = b'<?xml version="1.0" encoding="utf-8"?>\n'
ANN = b"<c><email>ann@x.example</email><first_name>Ann</first_name><visits>1</visits></c>\n"
BOB = b"<c><email>bob@x.example</email><first_name>Bob</first_name><visits>2</visits></c>\n"
NOTHING_SENT = "Nothing of it was sent to Qualtrics."


def read(data: bytes, model: type[Row] | None = Visit, spec: XmlSpec | None = None) -> Act:
    """Read a file of these bytes."""

    def act(_: Arena) -> Outcome:
        stream = io.BytesIO(data)
        batches = list(read_xml_batches(stream, spec or XmlSpec(), RowModel(model), Limits(), file="crm.xml"))
        rejects = [(each.line, each.field, each.reason[:30]) for batch in batches for each in batch.rejects]
        return Outcome([line for batch in batches for line in batch.lines], rejects)

    return act


def read_endless(opening: bytes, piece: bytes, largest_look: int = LARGEST_LOOK) -> Act:
    """Read a file that never ends; the refusal must come soon."""

    def act(_: Arena) -> object:
        pieces: Iterator[bytes] = (each for part in ((opening,), endless(piece)) for each in part)
        stream = Stream(pieces)
        try:
            return list(read_xml_batches(stream, XmlSpec(), RowModel(Visit), Limits(), file="crm.xml"))
        finally:
            assert stream.given <= largest_look

    return act


def root(inner: bytes) -> bytes:
    """Return a document; its first record is in line 2."""
    return b"<all>\n" + inner + b"</all>"


def refused(name: str, data: bytes, *says: str, spec: XmlSpec | None = None) -> Case:
    """Return a file that is refused as a whole."""
    return Case(name, read(data, spec=spec), InputError, ("crm.xml", NOTHING_SENT, *says))


def records(
    name: str, inner: bytes, good: list[int], rejects: list[tuple[int, str | None, str]], spec: XmlSpec | None = None
) -> Case:
    """Return a file of which some records are rejected."""
    return Case(name, read(root(inner), spec=spec), gives=Outcome(good, rejects))


def declared(encoding: str, data: bytes = root(ANN)) -> bytes:
    """Return a document that says in what it is written."""
    return f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + data


LAUGHS = b"<!DOCTYPE all [\n" + b"".join(
    b'<!ENTITY l%d "%s">\n' % (n, b"&l%d;" % (n - 1) * 10 if n else b"lol") for n in range(10)
)
DOCTYPE = "has a DOCTYPE (line 1); entities that a file brings along are not read"
BLOW_UP = b'<!DOCTYPE all [<!ENTITY a "' + b"x" * 50_000 + b'">]>' + root(b"<c>" + b"&a;" * 50_000 + b"</c>")
NO_XML = "is no XML that can be read: "
TOO_LONG = "is longer than 1,000,000 bytes"

CASES = [
    refused("xml_billion_laughs", LAUGHS + b"]>" + root(b"<c>&l9;</c>"), DOCTYPE, "without its document type"),
    refused("xml_quadratic_blow_up", BLOW_UP, DOCTYPE),
    refused("xml_external_entity", b'<!DOCTYPE all [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + root(ANN), DOCTYPE),
    refused("xml_external_entity_of_the_web", b'<!DOCTYPE a [<!ENTITY a SYSTEM "http://x/">]>' + root(ANN), DOCTYPE),
    refused("xml_parameter_entity", b'<!DOCTYPE a [<!ENTITY % a SYSTEM "file:///x">%a;]>' + root(ANN), DOCTYPE),
    refused("xml_external_dtd", b'<!DOCTYPE all SYSTEM "http://169.254.169.254/latest/">' + root(ANN), DOCTYPE),
    refused("xml_public_dtd", b'<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN" "x.dtd">' + root(ANN), DOCTYPE),
    refused("xml_doctype_that_is_empty", b"<!DOCTYPE all>" + root(ANN), DOCTYPE),
    refused("xml_doctype_in_utf16", "<!DOCTYPE all []><all/>".encode("utf-16"), DOCTYPE),
    refused("xml_doctype_behind_a_comment", b"<!-- -->\n<!DOCTYPE all>" + root(ANN), "has a DOCTYPE (line 2)"),
    refused("xml_doctype_within", root(b"<!DOCTYPE all>" + ANN), NO_XML, "(line 2)"),
    refused("xml_entity_of_nobody", root(b"<c><email>&ann;</email></c>"), NO_XML, "undefined entity (line 2)"),
    Case("xml_endless_comment", read_endless(b"<all><!--", b"x"), InputError, ("crm.xml", "a tag or comment of more")),
    Case("xml_endless_tag", read_endless(b'<all><c a="', b"x"), InputError, ("crm.xml", "a tag or comment of more")),
    Case("xml_endless_name", read_endless(b"<all><", b"x"), InputError, ("crm.xml", "a tag or comment of more")),
    Case("xml_endless_depth", read_endless(b"<all>", b"<c>"), InputError, ("crm.xml", "more than 50 elements within")),
    Case(
        "xml_endless_depth_outside_of_records",
        lambda _: list(
            read_xml_batches(Stream(endless(b"<c>")), XmlSpec(record="row"), RowModel(Visit), Limits(), file="crm.xml")
        ),
        InputError,
        ("crm.xml", "more than 50 elements within"),
    ),
    refused(
        "xml_depth_in_a_long_record",
        root(b"<c>" + b"<email>x</email>" * 70_000 + b"<a>" * 60 + b"</a>" * 60 + b"</c>"),
        "more than 50 elements within",
    ),
    refused(
        "xml_names_of_one_s_own",
        root(b"".join(ANN.replace(b"</c>", b"<x><n%d/></x></c>" % n) for n in range(12_000))),
        "more than 10,000 different names",
    ),
    refused(
        "xml_columns_of_one_s_own",
        root(b"<c>" + b"".join(b"<n%d>x</n%d>" % (n, n) for n in range(3_000)) + b"</c>"),
        "more than 2,000 columns",
    ),
    refused(
        "xml_huge_attribute", root(b'<c a="' + b"x" * 3_000_000 + b'"/>'), "a tag or comment of more than 1,000,000"
    ),
    records(
        "xml_large_attribute_of_a_long_record",
        b'<c a="' + b"x" * 999_990 + b'"><email>e</email></c>\n' + ANN,
        [3],
        [(2, None, TOO_LONG)],
    ),
    records("xml_huge_text", b"<c><email>" + b"x" * 3_000_000 + b"</email></c>\n" + ANN, [3], [(2, None, TOO_LONG)]),
    records(
        "xml_huge_cdata",
        b"<c><email><![CDATA[" + b"<" * 3_000_000 + b"]]></email></c>\n" + ANN,
        [3],
        [(2, None, TOO_LONG)],
    ),
    records(
        "xml_record_of_many_elements", b"<c>" + b"<x>1</x>" * 200_000 + b"</c>\n" + ANN, [3], [(2, None, TOO_LONG)]
    ),
    records(
        "xml_attributes_in_the_thousands",
        b"<c " + b" ".join(b'a%d="1"' % n for n in range(1_500)) + b"/>\n" + ANN,
        [3],
        [(2, "email", "is blank; first_name is blank;")],
    ),
    refused("xml_nul", root(b"<c>\0</c>"), NO_XML, "(line 2)"),
    refused("xml_nul_as_a_reference", root(b"<c>&#0;</c>"), NO_XML, "reference to invalid character number"),
    refused("xml_control_character", root(b"<c>\x1b[2J</c>"), NO_XML),
    refused("xml_surrogate_in_utf8", root(b"<c>\xed\xa0\x80</c>"), NO_XML),
    refused("xml_overlong_utf8", root(b"<c>\xc0\xbcscript</c>"), NO_XML),
    refused("xml_latin1_undeclared", root("<c>Zoë</c>".encode("latin-1")), NO_XML, "not well-formed"),
    refused("xml_duplicate_attributes", root(b'<c a="1" a="2"/>'), NO_XML, "duplicate attribute (line 2)"),
    refused("xml_unclosed", b"<all>\n" + ANN, NO_XML, "no element found (line 3)"),
    refused("xml_unclosed_behind_good_records", b"<all>\n" + ANN * 20_000, NO_XML, "(line 20002)"),
    refused("xml_cut_off_in_a_tag", (b"<all>\n" + ANN)[:-5], NO_XML),
    refused("xml_closed_otherwise", root(b"<c><email></c></email>"), NO_XML, "mismatched tag (line 2)"),
    refused("xml_two_roots", root(ANN) + root(ANN), NO_XML, "junk after document element"),
    refused("xml_text_behind_its_root", root(ANN) + b"ann@x.example", NO_XML, "(line 3)"),
    refused("xml_with_nothing_in_it", DECLARATION, NO_XML, "no element found"),
    refused("xml_that_is_csv", b"<email>,first_name\nann@x.example,Ann\n", NO_XML, "set `format`"),
    refused("xml_prefix_of_nobody", root(b"<c><x:email>a</x:email></c>"), NO_XML, "unbound prefix"),
    refused("xml_in_utf7", declared("utf-7", b"<all>+ADw-c/+AD4-</all>"), "an encoding that is not read here"),
    refused("xml_in_an_encoding_of_nobody", declared("klingon"), "an encoding that is not read here"),
    refused("xml_in_an_iso_encoding_of_nobody", declared("iso-8859-12"), "an encoding that is not read here"),
    refused("xml_in_a_codec_of_bytes", declared("zip"), "an encoding that is not read here"),
    refused("xml_in_many_bytes_a_character", declared("shift_jis"), "an encoding that is not read here"),
    refused("xml_in_utf32", ("<all>" + ANN.decode() + "</all>").encode("utf-32"), NO_XML),
    refused("xml_in_utf16_that_says_utf8", declared("utf-8").decode().encode("utf-16"), NO_XML, "encoding specified"),
    refused("xml_in_utf8_that_says_utf16", declared("utf-16"), NO_XML, "encoding specified"),
    refused("xml_declared_twice", DECLARATION + DECLARATION + root(ANN), NO_XML),
    refused(
        "xml_of_several_kinds",
        root(b"<date/>" + ANN),
        "elements of different names in its root (line 2)",
        "Set `record`",
    ),
    refused("xml_without_the_record", root(ANN), "has no record", "'row'", spec=XmlSpec(record="row")),
    refused(
        "xml_without_a_column", root(b"<c><email>a</email><visits>1</visits></c>"), "no column 'first_name'", "line 2"
    ),
    refused(
        "xml_of_two_names_alike",
        root(b"<c><email>a</email><EMAIL>b</EMAIL><first_name>A</first_name><visits>1</visits></c>"),
        "has 2 columns that are called 'email'",
    ),
    records(
        "xml_element_that_comes_twice",
        ANN.replace(b"<visits>", b"<email>eve@x.example</email><visits>") + BOB,
        [3],
        [(2, None, "has more than one <email>")],
    ),
    records(
        "xml_elements_of_two_namespaces",
        ANN.replace(b"<visits>", b'<x:email xmlns:x="urn:x">eve@x.example</x:email><visits>') + BOB,
        [3],
        [(2, None, "has more than one <email>")],
    ),
    records(
        "xml_markup_in_a_cell",
        ANN.replace(b">Ann<", b">An<b>n</b><") + BOB,
        [3],
        [(2, None, "<first_name> holds text beside")],
    ),
    records(
        "xml_text_in_the_record", ANN.replace(b"<c>", b"<c>eve") + BOB, [3], [(2, None, "holds text beside elements")]
    ),
    records("xml_comment_that_looks_like_a_record", b"<!-- <c/> -->" + ANN, [2], []),
    records("xml_cdata_that_looks_like_a_record", ANN.replace(b">Ann<", b"><![CDATA[</c><c>]]><"), [2], []),
    records("xml_processing_instruction", b'<?xml-stylesheet href="http://x/"?>' + ANN, [2], []),
    records("xml_references_are_text", ANN.replace(b">Ann<", b">&lt;&#65;&#x10FFFD;&amp;<"), [2], []),
    records("xml_record_without_text", b"<c/>\n<c><email></email></c>\n" + ANN, [4], []),
    Case("xml_root_alone", read(b"<all/>"), gives=Outcome([], [])),
    Case(
        "xml_column_of_no_field",
        read(root(ANN), spec=XmlSpec(columns={"email": "mail"})),
        ConfigurationError,
        ("`columns`", "no field of the row"),
    ),
]
