"""The identity provider through which pipelines of a CI host reach an account: one a host, shared by its stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.failures import aws_failures

Host = Literal["github", "gitlab"]
ISSUERS: Mapping[str, tuple[str, str]] = {
    "github": ("https://token.actions.githubusercontent.com", "sts.amazonaws.com"),
    "gitlab": ("https://gitlab.com", "https://gitlab.com"),
}
"""Address of each host's issuer, and the audience that pipelines ask tokens for.

Source: GitHub documentation, OpenID Connect in Amazon Web Services; GitLab documentation, connect to cloud services."""


def ensure_provider(access: AwsAccess, host: Host) -> bool:
    """Make the provider of a CI host, or add our audience to the one that is there; return whether anything was done.

    It may serve other repositories as well, so nothing of it is ever taken away.
    """
    client, (url, audience) = access.client("iam"), ISSUERS[host]
    with aws_failures(f"Preparing the account for pipelines of {host}"):
        arns = [each["Arn"] for each in client.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
        arn = next((each for each in arns if each.partition("/")[2] == url.removeprefix("https://")), None)
        if arn is None:
            client.create_open_id_connect_provider(Url=url, ClientIDList=[audience])
            return True
        if audience not in client.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"]:
            client.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=audience)
            return True
    return False
