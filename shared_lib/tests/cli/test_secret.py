"""`qetl secret`: the value goes to AWS and is shown nowhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Make = Callable[..., Path]


def qetl_secret(root: Path, *arguments: str, value: str = "canary") -> subprocess.CompletedProcess[str]:
    """Run the command with the value on standard input, and without any AWS credentials."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(root), "AWS_EC2_METADATA_DISABLED": "true"}
    command = [sys.executable, "-m", "qualtrics_etl", "secret", *arguments]
    return subprocess.run(command, cwd=root, input=value, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(make_repository: Make) -> Path:
    """A repository with a stage dev."""
    root = make_repository()
    config = (root / "config" / "local.yml").read_text().replace("stage: local", "stage: dev")
    (root / "config" / "dev.yml").write_text(config)
    return root


@pytest.mark.parametrize(
    ("arguments", "value", "message"),
    [
        (
            ("qualtrics_token", "--stage", "dev"),
            "canary",
            (
                "error: Nothing reads a secret 'qualtrics_token' in stage dev; nothing was changed."
                " Its settings ask for: qualtrics_api_token, sftp_private_key.\n"
            ),
        ),
        (
            ("qualtrics_client_id", "--stage", "local"),
            "canary",
            (
                "error: Nothing reads a secret 'qualtrics_client_id' in stage local; nothing was changed."
                " Its settings ask for: qualtrics_api_token, sftp_private_key.\n"
            ),
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    repository: Path, arguments: tuple[str, ...], value: str, message: str
) -> None:
    """A misspelt name, or one that this stage's settings don't ask for: nothing is sent, exit code 2."""
    result = qetl_secret(repository, *arguments, value=value)
    assert (result.returncode, result.stderr) == (2, message)


def test_failure_never_shows_the_value(repository: Path) -> None:
    """Without credentials the text says so, before the value is used, and never shows it."""
    result = qetl_secret(repository, "qualtrics_api_token", "--stage", "dev")
    assert result.returncode == 2
    assert result.stderr.startswith("error: There are no usable AWS credentials")
    assert "canary" not in result.stdout + result.stderr
