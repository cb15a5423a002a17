"""Answers about contacts in a list and about searches in a directory."""

from __future__ import annotations

from collections.abc import Callable

from qualtrics_etl.simulator import checks, paging
from qualtrics_etl.simulator.calls import Call, JsonObject, Reply
from qualtrics_etl.simulator.checks import Shape, check_object
from qualtrics_etl.simulator.clock import milliseconds
from qualtrics_etl.simulator.contacts.errors import filter_not_simulated, too_many_hits
from qualtrics_etl.simulator.contacts.models import Contact, GivenContact
from qualtrics_etl.simulator.errors import invalid
from qualtrics_etl.simulator.mailing_lists.models import Membership

LIST_PAGE = 50
"""Contacts of a list on a page, as default and at most.

Source: Qualtrics API reference, the page on listing contacts in a mailing list.
"""

MOST_HITS = 10_000
"""Source: Qualtrics API reference, the page on searching contacts."""

_EMBEDDED = checks.pairs(most=1_000)
_NEW_CONTACT = Shape(
    optional={
        "firstName": checks.text(),
        "lastName": checks.text(),
        "email": checks.text(),
        "phone": checks.text(),
        "extRef": checks.text(),
        "language": checks.text(),
        "unsubscribed": checks.boolean,
        "embeddedData": _EMBEDDED,
        "privateEmbeddedData": _EMBEDDED,
    }
)
_TEXT_FILTERS = frozenset({"email", "firstName", "lastName", "phone", "language", "extRef"})
_OTHER_FILTERS = frozenset({"created", "lastModified", "inList", "infoFieldState"})
_FILTER = Shape(
    required={
        "filterType": checks.one_of(*sorted(_TEXT_FILTERS | _OTHER_FILTERS)),
        "comparison": checks.one_of("eq", "neq", "gt", "lt", "gte", "lte"),
        "value": checks.text(shortest=1),
    }
)


def create_list_contact(call: Call) -> Reply:
    """Put one person into a list.

    Source: Qualtrics API reference, the page on creating a contact in a mailing list: the directory contact is made
    with it, or merged where the directory de-duplicates. Not documented; chosen: an invalid address is 400.
    """
    mailing_list = call.state.mailing_list(call.params["directory"], call.params["list"])
    check_object(call.body, _NEW_CONTACT)
    given = GivenContact.from_json(call.body)
    if complaint := given.complaint():
        raise invalid(complaint)
    directory = call.state.directories[mailing_list.directory_id]
    contact, _ = directory.take_in(given, call.state.ids, call.now)
    membership = mailing_list.join(contact.contact_id, given.unsubscribed, call.state.ids)
    return Reply({"id": contact.contact_id, "contactLookupId": membership.lookup_id})


def list_contacts(call: Call) -> Reply:
    """List who is in a list.

    Source: Qualtrics API reference, the page on listing contacts in a mailing list. Not documented; chosen: in the
    order in which they came.
    """
    mailing_list = call.state.mailing_list(call.params["directory"], call.params["list"])
    contacts = call.state.directories[mailing_list.directory_id].contacts
    embedded = paging.flag(call, "includeEmbedded")

    def element(item: tuple[str, Membership]) -> JsonObject:
        return list_element(contacts[item[0]], item[1], embedded=embedded)

    return Reply(paging.page_of(mailing_list.members.items(), call, element, default=LIST_PAGE, most=LIST_PAGE))


def list_element(contact: Contact, membership: Membership, *, embedded: bool) -> JsonObject:
    """Return a contact as a list shows it."""
    element: JsonObject = {
        "contactId": contact.contact_id,
        **{
            name: contact.fields.get(name) for name in ("firstName", "lastName", "email", "phone", "extRef", "language")
        },
        "unsubscribed": contact.unsubscribed,
        "mailingListUnsubscribed": membership.unsubscribed,
        "contactLookupId": membership.lookup_id,
    }
    return element | ({"embeddedData": contact.embedded_data} if embedded else {})


def search_contacts(call: Call) -> Reply:
    """Search a directory.

    Source: Qualtrics API reference, the page on searching contacts: other names than in lists, `skipToken` inside
    `result` and absent on the last page, no reading past 10,000 hits. Not documented; chosen: pages of 100 at most.
    """
    directory = call.state.directory(call.params["directory"])
    matches = _matcher(call.body)
    start, size = paging.read_skip_token(call), paging.page_size(call, default=100, most=100)
    embedded = paging.flag(call, "includeEmbedded")
    if start + size > MOST_HITS:
        raise too_many_hits(MOST_HITS)
    shown, more = paging.cut((c for c in directory.contacts.values() if matches(c)), start, size)
    result: JsonObject = {"elements": [_hit(contact, embedded=embedded) for contact in shown]}
    return Reply(result | ({"skipToken": paging.skip_token(start + size)} if more else {}))


def _matcher(body: JsonObject) -> Callable[[Contact], bool]:
    check_object(body, Shape(required={"filter": lambda value: "" if isinstance(value, dict) else "must be an object"}))
    wanted = body["filter"]
    if "conjunction" not in wanted:
        return _one_filter(wanted, "filter.")
    check_object(wanted, Shape({"conjunction": checks.one_of("and"), "filters": _two_to_five}), where="filter.")
    parts = [_one_filter(part, f"filter.filters[{index}].") for index, part in enumerate(wanted["filters"])]
    return lambda contact: all(part(contact) for part in parts)


def _one_filter(wanted: object, where: str) -> Callable[[Contact], bool]:
    check_object(wanted, _FILTER, where=where)
    assert isinstance(wanted, dict)
    name, comparison, value = wanted["filterType"], wanted["comparison"], wanted["value"].casefold()
    if name not in _TEXT_FILTERS:
        raise filter_not_simulated(name)
    if comparison not in ("eq", "neq"):
        raise invalid(f"{where}comparison must be eq or neq for {name}")
    return lambda contact: (contact.fields.get(name, "").casefold() == value) is (comparison == "eq")


def _two_to_five(value: object) -> str:
    return "" if isinstance(value, list) and 2 <= len(value) <= 5 else "must be a list of 2 to 5 filters"


def _hit(contact: Contact, *, embedded: bool) -> JsonObject:
    fields = contact.fields
    hit: JsonObject = {
        "id": contact.contact_id,
        "creationDate": milliseconds(contact.created_at),
        "lastModified": milliseconds(contact.modified_at),
        "firstName": fields.get("firstName"),
        "lastName": fields.get("lastName"),
        "email": fields.get("email"),
        "phoneNumber": fields.get("phone"),
        "externalDataReference": fields.get("extRef"),
        "language": fields.get("language"),
        "unsubscribed": contact.unsubscribed,
        "unsubscribeDate": None,
        "stats": {},
    }
    return hit | ({"embeddedData": contact.embedded_data} if embedded else {})
