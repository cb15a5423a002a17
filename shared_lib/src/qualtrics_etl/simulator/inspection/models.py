"""Views of the state."""

from __future__ import annotations

from qualtrics_etl.simulator.calls import JsonObject
from qualtrics_etl.simulator.clock import iso
from qualtrics_etl.simulator.contacts.handlers import list_element
from qualtrics_etl.simulator.distributions.models import Distribution, Mailing
from qualtrics_etl.simulator.mailing_lists.models import MailingList
from qualtrics_etl.simulator.state import State


def summary_of(state: State, now: float) -> JsonObject:
    """Return how much of everything there is."""
    return {
        "time": iso(now),
        "directories": len(state.directories),
        "contacts": sum(len(directory.contacts) for directory in state.directories.values()),
        "mailingLists": len(state.mailing_lists),
        "importJobs": len(state.imports.jobs),
        "importJobsUnfinished": len(state.imports.unfinished),
        "distributions": len(state.post.distributions),
        "distributionsPending": len(state.post.pending),
        "mailings": len(state.post.mailings),
        "lateEffects": len(state.late_effects),
        "faults": len(state.faults),
        "calls": sum(count for statuses in state.calls.values() for count in statuses.values()),
    }


def mailing_lists_of(state: State) -> list[JsonObject]:
    """Return every list, whether listings of the API show it yet or not."""
    return [_mailing_list(mailing_list) for mailing_list in state.mailing_lists.values()]


def contacts_of(state: State, mailing_list: MailingList) -> list[JsonObject]:
    """Return who is in a list, with embedded data."""
    directory = state.directories.get(mailing_list.directory_id)
    contacts = directory.contacts if directory else {}
    return [
        list_element(contacts[contact_id], membership, embedded=True)
        for contact_id, membership in mailing_list.members.items()
        if contact_id in contacts
    ]


def mailings_of(state: State, now: float) -> JsonObject:
    """Return who would have been mailed, by what, how often; and what is scheduled.

    Returns:
        `sent`: one entry a person, `{email, contactId, count, by: [{distributionId, kind, sentAt}]}`, in the order of
        the first mail. `scheduled`: one entry a pending distribution, with how many it would reach if it were sent
        now (reminders and thank-yous count from what has been sent until now).
    """
    people: dict[str, JsonObject] = {}
    for mailing in state.post.mailings:
        person = people.setdefault(
            mailing.contact_id, {"email": mailing.email, "contactId": mailing.contact_id, "count": 0, "by": []}
        )
        person["count"] += 1
        person["by"].append(_mail(mailing))
    scheduled = [_scheduled(state, state.post.distributions[each]) for each in state.post.pending]
    return {"time": iso(now), "sent": list(people.values()), "scheduled": scheduled}


def _mailing_list(mailing_list: MailingList) -> JsonObject:
    return {
        "mailingListId": mailing_list.mailing_list_id,
        "directoryId": mailing_list.directory_id,
        "name": mailing_list.name,
        "createdAt": iso(mailing_list.created_at),
        "contactCount": len(mailing_list.members),
    }


def _mail(mailing: Mailing) -> JsonObject:
    return {"distributionId": mailing.distribution_id, "kind": mailing.kind, "sentAt": iso(mailing.sent_at)}


def _scheduled(state: State, distribution: Distribution) -> JsonObject:
    return {
        "distributionId": distribution.distribution_id,
        "kind": distribution.kind,
        "parentDistributionId": distribution.parent_id,
        "surveyId": distribution.survey_id,
        "mailingListId": distribution.mailing_list_id,
        "sendDate": iso(distribution.send_at),
        "recipients": state.recipients(distribution),
    }
