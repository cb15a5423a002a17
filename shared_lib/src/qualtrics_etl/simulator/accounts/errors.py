"""Refusals of the token endpoint.

Source: Not documented; chosen: the form of RFC 6749, section 5.2.
"""

from __future__ import annotations


class TokenError(Exception):
    """No access token is given.

    Attributes:
        status: HTTP status.
        error: Code of RFC 6749.
    """

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


def invalid_client() -> TokenError:
    """Unknown client or wrong secret."""
    return TokenError(401, "invalid_client")


def invalid_request() -> TokenError:
    """A field is missing, repeated or unknown, or the form is of another type."""
    return TokenError(400, "invalid_request")


def unsupported_grant_type() -> TokenError:
    """Another flow than client credentials."""
    return TokenError(400, "unsupported_grant_type")


def invalid_scope() -> TokenError:
    """A scope that does not exist, or that the client may not ask for."""
    return TokenError(400, "invalid_scope")
