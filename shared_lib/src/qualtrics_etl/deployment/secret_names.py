"""Which secrets the steps of a stage read, and which of them wait for a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qualtrics_etl.aws.parameters import secret_versions
from qualtrics_etl.settings import StageConfig

if TYPE_CHECKING:
    from qualtrics_etl.deployment.stage import Stage


def secret_names(config: StageConfig) -> list[str]:
    """Return the secrets of the logins that a stage's settings choose; terraform/modules/logins says the same."""
    token = ["qualtrics_api_token"]
    qualtrics = token if config.qualtrics.auth == "api_token" else ["qualtrics_client_id", "qualtrics_client_secret"]
    sftp = [] if config.sftp is None else [f"sftp_{config.sftp.auth}"]
    post = [] if config.post is None else ["post_signing_secret"]
    return [*qualtrics, *sftp, *post]


def missing_secrets(stage: Stage) -> list[str]:
    """Return the stage's secrets that have no parameter: its logins were changed since it was bootstrapped."""
    return [name for name, version in _versions(stage).items() if version == 0]


def unset_secrets(stage: Stage) -> list[str]:
    """Return the stage's secrets that nobody has given a value yet."""
    return [name for name, version in _versions(stage).items() if version <= 1]


def _versions(stage: Stage) -> dict[str, int]:
    return secret_versions(stage.access, stage.parameters, secret_names(stage.config))
