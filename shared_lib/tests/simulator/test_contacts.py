"""Contacts of a list, and the search in a directory."""

from __future__ import annotations

from typing import Any

import pytest

SEARCH = "/directories/POOL_ExampleDirector/contacts/search"
ANN = {"email": "ann@example.com", "firstName": "Ann", "extRef": "1", "embeddedData": {"branch": "north"}}
BOB = {"email": "bob@example.com", "firstName": "Bob", "extRef": "2"}


def found(api: Any, **wanted: object) -> list[str]:
    """Search; say the first names of the hits."""
    return [hit["firstName"] for hit in api.result("POST", SEARCH, {"filter": wanted})["elements"]]


def test_contact_is_listed_as_it_was_given(api: Any) -> None:
    """A contact gets two ids, its own and the one of its place in the list."""
    path = api.new_list()
    ids = api.result("POST", f"{path}/contacts", ANN)
    assert api.result("GET", f"{path}/contacts?includeEmbedded=true")["elements"] == [
        {
            "contactId": ids["id"],
            "firstName": "Ann",
            "lastName": None,
            "email": "ann@example.com",
            "phone": None,
            "extRef": "1",
            "language": None,
            "unsubscribed": False,
            "mailingListUnsubscribed": False,
            "contactLookupId": ids["contactLookupId"],
            "embeddedData": {"branch": "north"},
        }
    ]


def test_same_person_in_two_lists_has_one_id_and_two_places(api: Any) -> None:
    """A merged contact joins a list under its known id, with a place of its own."""
    first, second = (api.result("POST", f"{api.new_list()}/contacts", ANN) for _ in range(2))
    assert first["id"] == second["id"]
    assert first["contactLookupId"] != second["contactLookupId"]


def test_page_of_contacts_has_fifty(api: Any) -> None:
    """Fifty is the default and the most; the rest is behind `nextPage`."""
    path = api.list_with(*({"email": f"{number}@example.com"} for number in range(51)))
    page = api.result("GET", f"{path}/contacts")
    rest = api.session.get(page["nextPage"], timeout=5).json()["result"]
    assert (len(page["elements"]), len(rest["elements"]), rest["nextPage"]) == (50, 1, None)
    assert api.refusal("GET", f"{path}/contacts?pageSize=51")[0] == 400


@pytest.mark.parametrize(
    "contact",
    [
        {},
        {"email": "not an address"},
        {"email": None},
        {"mail": "a@example.com"},
        {"email": "a@example.com", "unsubscribed": "false"},
        {"email": "a@example.com", "embeddedData": {"a": None}},
        {"email": "a@example.com", "embeddedData": {"a": "x" * 1_025}},
        {"email": "a@example.com", "embeddedData": {"x" * 201: "a"}},
    ],
)
def test_contact_with_a_wrong_key_or_value_is_400(api: Any, contact: dict[str, object]) -> None:
    """A contact that could not be stored as given is refused."""
    assert api.refusal("POST", f"{api.new_list()}/contacts", contact)[:2] == (400, "QVAL_1")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"filterType": "email", "comparison": "eq", "value": "ANN@example.com"}, ["Ann"]),
        ({"filterType": "extRef", "comparison": "neq", "value": "1"}, ["Bob"]),
        (
            {
                "conjunction": "and",
                "filters": [
                    {"filterType": "email", "comparison": "eq", "value": "ann@example.com"},
                    {"filterType": "extRef", "comparison": "eq", "value": "2"},
                ],
            },
            [],
        ),
    ],
)
def test_search_finds_whom_the_filter_means(api: Any, wanted: dict[str, object], names: list[str]) -> None:
    """Filters compare whatever the case, and all parts of a conjunction must hold."""
    api.list_with(ANN, BOB)
    assert found(api, **wanted) == names


def test_search_pages_by_a_token_inside_the_result(api: Any) -> None:
    """The token is absent on the last page; names differ from those in lists."""
    api.list_with(ANN, BOB)
    body = {"filter": {"filterType": "email", "comparison": "neq", "value": "x"}}
    first = api.result("POST", f"{SEARCH}?pageSize=1", body)
    last = api.result("POST", SEARCH, body, params={"pageSize": 1, "skipToken": first["skipToken"]})
    assert (first["elements"][0]["externalDataReference"], first["skipToken"]) == ("1", "MQ==")
    assert (last["elements"][0]["externalDataReference"], "skipToken" in last) == ("2", False)


def test_search_past_ten_thousand_hits_is_400(api: Any) -> None:
    """A search is not a way to read a whole directory."""
    body = {"filter": {"filterType": "email", "comparison": "neq", "value": "x"}}
    assert api.refusal("POST", SEARCH, body, params={"skipToken": "OTk5OQ=="})[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"filter": []},
        {"filter": {"filterType": "email", "comparison": "eq"}},
        {"filter": {"filterType": "shoe", "comparison": "eq", "value": "x"}},
        {"filter": {"filterType": "email", "comparison": "gt", "value": "x"}},
        {"filter": {"filterType": "inList", "comparison": "eq", "value": "CG_x"}},
        {"filter": {"conjunction": "or", "filters": []}},
        {"filter": {"conjunction": "and", "filters": [{}]}},
        {"filter": {"filterType": "email", "comparison": "eq", "value": "x"}, "more": 1},
    ],
)
def test_search_with_a_wrong_filter_is_400(api: Any, body: dict[str, object]) -> None:
    """A filter that is not understood finds nothing by refusing, not by answering nothing."""
    assert api.refusal("POST", SEARCH, body)[:2] == (400, "QVAL_1")
