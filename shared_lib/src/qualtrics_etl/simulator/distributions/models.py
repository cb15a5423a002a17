"""Distributions, and who gets a mail when the time has come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from qualtrics_etl.simulator.contacts.models import Contact
from qualtrics_etl.simulator.directories.models import Directory
from qualtrics_etl.simulator.mailing_lists.models import MailingList

INVITE = "Invite"
REMINDER = "Reminder"
THANK_YOU = "ThankYou"
REQUEST_TYPES = (INVITE, REMINDER, THANK_YOU, "GeneratedInvite", "Email", "Portal", "PortalInvite")
"""Kinds that a listing may be filtered by. Source: Published clients."""

LINK_LIFETIME_SECONDS = 60 * 86_400
"""How long a survey link holds unless told. Source: Recorded exchange, 2019 (of generated links)."""


@dataclass(slots=True)
class Distribution:
    """An invitation, a reminder or a thank-you.

    Attributes:
        kind: `Invite`, `Reminder` or `ThankYou`.
        parent_id: The invitation that a reminder or thank-you belongs to.
        contact_lookup_id: The one person it goes to; None for the whole list.
        header: As it was sent.
        message: As it was sent.
        link_type: `Individual`, `Anonymous` or `Multiple`.
        link_expires_at: Seconds since 1970; so are all other times.
        listed_at: From when on listings show it.
        sent: Mails that went out.
        skipped: Members who have opted out.
        failed: Members without an address.
        finished: Contact ids of those who have finished the survey (told by the inspection API).
    """

    distribution_id: str
    kind: str
    survey_id: str
    mailing_list_id: str
    contact_lookup_id: str | None
    parent_id: str | None
    header: dict[str, str]
    message: dict[str, str]
    link_type: str
    link_expires_at: float
    embedded_data: dict[str, Any] | None
    send_at: float
    created_at: float
    modified_at: float
    listed_at: float
    is_done: bool = False
    sent: int = 0
    skipped: int = 0
    failed: int = 0
    finished: list[str] = field(default_factory=list)

    @property
    def due_at(self) -> float:
        """When it is sent: a date in the past sends at once. Source: Published clients."""
        return max(self.send_at, self.created_at)


@dataclass(slots=True)
class Mailing:
    """One mail that would have reached a person.

    Attributes:
        sent_at: Seconds since 1970.
    """

    distribution_id: str
    kind: str
    contact_id: str
    email: str
    sent_at: float


@dataclass(slots=True)
class Post:
    """All distributions, and every mail that would have gone out.

    Attributes:
        distributions: By id, oldest first.
        pending: Ids of those that are not sent yet.
        mailings: In the order of sending; they stay when a distribution is deleted.
    """

    distributions: dict[str, Distribution] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)
    mailings: list[Mailing] = field(default_factory=list)

    def schedule(self, distribution: Distribution) -> None:
        """Take a distribution in; it is sent when its time has come."""
        self.distributions[distribution.distribution_id] = distribution
        self.pending.append(distribution.distribution_id)

    def delete(self, distribution_id: str) -> None:
        """Remove a distribution; one that is pending is never sent.

        Source: Published clients for the pending one. Not documented; chosen: one that is done only leaves listings.
        """
        del self.distributions[distribution_id]
        if distribution_id in self.pending:
            self.pending.remove(distribution_id)

    def next_due(self) -> Distribution | None:
        """Return the pending distribution that is sent first; None when nothing is pending."""
        return min((self.distributions[each] for each in self.pending), key=lambda each: each.due_at, default=None)

    def send(
        self, distribution: Distribution, mailing_list: MailingList | None, directory: Directory | None, now: float
    ) -> None:
        """Send a distribution to everyone it is for at this moment, past those who have opted out.

        Source: Qualtrics API reference, the pages on distributions and on contacts: sends skip whoever opted out of
        the list or the directory. Not documented; chosen: who is in the list when it is sent, not when it was made,
        gets it; a list that is gone reaches nobody.
        """
        self.pending.remove(distribution.distribution_id)
        distribution.is_done, distribution.modified_at = True, now
        # All fates first: sending adds to the mailings that a reminder's addressees are read from.
        for contact, fate in list(self._fates(distribution, mailing_list, directory)):
            match fate:
                case "skipped":
                    distribution.skipped += 1
                case "failed":
                    distribution.failed += 1
                case _:
                    distribution.sent += 1
                    mail = Mailing(
                        distribution.distribution_id, distribution.kind, contact.contact_id, contact.email, now
                    )
                    self.mailings.append(mail)

    def reach(self, distribution: Distribution, mailing_list: MailingList | None, directory: Directory | None) -> int:
        """Return how many people a distribution would reach if it were sent now."""
        return sum(fate == "sent" for _, fate in self._fates(distribution, mailing_list, directory))

    def mark_finished(self, distribution_id: str, emails: Iterable[str]) -> int:
        """Note that these people have finished the survey of an invitation; says how many were invited by it."""
        wanted = {email.casefold() for email in emails}
        done = {
            mailing.contact_id
            for mailing in self.mailings
            if mailing.distribution_id == distribution_id and mailing.email.casefold() in wanted
        }
        distribution = self.distributions[distribution_id]
        distribution.finished = sorted({*distribution.finished, *done})
        return len(done)

    def _fates(
        self, distribution: Distribution, mailing_list: MailingList | None, directory: Directory | None
    ) -> Iterator[tuple[Contact, str]]:
        if mailing_list is None or directory is None:
            return
        for contact_id in self._addressees(distribution, mailing_list):
            membership, contact = mailing_list.members.get(contact_id), directory.contacts[contact_id]
            if membership is None or membership.unsubscribed or contact.unsubscribed:
                yield contact, "skipped"
            else:
                yield contact, "sent" if contact.email else "failed"

    def _addressees(self, distribution: Distribution, mailing_list: MailingList) -> Iterator[str]:
        """Source: Published clients: reminders go to who has not finished, thank-yous to who has."""
        if distribution.parent_id is not None:
            yield from self._invited(distribution.parent_id, finished=distribution.kind == THANK_YOU)
        elif distribution.contact_lookup_id is not None:
            contact_id = mailing_list.contact_of(distribution.contact_lookup_id)
            yield from [contact_id] if contact_id else []
        else:
            yield from mailing_list.members

    def _invited(self, invitation_id: str, *, finished: bool) -> Iterator[str]:
        invitation = self.distributions.get(invitation_id)
        done = frozenset(invitation.finished if invitation else ())
        for mailing in self.mailings:
            if mailing.distribution_id == invitation_id and (mailing.contact_id in done) is finished:
                yield mailing.contact_id
