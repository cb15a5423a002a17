"""Which account, region and address of AWS a stage lives at, and whether the credentials at hand lead there."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from qualtrics_etl.aws.clients import make_config
from qualtrics_etl.aws.failures import aws_failures, error_code
from qualtrics_etl.errors import ConfigurationError

if TYPE_CHECKING:
    from boto3.session import Session

READ_TIMEOUT_SECONDS = 30
"""Of commands that a person waits for; the functions' own clients give up earlier."""
POOL = 16
"""Connections of a client that several threads use."""

_SIGN_IN = "Sign in (`aws sso login`, or set AWS_PROFILE), then try again."
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_UNKNOWN = ("InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException", "SignatureDoesNotMatch")


@dataclass(frozen=True, slots=True)
class AwsAccess:
    """How a stage's AWS is reached.

    Attributes:
        region: For example `eu-west-1`.
        endpoint_url: Address of an emulator; None for AWS itself.
        keys: Access key and secret key that an emulator takes; None for what the environment offers.
    """

    region: str
    endpoint_url: str | None = None
    keys: tuple[str, str] | None = field(default=None, repr=False)

    def session(self) -> Session:
        """Return the boto3 session of this access, one for a process."""
        with aws_failures("Starting a session with AWS"):
            return _session(self)

    def clients(self, *services: str) -> list[Any]:
        """Return a client for each service, for example `s3`; clients may be used by several threads."""
        return [self.client(each) for each in services]

    def client(self, service: str) -> Any:
        """Return the client of one service."""
        with aws_failures(f"Making the client of {service}"):
            return _client(self, service)


# Loading a service's definition takes longer than most calls, so each is made once.
@cache
def _session(access: AwsAccess) -> Session:
    from boto3.session import Session

    if access.keys is None:
        return Session(region_name=access.region)
    key, secret = access.keys
    return Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=access.region)


@cache
def _client(access: AwsAccess, service: str) -> Any:
    from botocore.config import Config

    config = make_config(READ_TIMEOUT_SECONDS).merge(Config(max_pool_connections=POOL))
    return _session(access).client(service, endpoint_url=access.endpoint_url, config=config)  # type: ignore[call-overload]


def caller_account(access: AwsAccess) -> str:
    """Return the account (12 digits) that the credentials belong to, asked in the stage's own region.

    Raises:
        ConfigurationError: No credentials, expired ones, unknown ones, or a region that is not there for them.
        QualtricsEtlError: AWS can't be reached.
    """
    from botocore import exceptions

    try:
        return str(_identity(access))
    except exceptions.ClientError as exc:
        raise _refused(access, exc) from exc
    except exceptions.EndpointConnectionError as exc:
        if access.endpoint_url is None and access.region not in _known_regions(access):
            raise _no_such_region(access) from exc
        with aws_failures("Asking AWS who we are"):
            raise
    except (
        exceptions.CredentialRetrievalError,
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.ProfileNotFound,
        exceptions.SSOError,
    ) as exc:
        raise ConfigurationError(
            f"There are no usable AWS credentials: {exc}".rstrip(".") + ".", remedy=_SIGN_IN
        ) from exc
    except exceptions.BotoCoreError:
        with aws_failures("Asking AWS who we are"):
            raise


def check_account(access: AwsAccess, expected: str, config: str) -> None:
    """Refuse credentials of another account than the one that the stage names.

    Args:
        access: Where to ask.
        expected: The account of the stage, 12 digits.
        config: The file that names it, for the error.

    Raises:
        ConfigurationError: Another account, or what `caller_account` finds.
    """
    account = caller_account(access)
    if account != expected:
        raise ConfigurationError(
            f"These credentials belong to account {account}, and {config} names {expected}.",
            remedy=f"Use credentials of {expected} (AWS_PROFILE), or correct aws_account_id in {config}.",
        )


def _identity(access: AwsAccess) -> object:
    session = access.session()
    client = session.client(
        "sts",
        # Asked for outright: the one global address of STS would answer for every region, enabled or not.
        endpoint_url=access.endpoint_url or _sts_address(session, access.region),
        config=make_config(READ_TIMEOUT_SECONDS),
    )
    return client.get_caller_identity()["Account"]


def _sts_address(session: Session, region: str) -> str:
    china = session.get_partition_for_region(region) == "aws-cn"
    return f"https://sts.{region}.amazonaws.com{'.cn' if china else ''}"


def _refused(access: AwsAccess, exc: Any) -> ConfigurationError:
    code = error_code(exc)
    if code in _EXPIRED:
        return ConfigurationError("The AWS credentials have expired.", remedy=_SIGN_IN)
    if code in _UNKNOWN and _works_elsewhere(access):
        return ConfigurationError(
            f"The account has not enabled the region {access.region}.",
            remedy=f"Enable it (`aws account enable-region --region-name {access.region}`), or correct aws_region.",
        )
    if code in _UNKNOWN:
        return ConfigurationError(f"AWS does not know these credentials ({code}).", remedy=_SIGN_IN)
    return ConfigurationError(f"AWS refuses these credentials: {exc}", remedy=_SIGN_IN)


def _works_elsewhere(access: AwsAccess) -> bool:
    """Tell whether the credentials are good in a region that every account has (a disabled one knows no tokens)."""
    from botocore import exceptions

    if access.endpoint_url is not None:
        return False
    try:
        _identity(AwsAccess("us-east-1", None, access.keys))
    except (exceptions.ClientError, exceptions.BotoCoreError):
        return False
    return True


def _known_regions(access: AwsAccess) -> list[str]:
    session = access.session()
    return [
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("sqs", partition_name=partition)
    ]


def _no_such_region(access: AwsAccess) -> ConfigurationError:
    return ConfigurationError(
        f"AWS has no region {access.region}.", remedy="Correct aws_region in the stage's configuration."
    )
