"""Credentials: what is sent, when a token is fetched, and which secret an error names."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from qualtrics_etl.errors import ConfigurationError, NotYetError, RetryableError
from qualtrics_etl.qualtrics import ApiToken, OAuthClientCredentials
from qualtrics_etl.qualtrics.registry import CREATE_DISTRIBUTION, WHO_AM_I

if TYPE_CHECKING:
    from conftest import Api

REMEDY = (
    "Set them anew with `make secret NAME=qualtrics_client_id STAGE=dev` and `make secret "
    "NAME=qualtrics_client_secret STAGE=dev`, or check qualtrics.datacenter in config/dev.yml: "
    "each data center knows its own only."
)


def oauth() -> OAuthClientCredentials:
    """Make credentials that know two scopes."""
    return OAuthClientCredentials("my-id", "my-secret", ["read:surveys", "manage:directories"])


def gives_token(api: Api, token: str, expires_in: object = 3600) -> None:
    """Answer the next request with a token."""
    api.raw(200, f'{{"access_token":"{token}","token_type":"Bearer","expires_in":{expires_in}}}'.encode())


def authorizations(api: Api) -> list[str]:
    """Return what each request proved itself with."""
    return [request.headers["Authorization"] for request in api.requests]


def test_token_is_fetched_as_the_reference_says(api: Api) -> None:
    """The secrets go as HTTP Basic, the scopes as one text, to the data center itself."""
    gives_token(api, "T1")
    api.answers({})
    api.client_with(oauth()).call(WHO_AM_I)
    fetch = api.requests[0]
    assert (fetch.method, fetch.url) == ("POST", "https://fra1.qualtrics.com/oauth2/token")
    assert fetch.headers["Authorization"] == "Basic bXktaWQ6bXktc2VjcmV0"
    assert parse_qs((fetch.body or b"").decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["read:surveys manage:directories"],
    }


def test_token_is_kept_and_renewed_a_minute_early(api: Api) -> None:
    """One token serves many calls, and none is used in its last minute."""
    client = api.client_with(oauth())
    gives_token(api, "T1")
    api.answers({})
    client.call(WHO_AM_I)
    api.clock.time += timedelta(seconds=3539)
    api.answers({})
    client.call(WHO_AM_I)
    api.clock.time += timedelta(seconds=1)
    gives_token(api, "T2")
    api.answers({})
    client.call(WHO_AM_I)
    assert authorizations(api)[1:] == ["Bearer T1", "Bearer T1", "Basic bXktaWQ6bXktc2VjcmV0", "Bearer T2"]


def test_token_that_was_taken_back_is_renewed_once(api: Api) -> None:
    """A 401 made nothing happen, so the call is made again with a new token."""
    gives_token(api, "T1")
    api.refuses(401, "DCD_7")
    gives_token(api, "T2")
    api.answers({"id": "EMD_1"})
    assert api.client_with(oauth()).call(CREATE_DISTRIBUTION, body=b"{}").result.text("id") == "EMD_1"


def test_second_401_names_the_secrets(api: Api) -> None:
    """A token that is refused as soon as it is made is a matter for a person."""
    for token in ("T1", "T2"):
        gives_token(api, token)
        api.refuses(401, "DCD_7")
    with pytest.raises(ConfigurationError) as caught:
        api.client_with(oauth()).call(WHO_AM_I)
    assert (caught.value.remedy, len(api.requests)) == (REMEDY, 4)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":"invalid_client","error_description":"my-secret is wrong"}', " invalid_client"),
        (b'{"error":"my-secret is wrong"}', ""),
        (b"<html>", ""),
    ],
)
def test_refused_secrets_are_named_not_shown(api: Api, body: bytes, words: str) -> None:
    """The error says which secrets to set, and repeats nothing that an answer may echo."""
    api.raw(401, body)
    with pytest.raises(ConfigurationError) as caught:
        api.client_with(oauth()).call(WHO_AM_I)
    assert str(caught.value) == f"fetch_token: status 401{words}. {REMEDY}"


def test_call_was_not_made_when_fetching_fails(api: Api) -> None:
    """An invitation whose token could not be fetched was certainly not sent."""
    client = api.client_with(oauth())
    api.refuses(503)
    api.fails(RetryableError("cut", call_made=True))
    api.raw(200, b'{"access_token":null}')
    for _ in range(3):
        with pytest.raises(RetryableError) as caught:
            client.call(CREATE_DISTRIBUTION, body=b"{}")
        assert caught.value.call_made is False


def test_throttled_fetch_is_obeyed(api: Api) -> None:
    """Fetching may be throttled like any call."""
    api.raw(429, b"", retry_after="9")
    with pytest.raises(NotYetError) as caught:
        api.client_with(oauth()).call(WHO_AM_I)
    assert (caught.value.delay_seconds, caught.value.call_made) == (9.0, False)


@pytest.mark.parametrize("lifetime", ["null", '"3600"', "1e300", "-5", "true"])
def test_any_lifetime_is_survived(api: Api, lifetime: str) -> None:
    """An odd lifetime costs another fetch, never a call."""
    gives_token(api, "T1", lifetime)
    api.answers({})
    assert api.client_with(oauth()).call(WHO_AM_I).request_id == "r-1"


def test_line_break_around_a_token_is_dropped(api: Api) -> None:
    """A secret that was set from a file works."""
    api.answers({})
    api.client_with(ApiToken("abc\n")).call(WHO_AM_I)
    assert api.requests[0].headers["X-API-TOKEN"] == "abc"


@pytest.mark.parametrize("token", ["", " \n", "a b", "a\r\nX:y", "tokén"])
def test_token_that_fits_no_header_is_refused(api: Api, token: str) -> None:
    """A malformed secret is named, not shown, and nothing is sent."""
    with pytest.raises(ConfigurationError) as caught:
        api.client_with(ApiToken(token)).call(WHO_AM_I)
    assert "qualtrics_api_token is empty, or has characters" in caught.value.what
    assert "make secret NAME=qualtrics_api_token STAGE=dev" in caught.value.remedy
    assert api.requests == []


def test_credentials_hide_their_secrets(api: Api) -> None:
    """Nothing that is printed holds a secret, also after a token was fetched."""
    credentials = oauth()
    gives_token(api, "T1-bearer")
    api.answers({})
    api.client_with(credentials).call(WHO_AM_I)
    assert repr(credentials) == "OAuthClientCredentials(scopes=('read:surveys', 'manage:directories'))"
    assert repr(ApiToken("abc")) == "ApiToken()"
