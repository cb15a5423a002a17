"""Which column of a file is which field of a row: by name, or as the client's setting says."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from qualtrics_etl.errors import ConfigurationError, InputError

_SHOWN = 10
"""How many columns of one name an error counts up."""

_ALIKE = re.compile(r"[\s_-]+")


def plain_name(name: str) -> str:
    """Return the name as it is compared: case-blind, with blanks, dashes and underscores alike."""
    return _ALIKE.sub("_", name.strip().casefold())


def text_fields(header: Sequence[str], columns: Mapping[str, str], *, file: str, line: int) -> dict[str, bool]:
    """Return the fields of a file that is taken as text: each named column, renamed as `columns` says.

    Raises:
        InputError: No column has a name.
    """
    renamed = {plain_name(name): field for name, field in columns.items()}
    fields = [renamed.get(plain_name(name), name.strip()) for name in header if name.strip()]
    fields += columns.values()
    if not fields:
        raise InputError(
            f"No column of {file} has a name: its header (line {line}) is blank.",
            remedy="Ask for a file whose first line names the columns.",
            file=file,
            row_number=line,
        )
    return dict.fromkeys(fields, True)


def match_columns(
    header: Sequence[str],
    fields: Mapping[str, bool],
    columns: Mapping[str, str],
    *,
    file: str,
    line: int,
    are_named_by_file: bool = False,
) -> list[int | None]:
    """Find the column of each field.

    Args:
        header: The columns, as the file names them.
        fields: Field to whether its column must be there.
        columns: Name in the file to field, for the fields whose names differ.
        are_named_by_file: Whether the fields are what the header says, and not what we asked for.

    Returns:
        For each field the index of its column; None where an optional one is missing.

    Raises:
        ConfigurationError: `columns` names a field that is none.
        InputError: A column is missing or repeated; names it, unless the name is the file's.
    """
    check_columns(columns, fields)
    wanted = {field: name for name, field in columns.items()}
    places: dict[str, list[int]] = {}
    for index, name in enumerate(header):
        places.setdefault(plain_name(name), []).append(index)
    found: list[int | None] = []
    for field, must_be_there in fields.items():
        name = wanted.get(field, field)
        at = places.get(plain_name(name), [])
        if len(at) > 1:
            is_ours = field in wanted or not are_named_by_file
            raise _repeated(name if is_ours else None, at, file=file, line=line)
        if not at and must_be_there:
            raise _missing(name, len(header), file=file, line=line)
        found.append(at[0] if at else None)
    return found


def count_matches(header: Sequence[str], fields: Collection[str], columns: Mapping[str, str]) -> int:
    """Count the fields whose column is in the header."""
    present = {plain_name(name) for name in header}
    wanted = {field: name for name, field in columns.items()}
    return sum(plain_name(wanted.get(field, field)) in present for field in fields)


def check_columns(columns: Mapping[str, str], fields: Collection[str]) -> None:
    """Check the setting `columns`: name in the file to field.

    Raises:
        ConfigurationError: It names a field that is none, or one twice.
    """
    for name, field in columns.items():
        if field not in fields:
            raise ConfigurationError(
                f"The setting `columns` maps {name!r} to {field!r}, which is no field of the row.",
                remedy=f"Use one of: {', '.join(fields)}.",
            )
    if len(set(columns.values())) < len(columns):
        raise ConfigurationError(
            "The setting `columns` maps two columns to one field.", remedy="Leave one of them out."
        )


def _missing(name: str, width: int, *, file: str, line: int) -> InputError:
    return InputError(
        f"Column {name!r} is missing from {file}: the header (line {line}) has {width} column{'s' * (width != 1)}, "
        "and none of this name.",
        remedy="Ask for a file with this column, or name it in the setting `columns`; when all columns seem to be "
        "missing, look at the settings `delimiter` and `encoding`.",
        file=file,
        row_number=line,
        field=name,
    )


def _repeated(name: str | None, places: Sequence[int], *, file: str, line: int) -> InputError:
    """Say which columns have one name; None is a name out of the file, and is not quoted.

    In a file without a header line it is the data of a person, and would reach logs and dead letters.
    """
    *others, last = [str(place + 1) for place in places[:_SHOWN]]
    numbers = f"{', '.join(others)} and {last}" + (f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else "")
    remedy = (
        "Ask for a file where it stands once; names are compared without case, and blanks, dashes and underscores "
        "count as the same."
    )
    if name is None:
        what = f"Columns {numbers} of {file} have the same name in its header (line {line})."
        remedy += " If the file has no header line, ask for one: the first line is read as the names of the columns."
    else:
        what = f"Column {name!r} stands more than once in {file}: columns {numbers} of the header (line {line})."
    return InputError(what, remedy=remedy, file=file, row_number=line, field=name)
