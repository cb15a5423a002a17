"""`qetl post`: a file is POSTed to a deployed stage, signed as the client would sign it."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from qualtrics_etl.channels.http_requests import MAX_BODY_BYTES, TOO_LARGE_REMEDY
from qualtrics_etl.channels.signatures import SignedPost, post_headers, signing_secrets
from qualtrics_etl.cli.access import OpenStage, open_stage
from qualtrics_etl.errors import ConfigurationError, RetryableError
from qualtrics_etl.local.posts import check_accepted, content_post
from qualtrics_etl.messages import FilePosted

ANSWER_SECONDS = 60.0


def post(
    file: Annotated[Path, typer.Argument(help="The client's file.", show_default=False)],
    *,
    stage: Annotated[str, typer.Option(help="dev, staging, prod or local.", show_default=False)],
    service: Annotated[
        str | None, typer.Option(help="Which service takes it, where several do.", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="The Idempotency-Key; without it, one that is made from the content.", show_default=False),
    ] = None,
) -> None:
    """POST a file to a deployed stage, signed as the client signs it, and say which run it is.

    Address and secret are the stage's own; your AWS credentials must let you read the secret. The same file a second
    time has the same key, so it begins no second run; give another --key to have it done again.

    Exit code: 0 when it was accepted, 1 when there was no answer, 2 when it was not accepted; it says why.

    \b
    For example:
      qetl post tests/data/contacts.csv --stage dev
      qetl post tests/data/contacts.csv --stage dev --key contacts-2026-01-15
    """  # noqa: D301 - the command line reads \b as "keep these lines as they are"
    from qualtrics_etl.aws.http_api import api_url
    from qualtrics_etl.aws.secrets import SsmSecrets

    content = _content(file)
    _check_header("The file's name", file.name)
    _check_header("--key", key or "")
    opened = open_stage(Path.cwd(), stage)
    receiver = _receiver(opened, service)
    access = opened.access
    url = f"{api_url(access).rstrip('/')}/{receiver}"
    secrets = SsmSecrets(access.parameters, access.aws.client("ssm"))
    signed = content_post(receiver, file.name, content)
    signed = SignedPost(receiver, key or signed.idempotency_key, file.name, content)
    secret = signing_secrets(secrets.get("post_signing_secret"))[0]
    status, answer = _send(url, post_headers(signed, secret, datetime.now(UTC)), content)
    run = check_accepted(receiver, status, answer)
    typer.echo(f"POST {url}")
    typer.echo(f"{receiver} took {file.name} ({len(content)} bytes): run {run}.")
    typer.echo(f"What becomes of it: make logs STAGE={stage} RUN={run}")


def _content(file: Path) -> bytes:
    if not file.is_file():
        raise ConfigurationError(f"{file}: there is no such file.", remedy="Give the path of the client's file.")
    if file.stat().st_size > MAX_BODY_BYTES:
        raise ConfigurationError(f"{file} is larger than {MAX_BODY_BYTES} bytes.", remedy=TOO_LARGE_REMEDY)
    return file.read_bytes()


def _check_header(what: str, value: str) -> None:
    """Let pass what arrives in a header as it was signed: no other letters, and no blanks that are cut off.

    Raises:
        ConfigurationError: It would not.
    """
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise ConfigurationError(
            f"{what} can't be sent as it is: {value!a}.",
            remedy="Take letters without accents, digits and . _ - alone.",
        )


def _receiver(opened: OpenStage, service: str | None) -> str:
    receivers = [name for name, each in opened.workflow.services.items() if each.step.starts_on is FilePosted]
    if service is not None and opened.check_service(service) in receivers:
        return service
    if service is None and len(receivers) == 1:
        return receivers[0]
    what = "No service takes a POST." if not receivers else "Which service is meant is not said."
    named = f"Services that take one: {', '.join(receivers)}." if receivers else "A chain begins with `receive_post`."
    raise ConfigurationError(what if service is None else f"{service} takes no POST.", remedy=named)


def _send(url: str, headers: dict[str, str], content: bytes) -> tuple[int, dict[str, Any]]:
    """Send once; return status and content of the answer.

    Raises:
        RetryableError: There was no answer.
    """
    request = urllib.request.Request(url, content, headers, method="POST")  # noqa: S310 - the stage's own API
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - as above
            return answer.status, _read(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _read(error.read())
    except (OSError, http.client.HTTPException) as exc:
        raise RetryableError(f"{url} did not answer.", remedy="Send it again: the same file has the same key.") from exc


def _read(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
