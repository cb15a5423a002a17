"""Who the credentials belong to, and the directories they may use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.qualtrics.envelope import Record
from qualtrics_etl.qualtrics.http import Client
from qualtrics_etl.qualtrics.registry import LIST_DIRECTORIES, WHO_AM_I

_CRITERIA = ("email", "firstName", "lastName", "externalDataReference", "phone")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose credentials these are.

    Attributes:
        user_id: `UR_...`.
        brand_id: The organisation's account.
        datacenter: Where the brand lives; another one in the settings works with an API token, but slower.
    """

    user_id: str
    brand_id: str
    datacenter: str | None


@dataclass(frozen=True, slots=True)
class Directory:
    """An XM Directory.

    Attributes:
        directory_id: `POOL_...`.
        name: None for a default directory that nobody named.
        is_default: Whether it is the brand's default.
        deduplication_criteria: The fields by which contacts count as the same, in Qualtrics' words, as `email`.
    """

    directory_id: str
    name: str | None
    is_default: bool
    deduplication_criteria: frozenset[str]

    @property
    def deduplicates(self) -> bool:
        """Whether importing a contact twice leaves one contact; only then may an import be repeated."""
        return bool(self.deduplication_criteria)


def whoami(client: Client) -> Identity:
    """Return whose credentials the client has: the cheapest call that proves them.

    Raises:
        QualtricsEtlError: What `Client.call` raises.

    Source: Qualtrics API reference, page on users (who am I).
    """
    result = client.call(WHO_AM_I).result
    return Identity(result.text("userId"), result.text("brandId"), result.text_or_none("datacenter"))


def list_directories(client: Client) -> Iterator[Directory]:
    """Yield the directories that the credentials may see.

    Raises:
        QualtricsEtlError: What `Client.pages` raises.

    Source: Qualtrics API reference, page on listing directories.
    """
    for element in client.pages(LIST_DIRECTORIES, query={"pageSize": "100"}, check="the rights of the credentials"):
        yield _read_directory(element)


def find_directory(client: Client, directory_id: str) -> Directory:
    """Return one directory, from the list: there is no call for a single one.

    Raises:
        ConfigurationError: The credentials see no such directory; names those they see.
    """
    seen: list[str] = []
    for directory in list_directories(client):
        if directory.directory_id == directory_id:
            return directory
        seen.append(directory.directory_id)
    raise ConfigurationError(
        f"The credentials see no directory {directory_id}; they see {', '.join(seen[:10]) or 'none'}.",
        remedy=f"Correct qualtrics.directory_id in config/{client.stage}.yml, or use the credentials of another user.",
    )


def _read_directory(element: Record) -> Directory:
    criteria = element.record("deduplicationCriteria")
    return Directory(
        directory_id=element.identifier("directoryId"),
        name=element.text_or_none("name"),
        is_default=element.flag("isDefault"),
        deduplication_criteria=frozenset(name for name in _CRITERIA if criteria.flag(name)),
    )
