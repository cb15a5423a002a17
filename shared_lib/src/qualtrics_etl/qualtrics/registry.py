"""Every Qualtrics endpoint that we call: its limit, its time-out, and the day it goes away.

The limits were last compared with the reference on `REVIEWED_ON`; every run of the tests warns as a sunset date nears.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from qualtrics_etl.errors import ConfigurationError

REVIEWED_ON = date(2026, 11, 22)
"""When the entries below were last compared with the reference."""

BRAND_REQUESTS_PER_MINUTE = 3_000
"""What all users and integrations of a brand share; each endpoint's own limit holds inside it.

Source: Qualtrics API reference, page on limits.
"""

MAX_BODY_BYTES = 5_000_000
"""The largest body that is sent. Whether 5 MB means this or 5 MiB is not said; this is the safe reading.

Source: Qualtrics API reference, page on limits.
"""

DEFAULT_TIMEOUT_SECONDS = 5.0
"""After this Qualtrics itself gives up on a call, where an endpoint has no time-out of its own.

Source: Qualtrics API reference, page on limits.
"""

SUNSET_WARNING_DAYS = 120
"""How long before a sunset date the warnings begin: time for a release and for clients to take it."""

ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
"""What every id of Qualtrics looks like."""

Method = Literal["GET", "POST", "PUT", "DELETE"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of the API.

    Attributes:
        name: What errors and logs call it.
        method: HTTP method.
        path: Path from the host on, with `{names}` where ids go.
        requests_per_minute: The endpoint's own limit, shared by the whole brand.
        source: Where limit and time-out are from.
        timeout_seconds: After this Qualtrics gives up on a call.
        sunset: The day from which it is no longer supported; None where none is announced.
        carries_persons: Whether its request body holds personal data, which an error text could echo.
    """

    name: str
    method: Method
    path: str
    requests_per_minute: int
    source: str
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    sunset: date | None = None
    carries_persons: bool = False

    @property
    def is_safe_to_repeat(self) -> bool:
        """Whether sending it twice leaves the same state as sending it once."""
        return self.method != "POST"

    @property
    def has_effect(self) -> bool:
        """Whether a call changes anything at Qualtrics."""
        return self.method != "GET"

    def fill(self, ids: Mapping[str, str], *, check: str = "") -> str:
        """Return the path with its ids.

        Args:
            check: The settings that the ids come from, for the remedy.

        Raises:
            ConfigurationError: An id is missing, or has characters that no id has: it would lead to another path.
        """
        for name in re.findall(r"{(\w+)}", self.path):
            if not ID.fullmatch(ids.get(name, "")):
                what = f"{self.name}: {name} {ids.get(name, '')[:40]!r} is not an id of Qualtrics."
                raise ConfigurationError(what, remedy=f"Check {check}." if check else "")
        return self.path.format_map(ids)


_LIMITS = "Qualtrics API reference, page on limits."
_UNLIMITED = "Qualtrics API reference, page on limits: no limit of its own, so the brand's."
_DIRECTORY = "/API/v3/directories/{directory_id}"
_IMPORTS = _DIRECTORY + "/mailinglists/{mailing_list_id}/transactioncontacts"

FETCH_TOKEN = Endpoint("fetch_token", "POST", "/oauth2/token", 3_000, _UNLIMITED)
WHO_AM_I = Endpoint("who_am_i", "GET", "/API/v3/whoami", 3_000, _LIMITS)
LIST_DIRECTORIES = Endpoint("list_directories", "GET", "/API/v3/directories", 3_000, _LIMITS)
LIST_MAILING_LISTS = Endpoint("list_mailing_lists", "GET", _DIRECTORY + "/mailinglists", 3_000, _LIMITS)
CREATE_MAILING_LIST = Endpoint("create_mailing_list", "POST", _DIRECTORY + "/mailinglists", 500, _LIMITS)
START_CONTACT_IMPORT = Endpoint("start_contact_import", "POST", _IMPORTS, 100, _LIMITS, carries_persons=True)
LOOK_AT_CONTACT_IMPORT = Endpoint("look_at_contact_import", "GET", _IMPORTS + "/{import_id}", 500, _LIMITS)
REPORT_CONTACT_IMPORT = Endpoint(
    "report_contact_import",
    "GET",
    _DIRECTORY + "/imports/api-import/jobs/{import_id}/report",
    100,
    "Not in the reference: taken as the limit of starting the import.",
)
LIST_DISTRIBUTIONS = Endpoint("list_distributions", "GET", "/API/v3/distributions", 3_000, _LIMITS)
CREATE_DISTRIBUTION = Endpoint("create_distribution", "POST", "/API/v3/distributions", 3_000, _LIMITS)
CREATE_REMINDER = Endpoint(
    "create_reminder", "POST", "/API/v3/distributions/{distribution_id}/reminders", 3_000, _LIMITS
)
CREATE_THANK_YOU = Endpoint(
    "create_thank_you", "POST", "/API/v3/distributions/{distribution_id}/thankyous", 3_000, _LIMITS
)
LIST_MESSAGES = Endpoint("list_messages", "GET", "/API/v3/libraries/{library_id}/messages", 3_000, _LIMITS)
GET_SURVEY = Endpoint("get_survey", "GET", "/API/v3/surveys/{survey_id}", 3_000, _LIMITS)

ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.name: endpoint for endpoint in list(globals().values()) if isinstance(endpoint, Endpoint)
}
"""Every endpoint by its name."""


def near_sunset(
    today: date, *, within_days: int = SUNSET_WARNING_DAYS, endpoints: Iterable[Endpoint] = tuple(ENDPOINTS.values())
) -> list[Endpoint]:
    """Return the endpoints that go away soon or are gone, the first to go first."""
    last_day = today + timedelta(days=within_days)
    dated = [(endpoint.sunset, endpoint) for endpoint in endpoints if endpoint.sunset is not None]
    return [endpoint for sunset, endpoint in sorted(dated, key=lambda pair: pair[0]) if sunset <= last_day]


def sunset_warnings(today: date, *, endpoints: Iterable[Endpoint] = tuple(ENDPOINTS.values())) -> list[str]:
    """Return a line for each endpoint whose support ends soon, or has ended; `make sunsets` prints them.

    Warnings, never failures: the calendar is nobody's change.
    """
    return [
        f"warning: {endpoint.name} ({endpoint.method} {endpoint.path}) is supported until {endpoint.sunset}:"
        " move its callers to what replaces it, and release."
        for endpoint in near_sunset(today, endpoints=endpoints)
    ]
