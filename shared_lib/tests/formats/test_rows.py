"""The row that a client declares, and what becomes of cells that don't fit it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

import pytest
from pydantic import AfterValidator, Field, StringConstraints

from qualtrics_etl.errors import ConfigurationError, InputError
from qualtrics_etl.formats.rows import Row, RowModel, RowValidator

if TYPE_CHECKING:
    from collections.abc import Sequence


def not_eve(name: str) -> str:
    """A client's own check."""
    if name == "Eve":
        raise ValueError("is not welcome")
    return name


class Everything(Row):
    text: Annotated[str, StringConstraints(max_length=3)]
    number: Annotated[int, Field(ge=0)]
    amount: Decimal
    day: date
    kind: Literal["b2b", "b2c"]
    name: Annotated[str, AfterValidator(not_eve)]
    share: float
    maybe: Annotated[str, StringConstraints(min_length=2)] | None
    extra: NotRequired[int]


class Part(Row, total=False):
    text: str
    number: int


class Whole(Part):
    name: str


class Nothing(Row):
    pass


class Unusable(Row):
    email: type[NotADirectoryError] | memoryview


class Imported(Row):
    emails: Sequence[str]  # which a type checker finds, and the program does not


class Looking(Row):
    email: Annotated[str, StringConstraints(pattern="^(?=.*@)")]  # a look ahead, which pydantic's engine has not


class Number(Row):
    email: "5"  # type: ignore[valid-type]  # noqa: UP037


HEADER = ("text", "number", "amount", "day", "kind", "name", "share", "maybe", "extra")
GOOD = ["abc", "1", "1.50", "2026-11-22", "b2b", "Ann", "0.5", "xy", "7"]
GOOD_VALUES = ("abc", 1, Decimal("1.50"), date(2026, 11, 22), "b2b", "Ann", 0.5, "xy", 7)


def validator(
    model: type = Everything, header: tuple[str, ...] = HEADER, columns: dict[str, str] | None = None
) -> RowValidator:
    """The validator of a file with this header."""
    return RowModel(model).bind(header, columns or {}, file="crm.csv", line=1)


def test_cells_become_the_declared_types() -> None:
    """A row of text becomes values of the types declared, in the order declared."""
    assert validator().validate([GOOD]) == [GOOD_VALUES]


def test_blanks_around_cells_are_stripped_from_every_type() -> None:
    """Blanks around a cell, no-break space and tab included, never matter."""
    assert validator().validate([[f" \t\u00a0{cell}\u00a0 " for cell in GOOD]]) == [GOOD_VALUES]


def test_optional_fields_are_none_where_the_cell_is_blank() -> None:
    """A field declared `| None` or NotRequired is None where its cell holds nothing but blanks."""
    assert validator().validate([[*GOOD[:7], "  ", ""]]) == [(*GOOD_VALUES[:7], None, None)]


def test_not_required_fields_are_none_where_the_column_is_missing() -> None:
    """A NotRequired field's column may be missing from the file; the field is there all the same."""
    short = validator(header=HEADER[:-1])

    assert short.header == HEADER
    assert short.validate([GOOD[:-1]]) == [(*GOOD_VALUES[:-1], None)]


def test_a_bad_row_stops_no_other() -> None:
    """Rows that can't be used come back as None, in their place."""
    assert validator().validate([GOOD[:3], GOOD, None, [*GOOD, ""]]) == [None, GOOD_VALUES, None, None]


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("text", "abcd", "should have at most 3 characters"),
        ("text", "  ", "is blank"),
        ("number", "x", "should be a valid integer, unable to parse string as an integer"),
        ("number", "-1", "should be greater than or equal to 0"),
        ("number", "", "is blank"),
        ("amount", "1,50", "should be a valid decimal"),
        ("day", "22.11.2026", "should be a valid date or datetime, invalid character in year"),
        ("kind", "B2B", "should be 'b2b' or 'b2c'"),
        ("kind", "", "is blank"),
        ("name", "Eve", "is not welcome"),
        ("name", " ", "is blank"),
        ("share", "nan", "should be a finite number"),
        ("maybe", "x", "should have at least 2 characters"),
        ("extra", "x", "should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_the_reason_names_the_column_and_not_the_value(column: str, cell: str, reason: str) -> None:
    """Why a row was rejected is said in words for the client, under the column's name in the file."""
    rows = validator()
    row = [cell if name == column else good for name, good in zip(HEADER, GOOD, strict=True)]

    assert rows.validate([row]) == [None]
    assert rows.reason(row) == (column, reason)


def test_all_that_is_wrong_with_a_row_is_said() -> None:
    """The first column at fault is the reject's field; the others follow in its reason, one reason each."""
    row = ["", "x", *GOOD[2:]]

    assert validator().reason(row) == (
        "text",
        "is blank; number should be a valid integer, unable to parse string as an integer",
    )


def test_columns_are_found_by_name_whatever_their_order_and_spelling() -> None:
    """Case does not matter, blanks, dashes and underscores are alike, and columns of no field are left out."""
    rows = validator(Whole, ("unused", "NAME", "Te-xt", "number "), {"te xt": "text"})

    assert rows.header == ("text", "number", "name")
    assert rows.validate([["-", "Ann", "hi", "7"]]) == [("hi", 7, "Ann")]
    assert rows.reason(["-", "Ann", "hi", "x"])[0] == "number "


def test_a_single_column_is_enough() -> None:
    """A row may be made of one column."""
    assert validator(Whole, ("x", "name")).validate([["1", "Ann"]]) == [(None, None, "Ann")]


@pytest.mark.parametrize(
    ("columns", "error", "text"),
    [
        ({"x": "nmae"}, ConfigurationError, "The setting `columns` maps 'x' to 'nmae', which is no field of the row."),
        ({"x": "name", "y": "name"}, ConfigurationError, "The setting `columns` maps two columns to one field."),
        ({"who": "name"}, InputError, "Column 'who' is missing from crm.csv: the header (line 1) has 2 columns"),
    ],
)
def test_a_mapping_that_can_not_work_is_refused(columns: dict[str, str], error: type[Exception], text: str) -> None:
    """The setting `columns` names fields of the row and columns of the file, each once."""
    with pytest.raises(error) as caught:
        validator(Whole, ("name", "x"), columns)

    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Nothing, "The row model Nothing has no fields. Declare one a column."),
        (
            Unusable,
            (
                "The row model Unusable declares `email` as something no cell can become. Use str, int, float, bool, "
                "date, datetime, Decimal or Literal, with or without `| None`."
            ),
        ),
        (
            Imported,
            (
                "The types that the row model Imported declares can't be found: name 'Sequence' is not defined. Write "
                "them as in `email: str`; import each at the top of the file, not below `if TYPE_CHECKING`."
            ),
        ),
        ("Person", "The types that the row model 'Person' declares can't be found: "),
        (Looking, "The row model Looking declares `email` as something no cell can become: "),
        (Number, "The row model Number declares `email` as something no cell can become: "),
    ],
)
def test_a_declaration_that_no_row_can_fit_is_refused(model: type, text: str) -> None:
    """A row model is checked when it is made, before any file comes."""
    with pytest.raises(ConfigurationError) as caught:
        RowModel(model)

    assert str(caught.value).startswith(text)
    assert caught.value.remedy


def test_stored_rows_get_their_types_back() -> None:
    """What JSON made text of, dates and Decimals, is again what was declared."""
    stored: list[list[Any]] = [["abc", 1, "1.50", "2026-11-22", "b2b", "Ann", 0.5, None, None]]

    assert RowModel(Everything).restore(HEADER, stored) == [(*GOOD_VALUES[:7], None, None)]


@pytest.mark.parametrize(("model", "header"), [(Whole, HEADER), (Everything, HEADER)])
def test_rows_of_another_model_are_refused(model: type, header: tuple[str, ...]) -> None:
    """A batch that was stored under another declaration is not read as if it were of this one."""
    with pytest.raises(ConfigurationError, match="another row model"):
        RowModel(model).restore(header, [["abc"] * len(header)])
