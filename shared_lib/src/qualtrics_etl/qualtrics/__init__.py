"""The Qualtrics API, as far as our steps need it: one client, and one module an API area.

Bodies are built apart from sending, because a step stores the exact bytes and sends them again unchanged.
"""

from qualtrics_etl.qualtrics import (
    contact_imports,
    directories,
    distributions,
    libraries,
    mailing_lists,
    registry,
    surveys,
)
from qualtrics_etl.qualtrics.contact_imports import Contact, ImportProgress, ImportStarted, ReportEntry
from qualtrics_etl.qualtrics.credentials import ApiToken, AuthContext, Credentials, OAuthClientCredentials
from qualtrics_etl.qualtrics.directories import Directory, Identity
from qualtrics_etl.qualtrics.distributions import Distribution, Mail
from qualtrics_etl.qualtrics.envelope import Envelope, Record, read_envelope
from qualtrics_etl.qualtrics.http import Answer, Client, base_url_of, longest_call_seconds
from qualtrics_etl.qualtrics.libraries import LibraryMessage
from qualtrics_etl.qualtrics.mailing_lists import MailingList
from qualtrics_etl.qualtrics.pacing import Pace, Unpaced
from qualtrics_etl.qualtrics.registry import ENDPOINTS, Endpoint, near_sunset
from qualtrics_etl.qualtrics.surveys import Survey
from qualtrics_etl.qualtrics.transport import Request, RequestsTransport, Response, Transport

__all__ = [
    "ENDPOINTS",
    "Answer",
    "ApiToken",
    "AuthContext",
    "Client",
    "Contact",
    "Credentials",
    "Directory",
    "Distribution",
    "Endpoint",
    "Envelope",
    "Identity",
    "ImportProgress",
    "ImportStarted",
    "LibraryMessage",
    "Mail",
    "MailingList",
    "OAuthClientCredentials",
    "Pace",
    "Record",
    "ReportEntry",
    "Request",
    "RequestsTransport",
    "Response",
    "Survey",
    "Transport",
    "Unpaced",
    "base_url_of",
    "contact_imports",
    "directories",
    "distributions",
    "libraries",
    "longest_call_seconds",
    "mailing_lists",
    "near_sunset",
    "read_envelope",
    "registry",
    "surveys",
]
