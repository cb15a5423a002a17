"""Which way a stage leads: to AWS or to this machine, and never by accident to the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qualtrics_etl.deployment.preflight import check_all
from qualtrics_etl.deployment.stage import open_stage
from qualtrics_etl.errors import ConfigurationError

Make = Callable[..., Path]


@pytest.fixture
def repository(make_repository: Make) -> Path:
    """A repository with a stage dev."""
    root = make_repository()
    config = (root / "config" / "local.yml").read_text().replace("stage: local", "stage: dev")
    (root / "config" / "dev.yml").write_text(config)
    return root


def test_stage_has_its_names(repository: Path) -> None:
    """Names on AWS are made of the client's name, the stage and the account."""
    stage = open_stage(repository, "dev", {"PATH": "/bin"})
    assert stage.bucket("state") == "acme-etl-dev-state-000000000000"
    assert (stage.prefix, stage.parameters, stage.target) == ("acme-etl-dev", "/acme-etl/dev", "aws")
    assert stage.environment == {"PATH": "/bin", "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}
    assert stage.access.endpoint_url is None


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_left_over_endpoint_is_refused(repository: Path, name: str) -> None:
    """A deploy that goes elsewhere than it says would be noticed too late."""
    with pytest.raises(ConfigurationError, match=f"{name} is set, so stage dev would not go to AWS") as caught:
        open_stage(repository, "dev", {name: "http://127.0.0.1:4566"})
    assert f"unset {name}" in caught.value.remedy


def test_stage_without_configuration_is_refused(repository: Path) -> None:
    """The stages that there are, are named."""
    with pytest.raises(ConfigurationError, match="there is no stage test") as caught:
        open_stage(repository, "test", {})
    assert caught.value.remedy == "Stages here: dev, local."


def test_everything_that_is_missing_is_told_at_once() -> None:
    """Nobody has to run a command once for each thing that it needs."""

    def fail(what: str) -> None:
        raise ConfigurationError(what, remedy="Mend it.")

    with pytest.raises(ConfigurationError) as caught:
        check_all([lambda: fail("No bread."), lambda: None, lambda: fail("No salt.")])
    assert str(caught.value) == (
        "2 things are missing; nothing was changed.\n  1. No bread. Mend it.\n  2. No salt. Mend it."
    )
