"""Mailing lists of a directory. Names are not known to be unique: finding before creating is the caller's job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import orjson

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.qualtrics.http import Client
from qualtrics_etl.qualtrics.registry import CREATE_MAILING_LIST, LIST_MAILING_LISTS

MAX_NAME_LENGTH = 100
"""Source: Qualtrics API reference, page on creating mailing lists."""

_CHECK = "qualtrics.directory_id in config/<stage>.yml"


@dataclass(frozen=True, slots=True)
class MailingList:
    """A mailing list.

    Attributes:
        mailing_list_id: `CG_...`.
        name: As it was given.
        owner_id: `UR_...` or `GR_...`; None where the answer has none.
        created_at: UTC; None where the answer has none.
    """

    mailing_list_id: str
    name: str
    owner_id: str | None
    created_at: datetime | None


def build_create_body(name: str, owner_id: str | None = None) -> bytes:
    """Build the request that creates a list.

    Args:
        owner_id: `UR_...` or `GR_...`; the credentials' user where it is left out.

    Raises:
        PermanentError: The name is empty or too long.
    """
    if not name.strip() or len(name) > MAX_NAME_LENGTH:
        what = f"A mailing list's name has 1 to {MAX_NAME_LENGTH} characters, this one has {len(name.strip())}."
        raise PermanentError(what, remedy="Correct the hook that chooses the name.")
    return orjson.dumps({"name": name} if owner_id is None else {"name": name, "ownerId": owner_id})


def create(client: Client, directory_id: str, body: bytes) -> str:
    """Create a list and return its id. A repeat makes a second one of the same name.

    Raises:
        QualtricsEtlError: What `Client.call` raises; a RetryableError too where the answer has no id.

    Source: Qualtrics API reference, page on creating mailing lists.
    """
    ids = {"directory_id": directory_id}
    return client.call(CREATE_MAILING_LIST, ids, body=body, check=_CHECK).result.identifier("id")


def list_all(client: Client, directory_id: str) -> Iterator[MailingList]:
    """Yield every list of a directory.

    Raises:
        QualtricsEtlError: What `Client.pages` raises.

    Source: Qualtrics API reference, page on listing mailing lists.
    """
    ids = {"directory_id": directory_id}
    for element in client.pages(LIST_MAILING_LISTS, ids, query={"pageSize": "100"}, check=_CHECK):
        yield MailingList(
            mailing_list_id=element.identifier("mailingListId", "id"),
            name=element.text_or_none("name") or "",
            owner_id=element.text_or_none("ownerId"),
            created_at=element.time_or_none("creationDate"),
        )


def find_by_name(client: Client, directory_id: str, name: str) -> list[MailingList]:
    """Return the lists of exactly this name: none, one, or several.

    Raises:
        QualtricsEtlError: What `Client.pages` raises.
    """
    return [mailing_list for mailing_list in list_all(client, directory_id) if mailing_list.name == name]
