"""Environments that all deployed repositories share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.terraform.environments import BUILD


@pytest.fixture(scope="session")
def tools() -> Path:
    """A folder for the environments of generated repositories, which their Makefile makes and makes anew."""
    folder = BUILD / "tools"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
