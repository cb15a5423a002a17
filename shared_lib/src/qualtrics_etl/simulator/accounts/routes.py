"""Addresses of accounts. The token endpoint lies outside the API's root, so it is not among them."""

from __future__ import annotations

from qualtrics_etl.simulator.accounts import handlers
from qualtrics_etl.simulator.calls import Route

TOKEN_PATH = "/oauth2/token"  # noqa: S105 - an address, not a secret

ROUTES = [Route("GET", "/whoami", handlers.whoami, scope="read:users", per_minute=3_000)]
