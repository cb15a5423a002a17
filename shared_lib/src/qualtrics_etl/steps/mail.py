"""What an invitation and a reminder have in common: who writes, with which message, and when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.settings import EmailAddress, LibraryId, MessageId, StepSettings

if TYPE_CHECKING:
    from qualtrics_etl.qualtrics.distributions import Mail


class MailSettings(StepSettings):
    """What goes into the head of an e-mail.

    Attributes:
        library_id: The library that holds the message: `UR_...` or `GR_...`.
        message_id: The message's text: `MS_...`; it carries the survey link.
        from_email: The sender's address; one that the brand may send from.
        from_name: The sender's name.
        reply_to_email: Where answers go.
        subject: The subject line.
    """

    library_id: LibraryId
    message_id: MessageId
    from_email: EmailAddress
    from_name: str
    reply_to_email: EmailAddress
    subject: str


def checked_send_date(date: object, hook: str) -> datetime:
    """Return what a hook gave as the send date, in UTC and whole seconds.

    Raises:
        ConfigurationError: It is not a time with a zone.
    """
    if not isinstance(date, datetime) or date.tzinfo is None:
        raise ConfigurationError(
            f"{hook} returned a {type(date).__name__}{' without a time zone' * isinstance(date, datetime)}.",
            remedy="Return a datetime with a time zone, for example context.now + ...",
        )
    return date.astimezone(UTC).replace(microsecond=0)


def build_mail(settings: MailSettings, send_date: datetime, key: str) -> Mail:
    """Return what is sent, from whom, when; `key` is what it can be found by again."""
    from qualtrics_etl.qualtrics.distributions import Mail

    return Mail(
        library_id=settings.library_id,
        message_id=settings.message_id,
        from_email=settings.from_email,
        from_name=settings.from_name,
        reply_to_email=settings.reply_to_email,
        subject=settings.subject,
        send_date=send_date,
        key=key,
    )
