"""A person in a directory, and what a client says about one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from qualtrics_etl.simulator.checks import SCALARS, is_email

TEXT_FIELDS = ("firstName", "lastName", "email", "phone", "extRef", "language")
"""Fields of a contact. Source: Qualtrics API reference, the page on creating a contact in a mailing list."""

LONGEST_NAME = 200
"""Characters in a name of embedded data. Source: Qualtrics support pages on embedded data."""

LONGEST_VALUE = 1_024
"""Characters in a value of embedded data. Source: Qualtrics support pages on embedded data."""


@dataclass(slots=True)
class Contact:
    """A person in a directory.

    Attributes:
        fields: Of `TEXT_FIELDS`, those that are known.
        unsubscribed: Opted out of everything.
        created_at: Seconds since 1970.
        modified_at: Seconds since 1970.
    """

    contact_id: str
    fields: dict[str, str]
    embedded_data: dict[str, Any]
    created_at: float
    modified_at: float
    unsubscribed: bool = False

    @property
    def email(self) -> str:
        """The address; empty when there is none."""
        return self.fields.get("email", "")

    def merge(self, given: GivenContact, now: float) -> None:
        """Take over what the client says; what it does not say stays.

        Source: Qualtrics API reference, the page on importing contacts (duplicates merge). That unmentioned fields
        stay is chosen.
        """
        self.fields.update(given.fields)
        self.embedded_data.update(given.embedded_data)
        self.modified_at = now


@dataclass(frozen=True, slots=True)
class GivenContact:
    """What a client says about a person.

    Attributes:
        unsubscribed: Opted out of the list; None when the client does not say.
    """

    fields: dict[str, str]
    embedded_data: dict[str, Any] = field(default_factory=dict)
    unsubscribed: bool | None = None

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> GivenContact:
        """Read a contact that was checked."""
        return cls(
            fields={name: raw[name] for name in TEXT_FIELDS if name in raw},
            embedded_data=raw.get("embeddedData", {}) | raw.get("privateEmbeddedData", {}),
            unsubscribed=raw.get("unsubscribed"),
        )

    def complaint(self) -> str:
        """Say why this can't become a contact; empty when it can.

        Source: Qualtrics support pages for the lengths of embedded data. Not documented; chosen: an address must look
        like one, and something of a person must be said.
        """
        if not any(self.fields.values()):
            return "A contact needs at least one field."
        if self.fields.get("email") and not is_email(self.fields["email"]):
            return "email must be an e-mail address"
        return embedded_data_complaint(self.embedded_data)


def embedded_data_complaint(embedded_data: dict[str, Any]) -> str:
    """Say what is wrong with embedded data; empty when nothing is."""
    if any(not 0 < len(name) <= LONGEST_NAME for name in embedded_data):
        return f"Names of embedded data have 1 to {LONGEST_NAME} characters."
    if any(type(value) is str and len(value) > LONGEST_VALUE for value in embedded_data.values()):
        return f"Values of embedded data have at most {LONGEST_VALUE} characters."
    return ""


def are_scalars(values: Iterable[object]) -> bool:
    """Whether all values may stand in embedded data."""
    return all(type(value) in SCALARS for value in values)
