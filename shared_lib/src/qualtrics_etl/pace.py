"""How many requests a minute: slots of an endpoint's minute, which all functions take from one object in the store.

    pace/<endpoint>/<minute>    {"taken": 42}

A function takes slots by a put that succeeds only if nobody changed the object since it was read, a few at a time, and
keeps what it has not used until the minute is over. What it takes doubles each time, so that nobody holds much more
than he has use for, and is never more than a small share of what is left, so that little is left over at the end.

Pacing is a courtesy that spares refusals. It decides nothing about the work itself: a slot that is lost is lost for its
minute, and a store that fails lets the request pass, since what can come of it is a 429, which is "not yet" as well.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
from typing_extensions import override

from qualtrics_etl.errors import NotYetError, PreconditionFailedError, QualtricsEtlError
from qualtrics_etl.ports import Clock, ObjectStore, PutResult, StoredObject
from qualtrics_etl.qualtrics.pacing import Pace
from qualtrics_etl.qualtrics.registry import BRAND_REQUESTS_PER_MINUTE, Endpoint

BRAND = "brand"
"""Stands for all endpoints together."""
SHARE_AT_ONCE = 32
"""A chunk is at most one part in so many of what is left of the minute."""
RACES = 8
"""Tries at a minute's object, which others change too."""
RACE_DELAY_SECONDS = 4.0
"""Longest wait of who lost so many races."""
SPREAD_SECONDS = 40.0
"""Who found nothing left comes again at any time within so many seconds of a later minute."""
OVERBOOKED = 2.0
"""How many times a minute's slots are promised to those who wait: some are late, and none shall be left unused."""
MOST_MINUTES_AHEAD = 12
"""A message's delay is at most 15 minutes."""
MOST_MINUTES_SPENT = 5
"""How many minutes are marked as spent by one refusal, whatever its `Retry-After` says."""

_MINUTE = timedelta(minutes=1)
_log = logging.getLogger("qualtrics_etl")


def pace_key(name: str, minute: datetime) -> str:
    """Return where it is written how many slots of a minute are taken."""
    return f"pace/{name}/{minute:%Y%m%dT%H%MZ}"


def budget_of(limit: int, share: float) -> int:
    """Return how many requests a minute are ours, of a limit that the brand shares; at least one."""
    return max(1, int(limit * share))


def limits_of(endpoint: Endpoint) -> tuple[tuple[str, int], ...]:
    """Return the limits that a request counts against, by name, the narrowest first."""
    brand = (BRAND, BRAND_REQUESTS_PER_MINUTE)
    if endpoint.requests_per_minute >= BRAND_REQUESTS_PER_MINUTE:
        return (brand,)
    return (endpoint.name, endpoint.requests_per_minute), brand


@dataclass(slots=True)
class _Mine:
    """What this worker has of a minute.

    Attributes:
        left: Slots that it took and has not used.
        chunk: How many it takes next time.
        is_spent: Whether there was nothing left when it looked.
        refused: How many messages it has sent away for that.
    """

    minute: datetime
    left: int = 0
    chunk: int = 1
    is_spent: bool = False
    refused: int = 0


class Slots(Pace):
    """The slots that all functions of a stage share.

    Args:
        objects: The stage's data bucket.
        clock: The worker's. It only tells how much time has passed since the store last said what time it is.
        share: Which part of each limit is ours.
        jitter: A number from 0 to 1, by chance.
    """

    def __init__(
        self, objects: ObjectStore, clock: Clock, *, share: float = 1.0, jitter: Callable[[], float] = random.random
    ) -> None:
        self._objects = objects
        self._clock = clock
        self._share = share
        self._jitter = jitter
        self._store_is_ahead = timedelta(0)
        self._kept: dict[str, _Mine] = {}
        self._reserved: str | None = None
        self._sent_in: datetime | None = None

    @override
    def check(self, endpoint: Endpoint) -> None:
        for name, limit in limits_of(endpoint):
            mine = self._mine(name)
            if mine.is_spent and not mine.left:
                raise self._none_left(name, limit, mine)

    @override
    def reserve(self, endpoint: Endpoint) -> None:
        if self._reserved != endpoint.name:
            self._use_one(endpoint)
            self._reserved = endpoint.name

    @override
    def take(self, endpoint: Endpoint) -> None:
        if self._reserved == endpoint.name:
            self._reserved = None  # even if its minute is over by now: it is one request
        else:
            self._use_one(endpoint)
        self._sent_in = _minute_of(self._now())

    def _use_one(self, endpoint: Endpoint) -> None:
        limits = limits_of(endpoint)
        for name, limit in limits:
            if not self._mine(name).left:
                self._fill(name, limit)
        # Not before all are there: a slot of the one stays ours when there is none of the other.
        for name, _ in limits:
            mine = self._mine(name)
            mine.left = max(0, mine.left - 1)

    @override
    def refused(self, endpoint: Endpoint, *, seconds: float) -> float:
        # Whether it was the endpoint's limit or the brand's is not said: each endpoint finds out for itself.
        name, limit = limits_of(endpoint)[0]
        mine = self._mine(name)
        # The answer may have come when the request's minute was over: the new one has done nothing to be spent for.
        sent_in = self._sent_in or mine.minute
        if mine.minute == sent_in:
            mine.left, mine.is_spent = 0, True
        try:
            for minute in self._minutes_away(sent_in, seconds):
                self._spend(pace_key(name, minute), limit)
        except Exception as error:
            _tell(name, error)  # others find out for themselves
        return max(seconds, self._wait_seconds(sent_in + _MINUTE))

    def _fill(self, name: str, limit: int) -> None:
        """Have at least one slot.

        Raises:
            NotYetError: There is none.
        """
        if not self._mine(name).is_spent:
            try:
                self._take_chunk(name, budget_of(limit, self._share))
            except NotYetError:
                raise
            except Exception as error:
                _tell(name, error)
                self._mine(name).left = 1
        mine = self._mine(name)
        if not mine.left:
            raise self._none_left(name, limit, mine)

    def _take_chunk(self, name: str, budget: int) -> None:
        for _ in range(RACES):
            mine = self._mine(name)
            key = pace_key(name, mine.minute)
            found = self._objects.get(key)
            if found is not None and self._is_other_minute(found.read_at, mine.minute):
                continue
            left = budget - _taken(found)
            if left <= 0:
                mine.is_spent = True
                return
            chunk = min(mine.chunk, max(1, left // SHARE_AT_ONCE))
            try:
                result = self._put(key, budget - left + chunk, found)
            except PreconditionFailedError:
                continue  # another was faster; or our own put got through, and its slots are lost for this minute
            if self._is_other_minute(result.written_at, mine.minute):
                continue  # the worker's clock was wrong, or the minute is over: these are of no use
            mine.left, mine.chunk = chunk, 2 * chunk
            return
        raise NotYetError(f"{name}: others take slots just now.", delay_seconds=1 + self._jitter() * RACE_DELAY_SECONDS)

    def _spend(self, key: str, limit: int) -> None:
        for _ in range(RACES):
            found = self._objects.get(key)
            if _taken(found) >= limit:
                return
            try:
                self._put(key, limit, found)
            except PreconditionFailedError:
                continue
            return

    def _put(self, key: str, taken: int, found: StoredObject | None) -> PutResult:
        body = orjson.dumps({"taken": taken})
        return self._objects.put(key, body, if_none_match=found is None, if_match=found.etag if found else None)

    def _mine(self, name: str) -> _Mine:
        """Return what this worker has of the minute that it is now."""
        minute = _minute_of(self._now())
        mine = self._kept.get(name)
        if mine is None or mine.minute != minute:
            mine = self._kept[name] = _Mine(minute)
        return mine

    def _now(self) -> datetime:
        """Return the store's time: what it last said, and what has passed since."""
        return self._clock.now() + self._store_is_ahead

    def _is_other_minute(self, at: datetime, minute: datetime) -> bool:
        """Take in what time the store says it is; return whether that is another minute."""
        self._store_is_ahead = at - self._clock.now()
        return _minute_of(at) != minute

    def _minutes_away(self, minute: datetime, seconds: float) -> Iterator[datetime]:
        """Yield a minute, and those after it of which the better part lies within so many seconds from now."""
        now = self._now()
        yield minute
        for _ in range(MOST_MINUTES_SPENT - 1):
            minute += _MINUTE
            if minute + _MINUTE / 2 < now + timedelta(seconds=seconds):
                yield minute

    def _none_left(self, name: str, limit: int, mine: _Mine) -> NotYetError:
        """Send a message to a later minute: the more were sent away, the later, so that not all come to the next."""
        budget = budget_of(limit, self._share)
        ahead = min(MOST_MINUTES_AHEAD, int(mine.refused / (OVERBOOKED * budget)))
        mine.refused += 1
        return NotYetError(
            f"{name}: this minute's {budget} requests are taken.",
            delay_seconds=self._wait_seconds(mine.minute + _MINUTE * (1 + ahead)),
        )

    def _wait_seconds(self, minute: datetime) -> float:
        """Return how long to wait for some second of a minute."""
        return max(0.0, (minute - self._now()).total_seconds()) + 1 + self._jitter() * SPREAD_SECONDS


def _minute_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(second=0, microsecond=0)


def _taken(found: StoredObject | None) -> int:
    return int(orjson.loads(found.body)["taken"]) if found else 0


def _tell(name: str, error: Exception) -> None:
    what = error.what if isinstance(error, QualtricsEtlError) else type(error).__name__
    _log.warning("pace_unavailable", extra={"pace": name, "error": what})
