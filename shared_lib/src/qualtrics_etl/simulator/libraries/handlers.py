"""Answers about libraries and messages. Source: Published clients, for the fields."""

from __future__ import annotations

from qualtrics_etl.simulator import paging
from qualtrics_etl.simulator.calls import Call, JsonObject, Reply
from qualtrics_etl.simulator.errors import invalid
from qualtrics_etl.simulator.libraries.models import CATEGORIES, Library, Message

_PAGE = 100


def list_libraries(call: Call) -> Reply:
    """List libraries."""
    return Reply(paging.page_by_offset(call.state.libraries.values(), call, _library, size=_PAGE))


def list_messages(call: Call) -> Reply:
    """List the messages of a library, all or of one category."""
    library = call.state.library(call.params["library"])
    category = call.query.get("category")
    if category not in (None, *CATEGORIES):
        raise invalid(f"category must be one of {', '.join(CATEGORIES)}")
    shown = (message for message in library.messages if category in (None, message.category))
    return Reply(paging.page_by_offset(shown, call, _message, size=_PAGE))


def get_message(call: Call) -> Reply:
    """Show one message with its texts."""
    message = call.state.message(call.params["library"], call.params["message"])
    return Reply(_message(message) | {"messages": message.texts})


def _library(library: Library) -> JsonObject:
    return {"libraryId": library.library_id, "libraryName": library.name}


def _message(message: Message) -> JsonObject:
    return {"id": message.message_id, "description": message.description, "category": message.category}
