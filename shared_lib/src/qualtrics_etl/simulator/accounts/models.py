"""Users, OAuth clients and their access tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

TOKEN_LIFETIME_SECONDS = 3600
"""How long an access token holds. Source: Qualtrics API reference, the page on OAuth (about an hour)."""

AREAS = [
    "activity_logs",
    "contact_frequency_rules",
    "contact_transactions",
    "customer_data_requests",
    "directories",
    "directory_contacts",
    "distributions",
    "divisions",
    "erasure_requests",
    "groups",
    "imported_data_projects",
    "libraries",
    "mailing_list_contacts",
    "mailing_lists",
    "organizations",
    "participants",
    "samples",
    "subscriptions",
    "survey_responses",
    "survey_sessions",
    "surveys",
    "tickets",
    "users",
]
SCOPES = frozenset(
    {"manage:all", "write:automations", "openid", "profile"}
    | {f"{power}:{area}" for power in ("read", "write", "manage") for area in AREAS}
)
"""Every scope. Source: Qualtrics API reference, the page on OAuth scopes."""


@dataclass(slots=True)
class User:
    """Whose token it is; one user for all tokens."""

    user_id: str = "UR_ExampleUser0001"
    user_name: str = "etl@example.com"
    brand_id: str = "examplebrand"
    datacenter: str = "fra1"


@dataclass(slots=True)
class OAuthClient:
    """A client that may fetch access tokens.

    Attributes:
        scopes: What it may ask for.
    """

    client_id: str
    client_secret: str
    scopes: list[str] = field(default_factory=lambda: ["manage:all"])


@dataclass(slots=True)
class AccessToken:
    """A bearer token that was handed out.

    Attributes:
        expires_at: Seconds since 1970.
    """

    scopes: list[str]
    expires_at: float

    def allows(self, scope: str) -> bool:
        """Whether the token covers `scope`, itself or by a `manage:` scope.

        Source: Qualtrics API reference, the page on OAuth scopes, for the names. That managing includes reading and
        writing is chosen.
        """
        area = scope.partition(":")[2]
        return not {scope, f"manage:{area}", "manage:all"}.isdisjoint(self.scopes)
