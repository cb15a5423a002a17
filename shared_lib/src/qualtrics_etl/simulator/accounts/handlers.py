"""Answers of `/whoami` and of the token endpoint, and the check of credentials."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

from qualtrics_etl.simulator.accounts import errors
from qualtrics_etl.simulator.accounts.models import SCOPES, TOKEN_LIFETIME_SECONDS, AccessToken
from qualtrics_etl.simulator.calls import Call, JsonObject, Reply
from qualtrics_etl.simulator.errors import missing_scope, no_credentials, wrong_credentials
from qualtrics_etl.simulator.state import State


def whoami(call: Call) -> Reply:
    """Answer whose token it is. Source: Recorded exchange, 2020."""
    user = call.state.user
    return Reply(
        {
            "brandId": user.brand_id,
            "userId": user.user_id,
            "userName": user.user_name,
            "accountType": "UT_BRANDADMIN",
            "firstName": "Example",
            "lastName": "User",
            "email": user.user_name,
            "datacenter": user.datacenter,
        }
    )


def authenticate(state: State, *, token: str | None, bearer: str | None, scope: str, now: float) -> None:
    """Check the credentials of a call.

    Source: Qualtrics API reference, the pages on tokens and OAuth. Not documented; chosen: a token wins where both are
    sent.

    Raises:
        ApiError: 400 without credentials, 401 with wrong ones, 403 without the scope.
    """
    if token is not None:
        if not any(_same(token, known) for known in state.tokens):
            raise wrong_credentials()
        return
    if bearer is None:
        raise no_credentials()
    access = state.access_tokens.get(bearer)
    if access is None or access.expires_at <= now:
        raise wrong_credentials()
    if not access.allows(scope):
        raise missing_scope(scope)


def issue_token(
    state: State, credentials: tuple[str, str] | None, form: Mapping[str, Sequence[str]], now: float
) -> JsonObject:
    """Hand out an access token for client credentials.

    Source: Qualtrics API reference, the page on OAuth client credentials. Not documented; chosen: `scope` is required.

    Args:
        credentials: Client id and secret of HTTP Basic.
        form: Fields of the form, each with its values.

    Raises:
        TokenError: In the form of RFC 6749.
    """
    client = state.oauth_clients.get(credentials[0]) if credentials else None
    if credentials is None or client is None or not _same(credentials[1], client.client_secret):
        raise errors.invalid_client()
    if form.keys() - {"grant_type", "scope"} or any(len(values) != 1 for values in form.values()):
        raise errors.invalid_request()
    if form.get("grant_type", [""])[0] != "client_credentials":
        raise errors.unsupported_grant_type()
    scopes = _granted(form.get("scope", [""])[0].split(), client.scopes)
    secret = state.ids.secret()
    state.access_tokens[secret] = AccessToken(scopes, now + TOKEN_LIFETIME_SECONDS)
    return {
        "access_token": secret,
        "token_type": "Bearer",
        "expires_in": TOKEN_LIFETIME_SECONDS,
        "scope": " ".join(scopes),
    }


def _granted(wanted: list[str], allowed: list[str]) -> list[str]:
    if not wanted or not SCOPES.issuperset(wanted):
        raise errors.invalid_scope()
    limit = AccessToken(allowed, 0.0)
    if not all(limit.allows(scope) for scope in wanted):
        raise errors.invalid_scope()
    return wanted


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode(), known.encode())
