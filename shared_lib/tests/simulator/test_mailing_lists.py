"""Mailing lists: made, listed, changed, deleted."""

from __future__ import annotations

from typing import Any

import pytest

LISTS = "/directories/POOL_ExampleDirector/mailinglists"


def test_new_list_can_be_read_back(api: Any) -> None:
    """What was created is what is shown."""
    path = api.new_list("Customers of November")
    assert api.result("GET", path) == {
        "mailingListId": path.rpartition("/")[2],
        "name": "Customers of November",
        "ownerId": "UR_ExampleUser0001",
        "creationDate": "2026-11-22T09:00:00Z",
        "lastModifiedDate": "2026-11-22T09:00:00Z",
        "contactCount": 0,
    }


def test_names_need_not_be_unique(api: Any) -> None:
    """A repeat makes a second list: finding the first is the caller's job."""
    assert api.new_list("Same") != api.new_list("Same")
    assert [each["name"] for each in api.result("GET", LISTS)["elements"]] == ["Same", "Same"]


def test_pages_follow_each_other_to_the_end(api: Any) -> None:
    """`nextPage` is an absolute URL that leads through all lists, oldest first, and ends with null."""
    for number in range(5):
        api.new_list(f"List {number}")
    names, url = [], f"{api.base_url}/API/v3{LISTS}?pageSize=2&includeCount=false"
    while url:
        page = api.session.get(url, timeout=5).json()["result"]
        names.append([each["name"] for each in page["elements"]])
        url = page["nextPage"]
    assert names == [["List 0", "List 1"], ["List 2", "List 3"], ["List 4"]]


def test_list_is_renamed(api: Any) -> None:
    """A change answers without result and is seen at once."""
    path = api.new_list("Old")
    assert "result" not in api.call("PUT", path, {"name": "New"}).json()
    assert api.result("GET", path)["name"] == "New"


def test_deleted_list_leaves_its_contacts_in_the_directory(api: Any) -> None:
    """Deleting a list twice is 404; its persons stay in the directory."""
    path = api.list_with({"email": "a@example.com"})
    assert "result" not in api.call("DELETE", path).json()
    assert api.refusal("DELETE", path)[:2] == (404, "MAILING_LIST_NOT_FOUND")
    assert api.inspect("GET", "state")["contacts"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x" * 101},
        {"name": None},
        {"name": 5},
        {"name": "x", "owner": "UR_ExampleUser0001"},
        {"name": "x", "ownerId": "somebody"},
        {"name": "x", "prioritizeListMetadata": "false"},
    ],
)
def test_list_with_a_wrong_key_or_value_is_400(api: Any, body: dict[str, object]) -> None:
    """Nothing is coerced, and nothing is ignored."""
    assert api.refusal("POST", LISTS, body)[:2] == (400, "QVAL_1")


def test_change_of_nothing_is_400(api: Any) -> None:
    """A change names what it changes."""
    assert api.refusal("PUT", api.new_list(), {})[0] == 400


def test_list_of_another_directory_is_404(api: Any) -> None:
    """A list is found only in its own directory."""
    path = api.new_list().replace("POOL_ExampleDirector", "POOL_AnotherDirector")
    assert api.refusal("GET", path)[:2] == (404, "DIRECTORY_NOT_FOUND")
