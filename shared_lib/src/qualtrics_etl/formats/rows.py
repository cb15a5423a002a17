"""The row as the client declares it, and the validator that the library makes from it.

    class CrmRow(Row):
        email: Annotated[str, StringConstraints(pattern=r"^[^@]+@[^@]+$")]
        branch: str | None
        visits: NotRequired[int]

Rows are validated by position, many in one call, which costs as much as not validating: a row that fails comes back
as None, and only such rows are looked at again, one by one, for their reasons.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from operator import itemgetter
from typing import Annotated, Any, Literal, NotRequired, Required, TypeAlias

from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import CoreSchema, ErrorDetails, SchemaError, core_schema
from typing_extensions import TypedDict, get_type_hints

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.formats.columns import check_columns, count_matches, match_columns, text_fields

Cells: TypeAlias = list[str]
"""A row as the file has it."""

Values: TypeAlias = tuple[Any, ...]
"""A valid row: a value for each field."""

# NaN and the infinities are no JSON: they would come back as null.
_CONFIG = ConfigDict(allow_inf_nan=False)
MAX_QUOTED = 300
_JSON_TYPES = (str, int, float, bool, type(None))


class Row(TypedDict):
    """One row of the client's file, field to value: inherit from it and declare the fields.

    A required field's cell must not be blank. A field declared `| None` is None where the cell is blank. A
    `NotRequired` one is None where the cell is blank or the file has no such column; the key is always there. Blanks
    around a cell are stripped. Constraints go into `Annotated`, as pydantic knows them.
    """


class RowModel:
    """What a row holds; without a declaration, every named column as text.

    Attributes:
        fields: Field to whether the file must have its column; empty without a declaration.
    """

    def __init__(self, declaration: type | None = None) -> None:
        """Read the declaration.

        Args:
            declaration: A subclass of `Row`.

        Raises:
            ConfigurationError: It declares no field, or a type that can't be found, or that no cell can become.
        """
        self._cells = {} if declaration is None else _declared(declaration)
        self.is_text = declaration is None
        self.fields: Mapping[str, bool] = {name: cell.must_be_there for name, cell in self._cells.items()}
        if declaration is not None:
            self._refuse_unusable(declaration.__name__)

    def check_columns(self, columns: Mapping[str, str]) -> None:
        """Check the setting `columns` before there is a file; a file that is taken as text has the fields it names.

        Raises:
            ConfigurationError: It names a field that is none, or one twice.
        """
        check_columns(columns, columns.values() if self.is_text else self.fields)

    def bind(self, header: Sequence[str], columns: Mapping[str, str], *, file: str, line: int) -> RowValidator:
        """Make the validator for a file with this header.

        Raises:
            ConfigurationError: `columns` names a field that is none.
            InputError: A column is missing or repeated; names it, unless the name is the file's.
        """
        fields = text_fields(header, columns, file=file, line=line) if self.is_text else self.fields
        places = match_columns(header, fields, columns, file=file, line=line, are_named_by_file=self.is_text)
        cells = [self._cells.get(field, _TEXT).annotation for field in fields]
        return RowValidator(tuple(fields), cells, header, places)

    def count_matches(self, header: Sequence[str], columns: Mapping[str, str]) -> int:
        """Count the fields that a file with this header has; 0 without a declaration."""
        return count_matches(header, self.fields, columns)

    def restore(self, header: Sequence[str], rows: list[list[Any]]) -> Sequence[Sequence[Any]]:
        """Give stored rows their declared types back.

        Raises:
            ConfigurationError: The rows were stored by another row model.
        """
        if self.is_text:
            return rows
        if set(header) != set(self.fields):
            raise _another_model()
        if all(cell.is_json for cell in self._cells.values()):
            return rows
        try:
            return self._stored(tuple(header)).validate_python(rows)
        except ValidationError as exc:
            raise _another_model() from exc

    def _stored(self, header: tuple[str, ...]) -> TypeAdapter[list[Values]]:
        kinds = [self._cells[field].stored for field in header]
        return _adapter(types.GenericAlias(list, _tuple_of(kinds)))

    def _refuse_unusable(self, name: str) -> None:
        if not self._cells:
            raise ConfigurationError(f"The row model {name} has no fields.", remedy="Declare one a column.")
        for field, cell in self._cells.items():
            with _telling(name, field):
                _adapter(cell.annotation)


class RowValidator:
    """Checks the rows of one file.

    Attributes:
        header: Field of each value, in the order of the declaration.
        width: How many cells a row of the file must have.
    """

    def __init__(
        self, header: tuple[str, ...], cells: Sequence[object], file_header: Sequence[str], places: Sequence[int | None]
    ) -> None:
        self.header = header
        self.width = len(file_header)
        self._names = [file_header[at] if at is not None else field for at, field in zip(places, header, strict=True)]
        self._cells = _tuple_of(cells)
        # A missing column is read from one blank cell more at the end of each row.
        self._order = [self.width if at is None else at for at in places]
        self._is_in_order = self._order == list(range(self.width))
        self._padding = [""] if None in places else []

    def validate(self, rows: Sequence[Cells | None]) -> list[Values | None]:
        """Return for each row its values, or None where it can't be used."""
        if self._is_in_order:
            return self._many.validate_python(rows)
        return self._many.validate_python([self._pick(row) for row in rows])

    def reason(self, row: Cells) -> tuple[str | None, str]:
        """Return the column at fault (None: the whole row) and what is wrong, for a row that came back as None."""
        if len(row) != self.width:
            return None, f"has {len(row)} cell{'s' * (len(row) != 1)}, the header has {self.width}"
        cells = self._pick(row)
        try:
            self._one.validate_python(cells)
        except ValidationError as exc:
            return self._explain(cells, exc.errors(include_url=False, include_input=False))
        return None, "could not be read"  # a validator that answers differently the second time

    def name_of(self, field: str | None) -> str | None:
        """Return the column of a field, as the file names it."""
        return self._names[self.header.index(field)] if field in self.header else field

    @cached_property
    def _many(self) -> TypeAdapter[list[Values | None]]:
        return _adapter(types.GenericAlias(list, Annotated[self._cells, _NoneOnError()]))

    @cached_property
    def _one(self) -> TypeAdapter[Values]:
        return _adapter(self._cells)

    @cached_property
    def _getter(self) -> itemgetter[Any]:
        return itemgetter(*self._order)

    def _pick(self, row: Cells | None) -> Any:
        if row is None or len(row) != self.width:
            return None
        if len(self._order) == 1:
            return ((row + self._padding)[self._order[0]],)
        return self._getter(row + self._padding if self._padding else row)

    def _explain(self, cells: Sequence[str], errors: list[ErrorDetails]) -> tuple[str, str]:
        found: dict[str, str] = {}
        for error in errors:
            at = typing.cast("int", error["loc"][0])
            found.setdefault(self._names[at], _reason(error) if cells[at].strip() else "is blank")
        first, *others = found
        return first, "; ".join([found[first], *(f"{name} {found[name]}" for name in others)])


def _reason(error: ErrorDetails) -> str:
    if error["type"] == "string_pattern_mismatch":
        return f"does not match the pattern {error['ctx']['pattern']}"
    for opening in ("Value error, ", "Assertion failed, ", "Input ", "String "):
        if error["msg"].startswith(opening):
            return error["msg"].removeprefix(opening)
    return error["msg"]


class _NoneOnError:
    """Turns what does not validate into None, instead of failing all rows."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=None, on_error="default")


class _Filled:
    """A cell that must not be blank.

    Text and numbers, which are most columns, need no Python function of ours: a third off the time of a row.
    """

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        if schema["type"] in ("int", "float"):
            return schema  # these ignore blanks around a number, and no blank is one
        if schema["type"] == "str":
            typing.cast("dict[str, Any]", schema).setdefault("min_length", 1)
        is_plain = schema["type"] in ("str", "literal", "date", "datetime", "decimal", "bool")
        return core_schema.no_info_before_validator_function(str.strip if is_plain else _text, schema)


class _Optional:
    """A cell that is None when it is blank."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = core_schema.nullable_schema(handler(source))
        return core_schema.no_info_before_validator_function(_text_or_none, inner)


class _Stripped:
    """A cell taken as text, blank or not."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(str.strip, handler(source))


def _text(cell: str) -> str:
    if text := cell.strip():
        return text
    raise ValueError("is blank")


def _text_or_none(cell: str) -> str | None:
    return cell.strip() or None


class _Cell(typing.NamedTuple):
    annotation: object  # from a cell of the file
    stored: object  # from a value in a batch
    must_be_there: bool
    is_json: bool


_TEXT = _Cell(Annotated[str, _Stripped()], str, must_be_there=True, is_json=True)


def _declared(declaration: type) -> dict[str, _Cell]:
    try:
        hints = get_type_hints(declaration, include_extras=True)
    except (NameError, AttributeError, TypeError) as exc:
        raise ConfigurationError(
            f"The types that the row model {_name_of(declaration)} declares can't be found: {exc}.",
            remedy="Write them as in `email: str`; import each at the top of the file, not below `if TYPE_CHECKING`.",
        ) from exc
    optional_keys: frozenset[str] = getattr(declaration, "__optional_keys__", frozenset())
    cells: dict[str, _Cell] = {}
    for field, hint in hints.items():
        with _telling(_name_of(declaration), field):
            cells[field] = _cell(hint, may_be_missing=field in optional_keys)
    return cells


def _name_of(declaration: object) -> str:
    return getattr(declaration, "__name__", repr(declaration))


@contextmanager
def _telling(name: str, field: str) -> Iterator[None]:
    """Tell of a field's type what the machinery of types says of it."""
    try:
        yield
    except (PydanticUserError, SchemaError, AttributeError, TypeError) as exc:
        # What pydantic says of a type that it doesn't know is a page about pydantic.
        why = "" if isinstance(exc, PydanticUserError) else f": {' '.join(str(exc).split())[:MAX_QUOTED]}"
        raise ConfigurationError(
            f"The row model {name} declares `{field}` as something no cell can become{why}.",
            remedy="Use str, int, float, bool, date, datetime, Decimal or Literal, with or without `| None`.",
        ) from exc


def _cell(hint: Any, *, may_be_missing: bool) -> _Cell:
    # Under `from __future__ import annotations` the class itself does not know which keys are NotRequired.
    wrapper = typing.get_origin(hint)
    if wrapper in (NotRequired, Required):
        may_be_missing = wrapper is NotRequired
        (hint,) = typing.get_args(hint)
    optional = may_be_missing or _allows_none(hint)
    annotation = Annotated[hint, _Optional() if optional else _Filled()]
    stored = typing.Optional[hint] if optional else hint  # noqa: UP045 - `|` does not know every kind of hint
    return _Cell(annotation, stored, must_be_there=not may_be_missing, is_json=_is_json(hint))


def _allows_none(hint: object) -> bool:
    return any(kind is type(None) for kind in _alternatives(hint))


def _is_json(hint: object) -> bool:
    return all(kind in _JSON_TYPES for kind in _alternatives(hint))


def _alternatives(hint: object) -> list[object]:
    """Return the plain types that a hint stands for, constraints and unions taken apart."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _alternatives(typing.get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(hint) for kind in _alternatives(part)]
    if origin is Literal:
        return [type(value) for value in typing.get_args(hint)]
    return [hint]


def _tuple_of(kinds: Sequence[object]) -> Any:
    return types.GenericAlias(tuple, tuple(kinds))


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=_CONFIG)


def _another_model() -> ConfigurationError:
    return ConfigurationError(
        "The stored batch was written with another row model than the one that reads it.",
        remedy="Declare the row as it was when the file was parsed, deploy, then send the message back.",
    )
