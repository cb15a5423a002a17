"""E-mail distributions: invitations, reminders and thank-yous, and finding our own again.

No call here may be repeated blindly: each repeat mails people once more. Every body that is built carries a key of ours
in its embedded data, which lists return, so that whoever is in doubt can look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import orjson

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.qualtrics.envelope import Record
from qualtrics_etl.qualtrics.http import Client
from qualtrics_etl.qualtrics.registry import (
    CREATE_DISTRIBUTION,
    CREATE_REMINDER,
    CREATE_THANK_YOU,
    LIST_DISTRIBUTIONS,
)

KEY_FIELD = "qetl_key"
"""The name in a distribution's embedded data under which our key stands."""

LinkType = Literal["Individual", "Anonymous", "Multiple"]

RequestType = Literal["Invite", "Reminder", "ThankYou", "GeneratedInvite", "Email", "Portal", "PortalInvite"]

_IDS_SENT = {
    "survey_id": ("surveyLink", "surveyId"),
    "library_id": ("message", "libraryId"),
    "message_id": ("message", "messageId"),
}
"""Setting to where a body says it."""


@dataclass(frozen=True, slots=True)
class Mail:
    """What is sent, from whom, and when: the same for invitations, reminders and thank-yous.

    Attributes:
        library_id: `UR_...` or `GR_...`.
        message_id: `MS_...` of a message in that library.
        from_email: Sender's address.
        from_name: Sender's name.
        reply_to_email: Where answers go.
        subject: A text, or the `MS_...` of a subject in the library.
        send_date: With a time zone. Qualtrics sends at once where it lies in the past.
        key: Ours, under which lists show it again.
    """

    library_id: str
    message_id: str
    from_email: str
    from_name: str
    reply_to_email: str
    subject: str
    send_date: datetime
    key: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution, as a list shows it.

    Attributes:
        distribution_id: `EMD_...`.
        parent_distribution_id: The invitation that a reminder or thank-you belongs to.
        request_type: As `Invite` or `Reminder`.
        request_status: As `Pending` or `Done`; compare without regard to case.
        send_date: UTC; None where the answer has none.
        mailing_list_id: `CG_...`; None where it goes to others.
        survey_id: `SV_...`; None where no survey is linked.
        key: What stands under `KEY_FIELD`; None in one that is not ours.
    """

    distribution_id: str
    parent_distribution_id: str | None
    request_type: str
    request_status: str
    send_date: datetime | None
    mailing_list_id: str | None
    survey_id: str | None
    key: str | None


def build_invitation_body(
    mail: Mail,
    *,
    survey_id: str,
    mailing_list_id: str,
    link_type: LinkType = "Individual",
    link_expires_at: datetime | None = None,
) -> bytes:
    """Build the request that invites a mailing list to a survey.

    Args:
        link_expires_at: With a time zone; None leaves it to Qualtrics (about 60 days).

    Raises:
        PermanentError: A time has no zone.

    Source: Qualtrics API reference, page on creating distributions.
    Observed: 2026, keys are checked strictly: what the reference does not name is refused (`RP_9`).
    """
    link: dict[str, str] = {"surveyId": survey_id, "type": link_type}
    if link_expires_at is not None:
        link["expirationDate"] = _timestamp("link_expires_at", link_expires_at)
    return orjson.dumps({**_mail(mail), "recipients": {"mailingListId": mailing_list_id}, "surveyLink": link})


def build_reminder_body(mail: Mail) -> bytes:
    """Build the request for a reminder or a thank-you: list and survey come from the invitation.

    Raises:
        PermanentError: A time has no zone.

    Source: Qualtrics API reference, pages on distribution reminders and thank-yous.
    """
    return orjson.dumps(_mail(mail))


def create(client: Client, body: bytes) -> str:
    """Create a distribution and return its id. A repeat mails everyone twice.

    Raises:
        QualtricsEtlError: What `Client.call` raises; a RetryableError too where the answer has no id.

    Source: Qualtrics API reference, page on creating distributions.
    """
    return client.call(CREATE_DISTRIBUTION, body=body, check=_settings_of(body)).result.identifier("id")


def create_reminder(client: Client, parent_id: str, body: bytes) -> str:
    """Create a reminder for those who have not finished, and return its id. A repeat mails them twice.

    Args:
        parent_id: `EMD_...` of the invitation.

    Raises:
        QualtricsEtlError: What `Client.call` raises; a RetryableError too where the answer has no id.

    Source: Qualtrics API reference, page on distribution reminders (the id stands under `distributionId`).
    """
    ids = {"distribution_id": parent_id}
    return client.call(CREATE_REMINDER, ids, body=body, check=_settings_of(body)).result.identifier(
        "distributionId", "id"
    )


def create_thank_you(client: Client, parent_id: str, body: bytes) -> str:
    """Create a thank-you for those who have finished, and return its id. A repeat mails them twice.

    Args:
        parent_id: `EMD_...` of the invitation.

    Raises:
        QualtricsEtlError: What `Client.call` raises; a RetryableError too where the answer has no id.

    Source: Qualtrics API reference, page on distribution thank-yous (the id stands under `distributionId`).
    """
    ids = {"distribution_id": parent_id}
    return client.call(CREATE_THANK_YOU, ids, body=body, check=_settings_of(body)).result.identifier(
        "distributionId", "id"
    )


def list_for(
    client: Client, survey_id: str, mailing_list_id: str | None = None, request_type: RequestType | None = None
) -> Iterator[Distribution]:
    """Yield the distributions of a survey.

    Args:
        mailing_list_id: Only those that go to this list.
        request_type: Only those of this type.

    Raises:
        QualtricsEtlError: What `Client.pages` raises.

    Source: Qualtrics API reference, page on listing distributions (a survey must be named).
    """
    query = {"surveyId": survey_id}
    if mailing_list_id is not None:
        query["mailingListId"] = mailing_list_id
    if request_type is not None:
        query["distributionRequestType"] = request_type
    for element in client.pages(
        LIST_DISTRIBUTIONS, query=query, check="survey_id of the service in config/<stage>.yml"
    ):
        yield _read_distribution(element)


def find_by_key(client: Client, survey_id: str, key: str) -> Distribution | None:
    """Return the distribution of a survey that carries a key of ours; None where the list shows none.

    The list is narrowed by nothing but the survey: whether a reminder shows its parent's mailing list, and under which
    type, is not documented, and one that is overlooked is made a second time.

    Raises:
        QualtricsEtlError: What `Client.pages` raises.
    """
    return next((found for found in list_for(client, survey_id) if found.key == key), None)


def _settings_of(body: bytes) -> str:
    """Return the settings that a body was made from, with their ids: a refusal may not say which one it means."""
    sent = Record(orjson.loads(body), CREATE_DISTRIBUTION.name)
    found = {setting: sent.record(part).text_or_none(name) for setting, (part, name) in _IDS_SENT.items()}
    ids = ", ".join(f"{setting} ({value})" for setting, value in found.items() if value)
    return f"{ids}{' and ' * bool(ids)}from_email of the service in config/<stage>.yml"


def _mail(mail: Mail) -> Mapping[str, object]:
    return {
        "message": {"libraryId": mail.library_id, "messageId": mail.message_id},
        "header": {
            "fromEmail": mail.from_email,
            "fromName": mail.from_name,
            "replyToEmail": mail.reply_to_email,
            "subject": mail.subject,
        },
        "sendDate": _timestamp("send_date", mail.send_date),
        "embeddedData": {KEY_FIELD: mail.key},
    }


def _timestamp(name: str, time: datetime) -> str:
    """Write a time as the API takes it: UTC, whole seconds (some endpoints refuse more)."""
    if time.tzinfo is None:
        raise PermanentError(f"{name} has no time zone.", remedy="Correct the hook that chooses the time.")
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_distribution(element: Record) -> Distribution:
    return Distribution(
        distribution_id=element.identifier("id"),
        parent_distribution_id=element.text_or_none("parentDistributionId"),
        request_type=element.text_or_none("requestType") or "",
        request_status=element.text_or_none("requestStatus") or "",
        send_date=element.time_or_none("sendDate"),
        mailing_list_id=element.record("recipients").text_or_none("mailingListId"),
        survey_id=element.record("surveyLink").text_or_none("surveyId"),
        key=element.record("embeddedData").text_or_none(KEY_FIELD),
    )
