"""Libraries and messages, as they are seeded; calls only read them."""

from __future__ import annotations

from dataclasses import dataclass, field

CATEGORIES = [
    "invite",
    "inactiveSurvey",
    "reminder",
    "thankYou",
    "endOfSurvey",
    "general",
    "validation",
    "lookAndFeel",
    "emailSubject",
    "smsInvite",
]
"""Kinds of messages. Source: Published clients."""


@dataclass(slots=True)
class Message:
    """A message.

    Attributes:
        category: One of `CATEGORIES`.
        texts: Text by language.
    """

    message_id: str
    category: str = "invite"
    description: str = "Example message"
    texts: dict[str, str] = field(default_factory=lambda: {"en": "${l://SurveyLink?d=Take the survey}"})


@dataclass(slots=True)
class Library:
    """A user's or a group's library.

    Attributes:
        library_id: `UR_...` or `GR_...`.
    """

    library_id: str
    name: str = "Example library"
    messages: list[Message] = field(default_factory=list)

    def message(self, message_id: str) -> Message | None:
        """Return a message; None when it is not here."""
        return next((message for message in self.messages if message.message_id == message_id), None)
