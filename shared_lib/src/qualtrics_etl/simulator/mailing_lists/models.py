"""A mailing list and who is in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from qualtrics_etl.simulator.ids import Ids


@dataclass(slots=True)
class Membership:
    """One person's place in one list.

    Attributes:
        lookup_id: `CGC_...`, the person in this list; what a distribution to one person names.
        unsubscribed: Opted out of this list.
    """

    lookup_id: str
    unsubscribed: bool = False


@dataclass(slots=True)
class MailingList:
    """A mailing list. Names need not be unique (not documented; chosen, as published clients assume).

    Attributes:
        members: Place in the list by contact id, in the order in which they came.
        created_at: Seconds since 1970.
        modified_at: Seconds since 1970.
        listed_at: From when on listings show it.
    """

    mailing_list_id: str
    directory_id: str
    name: str
    owner_id: str
    created_at: float
    modified_at: float
    listed_at: float
    members: dict[str, Membership] = field(default_factory=dict)

    def join(self, contact_id: str, unsubscribed: bool | None, ids: Ids) -> Membership:
        """Put a contact into the list, or find its place there.

        Source: Qualtrics API reference, the page on contacts in a mailing list: opting out there holds for this list.

        Args:
            unsubscribed: Opted out of the list; None leaves it as it is.
        """
        membership = self.members.get(contact_id)
        if membership is None:
            membership = self.members[contact_id] = Membership(ids.new("CGC"))
        if unsubscribed is not None:
            membership.unsubscribed = unsubscribed
        return membership

    def contact_of(self, lookup_id: str) -> str | None:
        """Return the contact id behind a lookup id; None when it is not of this list."""
        return next((contact for contact, place in self.members.items() if place.lookup_id == lookup_id), None)
