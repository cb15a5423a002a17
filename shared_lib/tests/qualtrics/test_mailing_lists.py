"""Mailing lists: created once, and found again by name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from qualtrics_etl.errors import PermanentError, RetryableError
from qualtrics_etl.qualtrics import MailingList, mailing_lists

if TYPE_CHECKING:
    from conftest import Api


def test_list_is_created(api: Api) -> None:
    """The body goes to the directory's lists, and the new list's id comes back."""
    api.answers({"id": "CG_1"})
    body = mailing_lists.build_create_body("acme 2026-11-22", "GR_1")
    assert mailing_lists.create(api.client, "POOL_1", body) == "CG_1"
    [sent] = api.requests
    assert (sent.method, sent.path) == ("POST", "/API/v3/directories/POOL_1/mailinglists")
    assert sent.body == b'{"name":"acme 2026-11-22","ownerId":"GR_1"}'


def test_owner_is_left_out_where_none_is_named() -> None:
    """A null is not a value: the credentials' user owns the list."""
    assert mailing_lists.build_create_body("n") == b'{"name":"n"}'


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_name_that_would_be_refused_is_not_built(name: str) -> None:
    """Names have 1 to 100 characters."""
    with pytest.raises(PermanentError):
        mailing_lists.build_create_body(name)


def test_created_list_without_an_id_is_in_doubt(api: Api) -> None:
    """An answer without an id may have made a list: whoever repeats looks first."""
    api.answers({"id": None})
    with pytest.raises(RetryableError) as caught:
        mailing_lists.create(api.client, "POOL_1", b"{}")
    assert (caught.value.call_made, caught.value.request_id) == (True, "r-1")


def test_lists_are_found_by_exact_name_on_all_pages(api: Api) -> None:
    """Names are not unique, so every list of the name is found, and none of a similar one."""
    first = {"mailingListId": "CG_1", "name": "n", "ownerId": "UR_1", "creationDate": 1_795_338_000_000}
    elements = [first, {"mailingListId": "CG_2", "name": "N"}]
    api.answers({"elements": elements, "nextPage": "https://fra1.qualtrics.com/API/v3/p2"})
    api.answers({"elements": [{"mailingListId": "CG_3", "name": "n"}], "nextPage": None})
    assert mailing_lists.find_by_name(api.client, "POOL_1", "n") == [
        MailingList("CG_1", "n", "UR_1", datetime(2026, 11, 22, 9, tzinfo=UTC)),
        MailingList("CG_3", "n", None, None),
    ]
