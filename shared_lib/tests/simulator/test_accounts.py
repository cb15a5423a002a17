"""Who may call."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from qualtrics_etl.simulator import OAuthClient, Seed

CREDENTIALS = ("example-client", "example-secret")


def token(api: Any, *, auth: tuple[str, str] | None = CREDENTIALS, **form: str) -> requests.Response:
    """Ask for an access token."""
    return requests.post(f"{api.base_url}/oauth2/token", auth=auth, data=form, timeout=5)


def whoami(api: Any, bearer: str) -> int:
    """Use an access token; say the status."""
    response = requests.get(f"{api.base_url}/API/v3/whoami", headers={"Authorization": f"Bearer {bearer}"}, timeout=5)
    return response.status_code


def test_whoami_tells_whose_token_it_is(api: Any) -> None:
    """The cheap canary for a token names brand, user and data centre."""
    assert api.result("GET", "/whoami") == {
        "brandId": "examplebrand",
        "userId": "UR_ExampleUser0001",
        "userName": "etl@example.com",
        "accountType": "UT_BRANDADMIN",
        "firstName": "Example",
        "lastName": "User",
        "email": "etl@example.com",
        "datacenter": "fra1",
    }


def test_call_without_credentials_is_400(api: Any) -> None:
    """Without token and bearer, the service says so with 400, not 401."""
    del api.session.headers["X-API-TOKEN"]
    expected = (400, "ATP_2", "Expected authorization in headers, but none provided.")
    assert api.refusal("GET", "/whoami") == expected


@pytest.mark.parametrize("headers", [{"X-API-TOKEN": "wrong"}, {"X-API-TOKEN": None, "Authorization": "Bearer wrong"}])
def test_wrong_credentials_are_401(api: Any, headers: dict[str, str]) -> None:
    """A token that nobody has is 401."""
    assert api.refusal("GET", "/whoami", headers=headers) == (401, "DCD_7", "Unrecognized X-API-TOKEN.")


def test_client_credentials_give_a_bearer_for_an_hour(api: Any) -> None:
    """An access token opens the API until it expires."""
    given = token(api, grant_type="client_credentials", scope="read:users").json()
    assert (given["token_type"], given["expires_in"], given["scope"]) == ("Bearer", 3600, "read:users")
    assert whoami(api, given["access_token"]) == 200
    api.simulator.advance(3600)
    assert whoami(api, given["access_token"]) == 401


def test_bearer_without_the_scope_is_403(api: Any) -> None:
    """A bearer opens only what its scopes name."""
    bearer = token(api, grant_type="client_credentials", scope="read:surveys manage:mailing_lists").json()
    assert whoami(api, bearer["access_token"]) == 403


def test_managing_scope_covers_reading_and_writing(api: Any) -> None:
    """`manage:` of an area opens its reads and writes."""
    bearer = token(api, grant_type="client_credentials", scope="manage:mailing_lists").json()["access_token"]
    lists = f"{api.base_url}/API/v3/directories/POOL_ExampleDirector/mailinglists"
    headers = {"Authorization": f"Bearer {bearer}"}
    assert requests.post(lists, json={"name": "x"}, headers=headers, timeout=5).status_code == 200
    assert requests.get(lists, headers=headers, timeout=5).status_code == 200


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "password", "scope": "manage:all"}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, 400, "invalid_scope"),
        ({"grant_type": "client_credentials", "scope": "read:everything"}, 400, "invalid_scope"),
        ({"grant_type": "client_credentials", "scope": "manage:all", "more": "x"}, 400, "invalid_request"),
        ({}, 400, "invalid_request"),
    ],
)
def test_wrong_token_request_is_refused(api: Any, form: dict[str, str], status: int, error: str) -> None:
    """Each mistake in a token request has its own code."""
    response = token(api, **form)
    assert (response.status_code, response.json()) == (status, {"error": error})


def test_client_gets_only_its_own_scopes(api: Any) -> None:
    """A client can't ask for more than it was given."""
    api.simulator.state.add(Seed(oauth_clients=[OAuthClient("small", "secret", ["read:surveys"])]))
    response = token(api, auth=("small", "secret"), grant_type="client_credentials", scope="write:surveys")
    assert (response.status_code, response.json()) == (400, {"error": "invalid_scope"})


@pytest.mark.parametrize("auth", [None, ("example-client", "wrong"), ("nobody", "example-secret")])
def test_wrong_client_is_401(api: Any, auth: tuple[str, str] | None) -> None:
    """Client id and secret must fit."""
    response = token(api, auth=auth, grant_type="client_credentials", scope="manage:all")
    assert (response.status_code, response.json()) == (401, {"error": "invalid_client"})


def test_token_form_may_come_in_parts(api: Any) -> None:
    """A multipart form is read too, as published clients send it."""
    fields = {"grant_type": (None, "client_credentials"), "scope": (None, "manage:all")}
    response = requests.post(f"{api.base_url}/oauth2/token", auth=CREDENTIALS, files=fields, timeout=5)
    assert response.status_code == 200
