"""Libraries: which messages there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qualtrics_etl.qualtrics import LibraryMessage, libraries

if TYPE_CHECKING:
    from conftest import Api


def test_messages_of_a_category_are_listed(api: Api) -> None:
    """A library's messages have an id, a description and a category."""
    api.answers({"elements": [{"id": "MS_1", "description": "Invite", "category": "invite"}], "nextPage": None})
    assert list(libraries.list_messages(api.client, "UR_1", "invite")) == [LibraryMessage("MS_1", "Invite", "invite")]
    assert (api.requests[0].path, api.requests[0].query) == ("/API/v3/libraries/UR_1/messages", {"category": "invite"})
