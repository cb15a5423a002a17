"""A file as the client would POST it, on one machine: signed with a secret that opens nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from qualtrics_etl.channels.signatures import SignedPost, post_headers
from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.engine import Engine
from qualtrics_etl.messages import FilePosted
from qualtrics_etl.workflow import Workflow

LOCAL_SIGNING_SECRET = "LocalSigningSecretOfThisMachine00000000"  # noqa: S105 - opens nothing but this machine's API
ACCEPTED, UNAVAILABLE = 202, 503


def receiver_of(workflow: Workflow) -> str | None:
    """Return the service that takes the workflow's input as a POST; None where its first chain begins otherwise."""
    first = workflow.starts()[0]
    return first if workflow.services[first].step.starts_on is FilePosted else None


def content_post(service: str, file_name: str, content: bytes) -> SignedPost:
    """Return the POST of a content, whose key is made from it: the same content is the same POST."""
    return SignedPost(service, f"content-{hashlib.sha256(content).hexdigest()[:32]}", file_name, content)


def post_content(engine: Engine, service: str, file_name: str, content: bytes, at: datetime) -> Mapping[str, Any]:
    """POST a content to a service; return what its function answers."""
    post = content_post(service, file_name, content)
    return engine.post(service, post_headers(post, LOCAL_SIGNING_SECRET, at), content)


def check_accepted(service: str, status: int, content: Mapping[str, Any]) -> str:
    """Return the run that an accepted POST is.

    Raises:
        ConfigurationError: It was not accepted; says what the service answered.
    """
    if status != ACCEPTED:
        raise ConfigurationError(
            f"{service} answered {status}: {content.get('error') or content.get('message') or 'without a reason'}",
            remedy=str(content.get("remedy", "Look into its log.")),
        )
    return str(content["run"])
