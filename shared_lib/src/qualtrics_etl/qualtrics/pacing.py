"""What the client asks before each request, and tells after a refusal: how many requests a minute are ours."""

from __future__ import annotations

from typing import Protocol

from typing_extensions import override

from qualtrics_etl.qualtrics.registry import Endpoint


class Pace(Protocol):
    """Keeps the requests of all workers together below the limits."""

    def check(self, endpoint: Endpoint) -> None:
        """Ask nobody, take nothing; refuse where it is known already that this minute has nothing left.

        Raises:
            NotYetError: It has to wait.
        """

    def reserve(self, endpoint: Endpoint) -> None:
        """Take the right to one request now; the next `take` for the endpoint uses it, and asks nobody.

        For who must not be kept waiting between his last look at the clock and the request.

        Raises:
            NotYetError: This minute has none left.
        """

    def take(self, endpoint: Endpoint) -> None:
        """Take the right to one request.

        Raises:
            NotYetError: This minute has none left; no request was sent.
        """

    def refused(self, endpoint: Endpoint, *, seconds: float) -> float:
        """Hear that Qualtrics answered 429: nobody should ask again before the minute is over.

        Args:
            seconds: For how long Qualtrics said to stay away; 0 where it said nothing.

        Returns:
            In how many seconds it pays to ask again.
        """


class Unpaced(Pace):
    """Every request at once: for a tool that sends a few."""

    @override
    def check(self, endpoint: Endpoint) -> None:
        pass

    @override
    def reserve(self, endpoint: Endpoint) -> None:
        pass

    @override
    def take(self, endpoint: Endpoint) -> None:
        pass

    @override
    def refused(self, endpoint: Endpoint, *, seconds: float) -> float:
        return seconds
