"""What one entry of the corpus is, and what its cases may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qualtrics_etl.errors import QualtricsEtlError

if TYPE_CHECKING:
    from shared_lib.tests.steps.conftest import Client, Place, Poster


@dataclass(frozen=True)
class Arena:
    """Where a case happens; what it does not ask for is not started."""

    request: pytest.FixtureRequest

    @property
    def folder(self) -> Path:
        """A folder of the case's own."""
        found = self.request.getfixturevalue("tmp_path")
        assert isinstance(found, Path)
        return found

    @property
    def place(self) -> Place:
        """Where steps run."""
        found: Place = self.request.getfixturevalue("place")
        return found

    @property
    def client(self) -> Client:
        """The client's SFTP server."""
        found: Client = self.request.getfixturevalue("client")
        return found

    @property
    def poster(self) -> Poster:
        """A client that POSTs."""
        found: Poster = self.request.getfixturevalue("poster")
        return found


Act = Callable[[Arena], Any]


@dataclass(frozen=True)
class Case:
    """Something hostile, and what is expected of it.

    Attributes:
        name: What it is.
        act: Hands it to the library; returns what came of it.
        error: The exact class of the error it ends in; None where it is survived.
        says: Pieces of the error's text, or of the text that `act` returns: the fault and its place.
        gives: What `act` returns; not looked at where `error` or `says` is given.
        needs_remedy: Whether the reader has something to do.
    """

    name: str
    act: Act
    error: type[QualtricsEtlError] | None = None
    says: tuple[str, ...] = ()
    gives: object = None
    needs_remedy: bool = True
