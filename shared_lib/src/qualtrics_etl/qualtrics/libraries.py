"""Libraries: the messages that invitations and reminders are written in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qualtrics_etl.qualtrics.http import Client
from qualtrics_etl.qualtrics.registry import LIST_MESSAGES


@dataclass(frozen=True, slots=True)
class LibraryMessage:
    """A message in a library.

    Attributes:
        message_id: `MS_...`.
        description: What people call it.
        category: As `invite`, `reminder`, `thankYou`.
    """

    message_id: str
    description: str
    category: str


def list_messages(client: Client, library_id: str, category: str | None = None) -> Iterator[LibraryMessage]:
    """Yield the messages of a library.

    Args:
        library_id: `UR_...` or `GR_...`.
        category: Only this one, as `invite` or `reminder`.

    Raises:
        QualtricsEtlError: What `Client.pages` raises.

    Source: Qualtrics API reference, page on listing library messages.
    """
    query = {} if category is None else {"category": category}
    check = "library_id of the service in config/<stage>.yml"
    for element in client.pages(LIST_MESSAGES, {"library_id": library_id}, query=query, check=check):
        yield LibraryMessage(
            message_id=element.text("id"),
            description=element.text_or_none("description") or "",
            category=element.text_or_none("category") or "",
        )
