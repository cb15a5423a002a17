"""Directories, and by what they tell persons apart."""

from __future__ import annotations

from typing import Any

import pytest

from qualtrics_etl.simulator import DeduplicationCriteria, Directory, Seed

OTHER = "POOL_AnotherDirector"


def test_listing_says_how_a_directory_finds_duplicates(api: Any) -> None:
    """A client can see whether repeating an import is safe."""
    assert api.result("GET", "/directories?includeCount=true")["elements"] == [
        {
            "directoryId": "POOL_ExampleDirector",
            "name": "Example directory",
            "contactCount": 0,
            "isDefault": True,
            "deduplicationCriteria": {
                "email": True,
                "firstName": False,
                "lastName": False,
                "externalDataReference": False,
                "phone": False,
            },
        }
    ]


@pytest.mark.parametrize(
    ("criteria", "second", "people"),
    [
        (DeduplicationCriteria(), {"email": "a@example.com", "extRef": "1"}, 2),
        (DeduplicationCriteria(email=True), {"email": "A@Example.com"}, 1),
        (DeduplicationCriteria(email=True), {"extRef": "1"}, 2),
        (DeduplicationCriteria(email=True, externalDataReference=True), {"email": "a@example.com", "extRef": "2"}, 2),
        (DeduplicationCriteria(email=True, externalDataReference=True), {"email": "a@example.com", "extRef": "1"}, 1),
    ],
)
def test_persons_are_one_when_all_criteria_are_equal(
    api: Any, criteria: DeduplicationCriteria, second: dict[str, str], people: int
) -> None:
    """Two contacts merge when every field of the criteria is there and equal, and only then."""
    api.simulator.state.add(Seed(directories=[Directory(OTHER, deduplication=criteria)]))
    created = api.result("POST", f"/directories/{OTHER}/mailinglists", {"name": "x"})["id"]
    path = f"/directories/{OTHER}/mailinglists/{created}/contacts"
    ids = {api.result("POST", path, each)["id"] for each in ({"email": "a@example.com", "extRef": "1"}, second)}
    assert len(ids) == people == len(api.result("GET", path)["elements"])


def test_persons_without_the_field_are_never_one(api: Any) -> None:
    """Two contacts without an address are two persons where the address decides."""
    path = api.list_with({"extRef": "1"}, {"extRef": "1"})
    assert api.result("GET", path)["contactCount"] == 2


def test_unknown_directory_is_404(api: Any) -> None:
    """A directory that does not exist is named in the refusal."""
    refusal = api.refusal("GET", f"/directories/{OTHER}/mailinglists")
    assert refusal == (404, "DIRECTORY_NOT_FOUND", f"Directory {OTHER} not found")
