"""What AWS and boto3 raise, turned into our errors by a table: what happens to the message next, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qualtrics_etl.errors import (
    ConfigurationError,
    PermanentError,
    PreconditionFailedError,
    QualtricsEtlError,
    RetryableError,
)

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_GRANT = (
    "Add the permission to what Terraform grants this kind of step, deploy, then send the message back. "
    "(S3 answers the same for a missing object when the role may not list the bucket.)"
)
_CREATE = "Apply Terraform for this stage, then deploy the functions again."
_SIGN_IN = "Sign in to the stage's AWS account again; on Lambda, look at the function's role."
_REGION = "Set AWS_REGION and credentials of the stage's account; on Lambda, both are there by themselves."
_CORRECT = "AWS refuses the request itself: correct what the step sends, then send the message back."

_BY_CODE: Mapping[str, tuple[type[QualtricsEtlError], str]] = {
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "AllAccessDisabled"), (PermanentError, _GRANT)),
    **dict.fromkeys(
        ("NoSuchBucket", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"), (ConfigurationError, _CREATE)
    ),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"),
        (ConfigurationError, _SIGN_IN),
    ),
    # Temporary credentials are renewed by whoever gave them, and clocks are set right: worth another delivery.
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestTimeTooSkewed"), (RetryableError, _SIGN_IN)
    ),
    **dict.fromkeys(
        (
            "ConditionalRequestConflict",
            "InternalError",
            "KMS.ThrottlingException",
            "KmsThrottled",
            "OperationAborted",
            "OverLimit",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestTimeout",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
        ),
        (RetryableError, ""),
    ),
    **dict.fromkeys(("MessageNotInflight", "ReceiptHandleIsInvalid"), (RetryableError, "")),
}
"""Error code to what it means for us. Other codes go by their status: 5xx and 429 are retryable, the rest permanent.

Source: Amazon S3 API reference, error responses; Amazon SQS and AWS Systems Manager API references, common errors."""


@contextmanager
def aws_failures(doing: str) -> Iterator[None]:
    """Turn what boto3 raises inside into our errors.

    Args:
        doing: What is being done, and to what: the beginning of the error's sentence.
    """
    try:
        yield
    except Exception as exc:
        ours = translate(exc, doing)
        if ours is None:
            raise
        raise ours from exc


def translate(exc: Exception, doing: str) -> QualtricsEtlError | None:
    """Return our error for one of boto3's; None for anything else."""
    # Imported here: by the time something failed, botocore is loaded anyway.
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    if isinstance(exc, ClientError):
        return _from_answer(exc, doing)
    if isinstance(exc, BotoCoreError):
        return _from_client(exc, doing)
    if isinstance(exc, HTTPError):
        # Not caught by botocore where it reads the body of a refusal of what is streamed otherwise (GetObject).
        return RetryableError(f"{doing} failed: the connection broke ({type(exc).__name__}).")
    return None


def error_code(exc: ClientError) -> str:
    """Return AWS's code of an error, for example `NoSuchKey`."""
    return exc.response.get("Error", {}).get("Code", "")


def _from_answer(exc: ClientError, doing: str) -> QualtricsEtlError:
    code, metadata = error_code(exc), exc.response.get("ResponseMetadata", {})
    said = exc.response.get("Error", {}).get("Message", "")
    what = f"{doing} failed: {code}, {said.rstrip('.')} (AWS request {metadata.get('RequestId', 'unknown')})."
    if code in ("PreconditionFailed", "412"):
        return PreconditionFailedError(what)
    if code.isdecimal() and metadata.get("HTTPStatusCode", 0) < 500:
        # botocore's words for a refusal whose body it can't read: broken off, or not from AWS. It decides nothing.
        return RetryableError(what)
    kind, remedy = _BY_CODE.get(code) or _by_status(metadata.get("HTTPStatusCode", 0))
    return kind(what, remedy=remedy)


def _by_status(status: int) -> tuple[type[QualtricsEtlError], str]:
    return (RetryableError, "") if status >= 500 or status == 429 else (PermanentError, _CORRECT)


def _from_client(exc: Exception, doing: str) -> QualtricsEtlError:
    from botocore import exceptions

    what = f"{doing} failed: {exc}"
    if isinstance(exc, exceptions.ParamValidationError):
        return PermanentError(what, remedy=_CORRECT)
    settings = (
        exceptions.CredentialRetrievalError,
        exceptions.NoCredentialsError,
        exceptions.NoRegionError,
        exceptions.PartialCredentialsError,
        exceptions.ProfileNotFound,
        exceptions.SSOError,
    )
    if isinstance(exc, settings):
        return ConfigurationError(what, remedy=_REGION)
    # Connections that fail, break or stay silent, and what a newer botocore may add.
    return RetryableError(what)
