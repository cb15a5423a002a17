"""What every source of secrets promises, and what each says when a secret is missing."""

from __future__ import annotations

import pytest

from qualtrics_etl.aws.secrets import SsmSecrets, set_secret
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.secrets import EnvironmentSecrets, FixedSecrets

WORLDS = ("environment", "fixed", "moto", "ministack")

DEVIATIONS: dict[str, dict[str, str]] = {}

LEFT_OUT: dict[str, dict[str, str]] = {}


def test_secret_is_found_by_its_name(world) -> None:
    """A value that was set is returned in clear, every time."""
    secrets = world.make_secrets("qualtrics_api_token", "t0k=en ü")

    assert [secrets.get("qualtrics_api_token") for _ in range(2)] == ["t0k=en ü"] * 2


def test_missing_secret_is_a_configuration_error(world) -> None:
    """A secret that was never set is named, and so is what sets it."""
    secrets = world.make_secrets("qualtrics_api_token", "x")

    with pytest.raises(ConfigurationError) as caught:
        secrets.get("sftp_password")

    assert "sftp_password" in caught.value.what
    assert caught.value.remedy


def test_missing_variable_is_named() -> None:
    """On a developer's machine the remedy is a line for the shell."""
    with pytest.raises(ConfigurationError) as caught:
        EnvironmentSecrets({"QETL_SECRET_SFTP_PASSWORD": ""}).get("sftp_password")

    assert str(caught.value) == (
        "There is no secret sftp_password: the environment variable QETL_SECRET_SFTP_PASSWORD is not set. "
        "Set it in your shell: `export QETL_SECRET_SFTP_PASSWORD=...`."
    )


def test_missing_fixed_secret_tells_which_there_are() -> None:
    """A test that forgot a secret reads which ones it gave."""
    with pytest.raises(ConfigurationError, match="no secret b among those given: a, c"):
        FixedSecrets({"c": "1", "a": "2"}).get("b")


def test_missing_parameter_names_the_command_that_sets_it(emulator_ssm) -> None:
    """On AWS the remedy is the command that sets the secret of that stage."""
    with pytest.raises(ConfigurationError) as caught:
        SsmSecrets("/acme/staging", emulator_ssm).get("qualtrics_api_token")

    assert str(caught.value) == (
        "There is no secret qualtrics_api_token: SSM has no parameter /acme/staging/qualtrics_api_token. "
        "Set it: `make secret NAME=qualtrics_api_token STAGE=staging`."
    )


def test_parameter_that_was_never_set_is_no_secret(emulator_ssm) -> None:
    """Terraform's placeholder must not go to Qualtrics as a token."""
    emulator_ssm.put_parameter(Name="/acme/fresh/token", Value="unset", Type="SecureString")
    with pytest.raises(ConfigurationError) as caught:
        SsmSecrets("/acme/fresh", emulator_ssm).get("token")

    assert str(caught.value) == (
        "There is no secret token: the parameter /acme/fresh/token was never set. "
        "Set it: `make secret NAME=token STAGE=fresh`."
    )


def test_secret_is_written_over_the_one_before(emulator_ssm) -> None:
    """Setting twice leaves the second value, encrypted."""
    for value in ("first", "second"):
        assert set_secret("/acme/dev", "token", value, region="eu-west-1", client=emulator_ssm) == "/acme/dev/token"

    assert SsmSecrets("/acme/dev", emulator_ssm).get("token") == "second"
    assert emulator_ssm.get_parameter(Name="/acme/dev/token")["Parameter"]["Type"] == "SecureString"


def test_secret_is_asked_for_again_after_five_minutes(emulator_ssm) -> None:
    """Messages in a row share one answer of SSM, and a value set anew is used soon without a deploy."""
    now = [0.0]
    secrets = SsmSecrets("/acme/rotated", emulator_ssm, elapsed=lambda: now[0])
    emulator_ssm.put_parameter(Name="/acme/rotated/token", Value="old", Type="SecureString")
    first = secrets.get("token")
    emulator_ssm.put_parameter(Name="/acme/rotated/token", Value="new", Type="SecureString", Overwrite=True)

    kept = secrets.get("token")
    now[0] = 300.0

    assert (first, kept, secrets.get("token")) == ("old", "old", "new")
