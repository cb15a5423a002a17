"""POSTs to the deployed API: through a real HTTP API to the function, and from there all the way."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Bake
from tests.deployment.aws_state import aws_state
from tests.deployment.deployable import Deployable, deployable
from tests.deployment.test_deployed import SAMPLE, client, lists, scheduled, wait
from tests.terraform.conftest import REGION

from qualtrics_etl.channels.signatures import SignedPost, post_headers
from qualtrics_etl.local.posts import LOCAL_SIGNING_SECRET

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deployment")]


@pytest.fixture
def repository(baked: Bake, tools: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Deployable]:
    """A repository whose contacts are POSTed, with a place on this machine of its own."""
    with deployable(baked(inbound="post"), tmp_path / "acme-etl", tools, environment) as made:
        yield made


def send(url: str, content: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """POST, and return status and content of the answer."""
    request = urllib.request.Request(url, content, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_posts_go_all_the_way_once(repository: Deployable) -> None:
    """A signed POST becomes a list and mails, its repeat nothing; what is unsigned, stale or changed is refused."""
    repository.make("deploy", "STAGE=local")
    said = repository.make("post", "STAGE=local", f"FILE={SAMPLE}")
    url = said.split("POST ")[1].split("\n")[0]
    wait(repository, lambda: len(scheduled(repository)) == 2)
    assert said.split(": run ")[1] == repository.make("post", "STAGE=local", f"FILE={SAMPLE}").split(": run ")[1]

    content, now = b"email\nana@client.example\n", datetime.now(UTC)
    headers = post_headers(SignedPost("receive_post", "contacts-1", "c.csv", content), LOCAL_SIGNING_SECRET, now)
    stale = post_headers(
        SignedPost("receive_post", "contacts-1", "c.csv", content), LOCAL_SIGNING_SECRET, now - timedelta(hours=1)
    )
    unsigned = {name: value for name, value in headers.items() if name != "X-Signature"}
    refused = [send(url, content, unsigned), send(url, content + b"x", headers), send(url, content, stale)]
    assert [status for status, _ in refused] == [401, 401, 401]
    assert all(answer["error"] and answer["remedy"] for _, answer in refused)

    assert [each["contactCount"] for each in lists(repository)] == [194]
    assert sorted(each["kind"] for each in scheduled(repository)) == ["Invite", "Reminder"]
    apis = client(repository, "apigatewayv2").get_apis
    assert [each["Name"] for each in apis()["Items"]] == ["acme-etl-local"]
    repository.make("destroy", "STAGE=local", "YES=1")
    assert (aws_state(repository.endpoint, REGION), apis()["Items"]) == ({}, [])
