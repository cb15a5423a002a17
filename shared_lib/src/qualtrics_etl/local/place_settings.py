"""What the place on this machine is like: read from config/local.yml, which the functions in it read too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.emulator import LOOPBACK
from qualtrics_etl.local.posts import LOCAL_SIGNING_SECRET
from qualtrics_etl.local.run import LOCAL_PASSWORD, LOCAL_TOKEN, seed_of
from qualtrics_etl.settings import SftpSettings, read_config
from qualtrics_etl.simulator import Seed
from qualtrics_etl.workflow import read_workflow
from qualtrics_etl.yaml_lines import YamlFile, read_yaml

STAGE = "local"
HOST_KEY_SENTENCE = "The SFTP server of the stage local: everybody knows this key, and it protects nothing."
LOCAL_SECRETS: Mapping[str, str] = {
    "qualtrics_api_token": LOCAL_TOKEN,
    "qualtrics_client_id": "example-client",
    "qualtrics_client_secret": "example-secret",
    "sftp_password": LOCAL_PASSWORD,
    "post_signing_secret": LOCAL_SIGNING_SECRET,
}
"""Every secret that the place knows, by the name that the steps ask for. They open nothing but the place."""


@dataclass(frozen=True, slots=True)
class PlaceSettings:
    """What the place is like.

    Attributes:
        file: config/local.yml, for the lines of its values.
        region: The AWS region that the emulator plays.
        base_url: Where the simulated Qualtrics listens.
        directory_id: The directory that it has.
        sftp: How the client's SFTP server is reached; None when the workflow needs none.
        seed: What the simulated Qualtrics knows from the start.
    """

    file: YamlFile
    region: str
    base_url: str
    directory_id: str
    sftp: SftpSettings | None
    seed: Seed

    @property
    def port(self) -> int:
        """The port of the simulated Qualtrics."""
        return _port_of(self.base_url) or 0

    def where(self, *path: str) -> str:
        """Return the place of a value, as errors name it."""
        return f"config/{STAGE}.yml:{self.file.line_of(*path)}"


def read_place_settings(root: Path) -> PlaceSettings:
    """Read and check what concerns the place in a generated repository's workflow.yml and config/local.yml.

    Raises:
        ConfigurationError: Something is missing, or leads away from this machine; names the line.
    """
    workflow, config = read_workflow(root), read_config(root, STAGE)
    settings = PlaceSettings(
        file=read_yaml(root / "config" / f"{STAGE}.yml"),
        region=config.aws_region,
        base_url=config.qualtrics.base_url or "",
        directory_id=config.qualtrics.directory_id,
        sftp=config.sftp,
        seed=seed_of(workflow, config),
    )
    _check_base_url(settings)
    if config.sftp is not None:
        _check_sftp(settings, config.sftp)
    return settings


def _check_base_url(settings: PlaceSettings) -> None:
    parts = urlsplit(settings.base_url)
    if (parts.scheme, parts.hostname) != ("http", LOOPBACK) or not settings.port:
        raise ConfigurationError(
            f"{settings.where('qualtrics', 'base_url')}: the simulated Qualtrics of this machine has no address here.",
            remedy=f"Write below `qualtrics:` base_url: http://{LOOPBACK}:8138, or another port above 1023.",
        )


def _check_sftp(settings: PlaceSettings, sftp: SftpSettings) -> None:
    if sftp.host != LOOPBACK or sftp.port < 1024:
        raise ConfigurationError(
            f"{settings.where('sftp', 'host')}: the SFTP server of this machine has no address here.",
            remedy=f"Write below `sftp:` host: {LOOPBACK} and port: 8122, or another port above 1023.",
        )
    if sftp.auth != "password":
        raise ConfigurationError(
            f"{settings.where('sftp', 'auth')}: the SFTP server of this machine knows no log-in by key.",
            remedy="Write below `sftp:` auth: password.",
        )


def _port_of(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:  # above 65535
        return None
