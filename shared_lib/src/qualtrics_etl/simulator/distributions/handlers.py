"""Answers about distributions, reminders and thank-yous.

Source: Published clients and reports of users for the bodies; recorded exchanges for the listing and what is not found.
Not simulated yet: generated links (`action`), which are refused like any unknown key.
"""

from __future__ import annotations

from qualtrics_etl.simulator import checks, paging
from qualtrics_etl.simulator.calls import Call, JsonObject, Reply
from qualtrics_etl.simulator.checks import Shape, check_object
from qualtrics_etl.simulator.clock import iso, parse_instant
from qualtrics_etl.simulator.distributions.errors import (
    REFUSALS,
    distribution_not_found,
    missing_key,
    recipients_not_found,
    unexpected_key,
)
from qualtrics_etl.simulator.distributions.models import (
    INVITE,
    LINK_LIFETIME_SECONDS,
    REMINDER,
    REQUEST_TYPES,
    THANK_YOU,
    Distribution,
)
from qualtrics_etl.simulator.errors import invalid
from qualtrics_etl.simulator.ids import is_id

_HEADER = Shape(
    required={"fromEmail": checks.email, "fromName": checks.text(shortest=1), "subject": checks.text(shortest=1)},
    optional={"replyToEmail": checks.email},
)
_MESSAGE = Shape(
    optional={
        "libraryId": checks.an_id("UR", "GR"),
        "messageId": checks.an_id("MS"),
        "messageText": checks.text(shortest=1),
    }
)
_RECIPIENTS = Shape(
    optional={
        "mailingListId": checks.an_id("CG"),
        "contactId": checks.an_id("CGC"),
        "transactionBatchId": checks.an_id("BT"),
        "transactionId": checks.an_id("CTR"),
        "sampleId": checks.text(shortest=1),
        "directoryId": checks.an_id("POOL"),
    }
)
_SURVEY_LINK = Shape(
    required={"surveyId": checks.an_id("SV")},
    optional={"expirationDate": checks.instant, "type": checks.one_of("Individual", "Anonymous", "Multiple")},
)
_EMBEDDED_DATA = checks.pairs(most=10)
_INVITATION = Shape(
    required={
        "message": _MESSAGE,
        "recipients": _RECIPIENTS,
        "header": _HEADER,
        "surveyLink": _SURVEY_LINK,
        "sendDate": checks.instant,
    },
    optional={"embeddedData": _EMBEDDED_DATA},
)
_FOLLOW_UP = Shape(
    required={"message": _MESSAGE, "header": _HEADER, "sendDate": checks.instant},
    optional={"embeddedData": _EMBEDDED_DATA},
)


def create_distribution(call: Call) -> Reply:
    """Schedule an invitation by e-mail. A repeat is a second invitation: nothing tells them apart.

    Source: Published clients and reports of users. Not documented; chosen: `replyToEmail`, `type` and `expirationDate`
    may be left out; ids that don't exist are 404.
    """
    body = call.body
    check_object(body, _INVITATION, refusals=REFUSALS)
    _check_message(call)
    _check_recipients(call)
    call.state.survey(body["surveyLink"]["surveyId"])
    distribution = _invitation(call)
    call.state.post.schedule(distribution)
    return Reply({"id": distribution.distribution_id})


def create_reminder(call: Call) -> Reply:
    """Schedule a reminder to those of an invitation who have not finished."""
    return _follow_up(call, REMINDER)


def create_thank_you(call: Call) -> Reply:
    """Schedule a thank-you to those of an invitation who have finished."""
    return _follow_up(call, THANK_YOU)


def list_distributions(call: Call) -> Reply:
    """List the distributions of a survey, follow-ups included.

    Source: Recorded exchange for the envelope, published clients for the filters. Not documented; chosen: both ends
    of a range are included; oldest first; pages of 100 at most.
    """
    survey_id = _surveyed(call)
    wanted_type, wanted_list = call.query.get("distributionRequestType"), call.query.get("mailingListId")
    if wanted_type not in (None, *REQUEST_TYPES):
        raise invalid(f"distributionRequestType must be one of {', '.join(REQUEST_TYPES)}")
    first, last = _date(call, "sendStartDate", default=float("-inf")), _date(call, "sendEndDate", default=float("inf"))
    paging.flag(call, "useNewPaginationScheme")
    shown = (
        each
        for each in call.state.post.distributions.values()
        if each.survey_id == survey_id
        and each.listed_at <= call.now
        and first <= each.send_at <= last
        and wanted_type in (None, each.kind)
        and wanted_list in (None, each.mailing_list_id)
    )
    return Reply(paging.page_of(shown, call, lambda each: _element(call, each)))


def get_distribution(call: Call) -> Reply:
    """Show one distribution, with the text of its message where it has one."""
    distribution = _find(call)
    if distribution.survey_id != _surveyed(call):
        raise distribution_not_found()
    element = _element(call, distribution)
    if "messageText" in distribution.message:
        element["message"]["messageText"] = distribution.message["messageText"]
    return Reply(element)


def delete_distribution(call: Call) -> Reply:
    """Delete a distribution; a pending one is never sent."""
    call.state.post.delete(_find(call).distribution_id)
    return Reply()


def _check_message(call: Call) -> None:
    message = call.body["message"]
    if "messageText" in message:
        for key in message.keys() - {"messageText"}:
            raise unexpected_key(key)
    else:
        for key in ("libraryId", "messageId"):
            if key not in message:
                raise missing_key(key)
        call.state.message(message["libraryId"], message["messageId"])
    subject = call.body["header"]["subject"]
    if is_id(subject, "MS"):
        call.state.message_anywhere(subject)


def _check_recipients(call: Call) -> None:
    """Source: Published clients: one person is a list and the lookup id in it.

    The simulator has no batches, transactions or samples yet, so any is one that does not exist.
    """
    recipients = call.body["recipients"]
    for key in ("transactionBatchId", "transactionId", "sampleId"):
        if key in recipients:
            raise recipients_not_found(f"{key} {recipients[key]}")
    if "mailingListId" not in recipients:
        raise missing_key("mailingListId")
    mailing_list = call.state.mailing_lists.get(recipients["mailingListId"])
    if mailing_list is None or recipients.get("directoryId", mailing_list.directory_id) != mailing_list.directory_id:
        raise recipients_not_found(f"mailingListId {recipients['mailingListId']}")
    if "contactId" in recipients and mailing_list.contact_of(recipients["contactId"]) is None:
        raise recipients_not_found(f"contactId {recipients['contactId']}")


def _invitation(call: Call) -> Distribution:
    link, send_at = call.body["surveyLink"], parse_instant(call.body["sendDate"])
    expires = link.get("expirationDate")
    return Distribution(
        distribution_id=call.state.ids.new("EMD"),
        kind=INVITE,
        survey_id=link["surveyId"],
        mailing_list_id=call.body["recipients"]["mailingListId"],
        contact_lookup_id=call.body["recipients"].get("contactId"),
        parent_id=None,
        header=call.body["header"],
        message=call.body["message"],
        link_type=link.get("type", "Individual"),
        link_expires_at=parse_instant(expires) if expires else call.now + LINK_LIFETIME_SECONDS,
        embedded_data=call.body.get("embeddedData"),
        send_at=send_at,
        created_at=call.now,
        modified_at=call.now,
        listed_at=call.now + call.listed_after_seconds,
    )


def _follow_up(call: Call, kind: str) -> Reply:
    """Schedule what follows an invitation.

    Source: Three published clients: the answer says `distributionId`. Not documented; chosen: only of invitations.
    """
    parent = _find(call)
    check_object(call.body, _FOLLOW_UP, refusals=REFUSALS)
    _check_message(call)
    if parent.kind != INVITE:
        raise distribution_not_found()
    distribution = Distribution(
        distribution_id=call.state.ids.new("EMD"),
        kind=kind,
        survey_id=parent.survey_id,
        mailing_list_id=parent.mailing_list_id,
        contact_lookup_id=parent.contact_lookup_id,
        parent_id=parent.distribution_id,
        header=call.body["header"],
        message=call.body["message"],
        link_type=parent.link_type,
        link_expires_at=parent.link_expires_at,
        embedded_data=call.body.get("embeddedData"),
        send_at=parse_instant(call.body["sendDate"]),
        created_at=call.now,
        modified_at=call.now,
        listed_at=call.now + call.listed_after_seconds,
    )
    call.state.post.schedule(distribution)
    return Reply({"distributionId": distribution.distribution_id})


def _find(call: Call) -> Distribution:
    distribution = call.state.post.distributions.get(call.params["distribution"])
    if distribution is None:
        raise distribution_not_found()
    return distribution


def _surveyed(call: Call) -> str:
    survey_id = call.query.get("surveyId")
    if survey_id is None:
        raise missing_key("surveyId")
    return call.state.survey(survey_id).survey_id


def _date(call: Call, name: str, *, default: float) -> float:
    if name not in call.query:
        return default
    try:
        return parse_instant(call.query[name])
    except ValueError as exc:
        raise invalid(f"{name} {exc}") from exc


def _element(call: Call, each: Distribution) -> JsonObject:
    """Say `headers` and `linkType` where the request says `header` and `type`. Source: Published clients."""
    return {
        "id": each.distribution_id,
        "parentDistributionId": each.parent_id,
        "ownerId": call.state.user.user_id,
        "organizationId": call.state.user.brand_id,
        "requestStatus": "Done" if each.is_done else "Pending",
        "requestType": each.kind,
        "sendDate": iso(each.send_at),
        "createdDate": iso(each.created_at),
        "modifiedDate": iso(each.modified_at),
        "customHeaders": {},
        "headers": {name: each.header.get(name) for name in ("fromEmail", "fromName", "replyToEmail", "subject")},
        "recipients": {
            "mailingListId": each.mailing_list_id,
            "contactId": each.contact_lookup_id,
            "libraryId": None,
            "sampleId": None,
        },
        "message": {
            "libraryId": each.message.get("libraryId"),
            "messageId": each.message.get("messageId"),
            "messageType": "Library" if "messageId" in each.message else "Inline",
        },
        "surveyLink": {
            "surveyId": each.survey_id,
            "expirationDate": iso(each.link_expires_at),
            "linkType": each.link_type,
        },
        "stats": _stats(each),
        "embeddedData": each.embedded_data,
    }


def _stats(each: Distribution) -> JsonObject:
    counted = {"sent": each.sent, "skipped": each.skipped, "failed": each.failed, "finished": len(each.finished)}
    return counted | dict.fromkeys(("started", "bounced", "opened", "complaints", "blocked"), 0)
