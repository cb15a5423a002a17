"""Which delimiter a file has, when the client does not say."""

from __future__ import annotations

import io

import pytest

from qualtrics_etl.errors import ConfigurationError, InputError
from qualtrics_etl.formats.csv_header import CsvSpec, read_header
from qualtrics_etl.formats.lines import ByteWindow
from qualtrics_etl.formats.rows import RowModel


def delimiter_of(text: str, spec: CsvSpec | None = None) -> str:
    """The delimiter that a file's header is found to have."""
    window = ByteWindow(io.BytesIO(text.encode()), 0)
    return read_header(window, spec or CsvSpec(), RowModel(), file="crm.csv").delimiter


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n1,5;2,5\n", ";"),
        ("a\tb\n1,5\t2|5\n", "\t"),
        ("a|b\n", "|"),
        ("email\na@x.example\n", ","),
        ('"last, first";x\n"Lee, Ann";1\n"Ray, Bob";2\n', ";"),
        ('name;"note, if any, of us"\nAnn;-\nBob;-\n', ";"),
        ("a,b;c\n1;2\n3;4\n5;6\n", ";"),
    ],
)
def test_auto_chooses_what_header_and_rows_agree_on(text: str, delimiter: str) -> None:
    """A delimiter that only occurs within cells is not taken for one."""
    assert delimiter_of(text) == delimiter


def test_a_delimiter_that_is_set_is_not_guessed_at() -> None:
    """What the client sets is used, where it can be."""
    assert delimiter_of("a;b,c\n1;2,3\n", CsvSpec(delimiter=",")) == ","


def test_a_set_delimiter_that_leaves_one_column_is_refused() -> None:
    """Without a row model too, a file that another delimiter clearly cuts is not taken as one column."""
    with pytest.raises(InputError, match="Set `delimiter` to semicolon"):
        delimiter_of("a;b\n1;2\n", CsvSpec(delimiter=","))


@pytest.mark.parametrize("delimiter", ["", ",,", "a", "1", '"', " ", "\n", "\0"])
def test_a_delimiter_that_can_not_separate_is_refused(delimiter: str) -> None:
    """The setting is checked before any file comes."""
    with pytest.raises(ConfigurationError) as caught:
        CsvSpec(delimiter=delimiter)

    assert str(caught.value) == (
        f"The setting `delimiter` is {delimiter!r}, which can't separate cells. "
        "Set it to auto, or to one character that is no letter, digit, quote or blank."
    )
