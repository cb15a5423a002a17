"""Refusals of the inspection API: a status and one sentence, without the API's envelope."""

from __future__ import annotations


class InspectionError(Exception):
    """A request to the inspection API can't be done.

    Attributes:
        status: HTTP status.
        what: What is wrong, in one sentence.
    """

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status
        self.what = what


def not_here() -> InspectionError:
    """No such address."""
    return InspectionError(404, "There is no such inspection address; /_sim/ lists them.")


def foreign_host() -> InspectionError:
    """A name that is not this machine's: a web page of somebody else is asking."""
    return InspectionError(403, "The inspection API answers only to 127.0.0.1 and localhost.")


def not_json() -> InspectionError:
    """A body of another type: a form of somebody else's web page, perhaps."""
    return InspectionError(415, "The body must be JSON, sent as Content-Type application/json.")


def unfit(what: str) -> InspectionError:
    """A body that does not fit."""
    return InspectionError(400, what)
