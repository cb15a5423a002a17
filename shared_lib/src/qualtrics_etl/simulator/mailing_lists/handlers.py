"""Answers about mailing lists. Source: Qualtrics API reference, the pages on mailing lists, unless said otherwise."""

from __future__ import annotations

from qualtrics_etl.simulator import checks, paging
from qualtrics_etl.simulator.calls import Call, JsonObject, Reply
from qualtrics_etl.simulator.checks import Shape, check_object
from qualtrics_etl.simulator.clock import iso
from qualtrics_etl.simulator.errors import invalid
from qualtrics_etl.simulator.mailing_lists.models import MailingList

_NAME = checks.text(shortest=1, longest=100)
_OWNER = checks.an_id("UR", "GR")
_NEW_LIST = Shape(required={"name": _NAME}, optional={"ownerId": _OWNER, "prioritizeListMetadata": checks.boolean})
_CHANGE = Shape(optional={"name": _NAME, "ownerId": _OWNER})


def create_mailing_list(call: Call) -> Reply:
    """Create a list; a second one of the same name is another list."""
    directory = call.state.directory(call.params["directory"])
    check_object(call.body, _NEW_LIST)
    mailing_list = MailingList(
        mailing_list_id=call.state.ids.new("CG"),
        directory_id=directory.directory_id,
        name=call.body["name"],
        owner_id=call.body.get("ownerId", call.state.user.user_id),
        created_at=call.now,
        modified_at=call.now,
        listed_at=call.now + call.listed_after_seconds,
    )
    call.state.mailing_lists[mailing_list.mailing_list_id] = mailing_list
    return Reply({"id": mailing_list.mailing_list_id})


def list_mailing_lists(call: Call) -> Reply:
    """List the lists of a directory. Not documented; chosen: oldest first."""
    directory = call.state.directory(call.params["directory"])
    counted = paging.flag(call, "includeCount")
    owner = call.query.get("ownerId")
    shown = (
        mailing_list
        for mailing_list in call.state.mailing_lists.values()
        if mailing_list.directory_id == directory.directory_id
        and mailing_list.listed_at <= call.now
        and owner in (None, mailing_list.owner_id)
    )
    return Reply(paging.page_of(shown, call, lambda mailing_list: _element(mailing_list, counted=counted)))


def get_mailing_list(call: Call) -> Reply:
    """Show one list."""
    return Reply(_element(call.state.mailing_list(call.params["directory"], call.params["list"]), counted=True))


def change_mailing_list(call: Call) -> Reply:
    """Change name or owner. Not documented; chosen: a change of nothing is 400, and the answer has no result."""
    mailing_list = call.state.mailing_list(call.params["directory"], call.params["list"])
    check_object(call.body, _CHANGE)
    if not call.body:
        raise invalid("Nothing to change: name or ownerId is needed.")
    mailing_list.name = call.body.get("name", mailing_list.name)
    mailing_list.owner_id = call.body.get("ownerId", mailing_list.owner_id)
    mailing_list.modified_at = call.now
    return Reply()


def delete_mailing_list(call: Call) -> Reply:
    """Delete a list; its contacts stay in the directory."""
    mailing_list = call.state.mailing_list(call.params["directory"], call.params["list"])
    del call.state.mailing_lists[mailing_list.mailing_list_id]
    return Reply()


def _element(mailing_list: MailingList, *, counted: bool) -> JsonObject:
    element: JsonObject = {
        "mailingListId": mailing_list.mailing_list_id,
        "name": mailing_list.name,
        "ownerId": mailing_list.owner_id,
        "creationDate": iso(mailing_list.created_at),
        "lastModifiedDate": iso(mailing_list.modified_at),
    }
    return element | ({"contactCount": len(mailing_list.members)} if counted else {})
