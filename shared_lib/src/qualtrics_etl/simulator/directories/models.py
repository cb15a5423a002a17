"""A directory, its contacts, and the rule by which two of them are one person."""

from __future__ import annotations

from dataclasses import dataclass, field

from qualtrics_etl.simulator.contacts.models import Contact, GivenContact
from qualtrics_etl.simulator.ids import Ids


@dataclass(slots=True)
class DeduplicationCriteria:
    """By which fields a directory finds duplicates; by none, it does not de-duplicate.

    Source: Qualtrics API reference, the page on listing directories.
    """

    email: bool = False
    firstName: bool = False  # noqa: N815 - the API's own spelling
    lastName: bool = False  # noqa: N815
    externalDataReference: bool = False  # noqa: N815
    phone: bool = False

    def fields(self) -> list[str]:
        """Return the fields of a contact that are compared, under the names they have in requests."""
        chosen = {
            "email": self.email,
            "firstName": self.firstName,
            "lastName": self.lastName,
            "extRef": self.externalDataReference,
            "phone": self.phone,
        }
        return [name for name, compared in chosen.items() if compared]


@dataclass(slots=True)
class Directory:
    """A directory.

    Attributes:
        contacts: By id, in the order in which they came.
    """

    directory_id: str
    name: str = "Example directory"
    is_default: bool = True
    deduplication: DeduplicationCriteria = field(default_factory=DeduplicationCriteria)
    contacts: dict[str, Contact] = field(default_factory=dict)
    _known: dict[tuple[str, ...], str] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for contact in self.contacts.values():
            self._remember(contact)

    def take_in(self, given: GivenContact, ids: Ids, now: float) -> tuple[Contact, bool]:
        """Add a person, or merge with the one that is known already; says whether it was added.

        Source: Qualtrics API reference, the page on importing contacts, for merging. Not documented; chosen: all the
        directory's fields must be equal, whatever the case, and a person who lacks one of them is never a duplicate.
        """
        known = self._known.get(self._mark(given.fields) or ())
        if known is not None:
            contact = self.contacts[known]
            contact.merge(given, now)
            return contact, False
        contact = Contact(ids.new("CID"), dict(given.fields), dict(given.embedded_data), now, now)
        self.contacts[contact.contact_id] = contact
        self._remember(contact)
        return contact, True

    def _remember(self, contact: Contact) -> None:
        if mark := self._mark(contact.fields):
            self._known.setdefault(mark, contact.contact_id)

    def _mark(self, fields: dict[str, str]) -> tuple[str, ...] | None:
        mark = tuple(fields.get(name, "").strip().casefold() for name in self.deduplication.fields())
        return mark if mark and all(mark) else None
