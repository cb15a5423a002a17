"""Directories: whose credentials, which directory, and whether it merges duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.qualtrics import Directory, Identity, directories

if TYPE_CHECKING:
    from conftest import Api


def element(directory_id: str, **criteria: object) -> dict[str, object]:
    """Build a directory as a list has it."""
    return {"directoryId": directory_id, "name": None, "isDefault": True, "deduplicationCriteria": criteria}


def test_whoami_tells_whose_credentials(api: Api) -> None:
    """The canary call names user, brand and data center, and keeps no personal data."""
    api.answers({"userId": "UR_1", "brandId": "acme", "email": "a@b.c", "firstName": "A", "datacenter": "fra1"})
    assert directories.whoami(api.client) == Identity("UR_1", "acme", "fra1")


def test_directory_is_found_on_a_later_page(api: Api) -> None:
    """A directory is found wherever it stands in the list."""
    api.answers({"elements": [element("POOL_1")], "nextPage": "https://fra1.qualtrics.com/API/v3/directories?p=2"})
    api.answers({"elements": [element("POOL_2", email=True, phone=False, firstName=True)], "nextPage": None})
    found = directories.find_directory(api.client, "POOL_2")
    assert found == Directory("POOL_2", None, True, frozenset({"email", "firstName"}))


@pytest.mark.parametrize(
    ("criteria", "deduplicates"), [({"email": True}, True), ({"email": False}, False), ({}, False)]
)
def test_directory_deduplicates_by_any_criterion(api: Api, criteria: dict[str, bool], deduplicates: bool) -> None:
    """One criterion makes an import safe to repeat, none does not."""
    api.answers({"elements": [element("POOL_1", **criteria)]})
    assert directories.find_directory(api.client, "POOL_1").deduplicates is deduplicates


def test_missing_directory_names_the_setting_and_what_there_is(api: Api) -> None:
    """Who wrote a wrong id sees the right ones."""
    api.answers({"elements": [element("POOL_1"), element("POOL_2")]})
    with pytest.raises(ConfigurationError) as caught:
        directories.find_directory(api.client, "POOL_9")
    assert str(caught.value) == (
        "The credentials see no directory POOL_9; they see POOL_1, POOL_2. "
        "Correct qualtrics.directory_id in config/dev.yml, or use the credentials of another user."
    )
