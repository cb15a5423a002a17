"""Libraries and surveys, which calls only read."""

from __future__ import annotations

from typing import Any

import pytest

MESSAGES = "/libraries/UR_ExampleLibrary1/messages"


def test_libraries_and_messages_are_listed(api: Any) -> None:
    """A client can find the message that its settings name."""
    assert api.result("GET", "/libraries")["elements"] == [
        {"libraryId": "UR_ExampleLibrary1", "libraryName": "Example library"}
    ]
    assert api.result("GET", f"{MESSAGES}?category=reminder") == {
        "elements": [{"id": "MS_ExampleReminder", "description": "Example reminder", "category": "reminder"}],
        "nextPage": None,
    }


def test_message_is_shown_with_its_texts(api: Any) -> None:
    """The text carries the link to the survey."""
    message = api.result("GET", f"{MESSAGES}/MS_ExampleInvite01")
    assert message["messages"] == {"en": "${l://SurveyLink?d=Take the survey}"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/libraries/UR_000000000000000/messages", 404),
        (f"{MESSAGES}/MS_000000000000000", 404),
        (f"{MESSAGES}?category=shoes", 400),
        ("/libraries?offset=x", 400),
    ],
)
def test_wrong_library_message_or_category_is_refused(api: Any, path: str, status: int) -> None:
    """What does not exist is 404; a category that can't exist is 400."""
    assert api.refusal("GET", path)[0] == status
