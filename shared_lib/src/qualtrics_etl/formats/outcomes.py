"""What becomes of each row of a batch, a line a row: written when its request is fixed, and again when it is done.

No cell of the client's file is in it, only where a row begins and why it ended as it did.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.formats.batches import Reject, neutralise

HEADER = ("line", "outcome", "field", "reason")


class Fate(Enum):
    """How a row ended; `sent` is where it is until Qualtrics has told."""

    SENT = "sent"
    LOADED = "loaded"
    UPDATED = "updated"
    SKIPPED = "skipped"
    REJECTED = "rejected"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What became of one row.

    Attributes:
        line: Line of the client's file where the row begins, from 1.
        field: What is at fault; empty where no single field is, or nothing is wrong.
        reason: Why it was skipped, rejected, or is pending, with Qualtrics' own words; empty where there is none.
    """

    line: int
    fate: Fate
    field: str = ""
    reason: str = ""


def encode_outcomes(rows: Iterable[RowOutcome]) -> bytes:
    """Return the outcomes of a batch as they are stored: CSV in UTF-8, the same bytes for the same rows.

    A cell that a spreadsheet would run as a formula gets an apostrophe in front; reading back leaves it there.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(HEADER)
    writer.writerows((row.line, row.fate.value, neutralise(row.field), neutralise(row.reason)) for row in rows)
    return out.getvalue().encode()


def decode_outcomes(data: bytes) -> list[RowOutcome]:
    """Read stored outcomes back.

    Raises:
        PermanentError: They are none.
    """
    try:
        header, *rows = csv.reader(io.StringIO(data.decode(), newline=""))
        if tuple(header) != HEADER:
            raise ValueError("another header")
        return [RowOutcome(int(line), _FATES[fate], field, reason) for line, fate, field, reason in rows]
    except (ValueError, KeyError, csv.Error) as exc:
        raise PermanentError(
            "The stored outcomes of a batch can't be read.",
            remedy="Restore the object's last version, or deploy the version of the library that wrote it.",
        ) from exc


def decode_rejects(data: bytes) -> list[RowOutcome]:
    """Read a reject file as outcomes, without the rows themselves.

    Raises:
        PermanentError: It is none.
    """
    try:
        _, *rows = csv.reader(io.StringIO(data.decode(), newline=""))
        return [RowOutcome(int(line), Fate.REJECTED, field, reason) for line, field, reason, _ in rows]
    except (ValueError, csv.Error) as exc:
        raise PermanentError("A reject file can't be read.", remedy="Restore the object's last version.") from exc


def rejects_in(rows: Iterable[RowOutcome]) -> list[Reject]:
    """Return what belongs into the reject file."""
    return [Reject(row.line, row.field or None, row.reason, "") for row in rows if row.fate is Fate.REJECTED]


_FATES = {fate.value: fate for fate in Fate}
