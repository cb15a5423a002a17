"""Makes the client of a stage, from its settings and secrets."""

from __future__ import annotations

from qualtrics_etl.ports import Clock, Secrets
from qualtrics_etl.qualtrics.credentials import ApiToken, Credentials, OAuthClientCredentials
from qualtrics_etl.qualtrics.http import Client, base_url_of
from qualtrics_etl.qualtrics.pacing import Pace
from qualtrics_etl.qualtrics.transport import Transport
from qualtrics_etl.settings import StageConfig

SCOPES = (
    "read:directories",
    "manage:mailing_lists",
    "manage:mailing_list_contacts",
    "manage:distributions",
    "read:libraries",
    "read:surveys",
)
"""What the steps need, and nothing else. Source: Qualtrics API reference, page on OAuth scopes."""


def connect(
    config: StageConfig,
    secrets: Secrets,
    clock: Clock,
    *,
    transport: Transport | None = None,
    pace: Pace | None = None,
) -> Client:
    """Make the client that a stage's settings describe; nothing is sent yet.

    Raises:
        ConfigurationError: A secret is not set.
    """
    settings = config.qualtrics
    base_url = settings.base_url or base_url_of(settings.datacenter)
    return Client(base_url, _credentials(config, secrets), transport, stage=config.stage, clock=clock, pace=pace)


def _credentials(config: StageConfig, secrets: Secrets) -> Credentials:
    if config.qualtrics.auth == "api_token":
        return ApiToken(secrets.get("qualtrics_api_token"))
    return OAuthClientCredentials(secrets.get("qualtrics_client_id"), secrets.get("qualtrics_client_secret"), SCOPES)
