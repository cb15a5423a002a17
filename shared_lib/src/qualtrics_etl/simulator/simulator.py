"""The simulator as Python sees it: build it, serve it, look into it, keep it for later."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from qualtrics_etl.simulator.app import Application
from qualtrics_etl.simulator.calls import JsonObject
from qualtrics_etl.simulator.clock import SimulatedClock, iso
from qualtrics_etl.simulator.endpoints import perform_late
from qualtrics_etl.simulator.faults import Fault
from qualtrics_etl.simulator.ids import Ids
from qualtrics_etl.simulator.inspection.models import mailings_of
from qualtrics_etl.simulator.limits import RateLimits
from qualtrics_etl.simulator.progress import JobProgress
from qualtrics_etl.simulator.seed import Seed
from qualtrics_etl.simulator.server import serving
from qualtrics_etl.simulator.snapshot import from_json, to_json
from qualtrics_etl.simulator.state import State

REQUESTS_KEPT = 1_000
"""How many of the last requests are remembered."""

SNAPSHOT_VERSION = 1


@dataclass(frozen=True, slots=True)
class RequestNote:
    """One request, without tokens, query and body.

    Attributes:
        at: Simulated time, ISO 8601.
        endpoint: Method and pattern of the path.
        status: HTTP status; `cut` when the client saw none.
        fault: The scenario that hit the answer.
    """

    at: str
    method: str
    path: str
    endpoint: str
    status: str
    request_id: str
    fault: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A simulator as it is kept: whole, with persons and tokens.

    Attributes:
        now: Simulated time when it was written; a resumed clock never goes back behind it.
    """

    version: int
    now: float
    offset_seconds: float
    seed: Seed
    state: State


class Simulator:
    """The part of the Qualtrics API that the library uses, with memory, rules and faults.

    Args:
        seed: What is there from the start; the example brand when left out.
        rate_limits: Whether requests a minute are limited.
        rate_scale: Factor on every rate limit.
        retry_after: Whether a refusal by a limit says when to come again.
        job_progress: When import jobs are finished; at once when left out.
        id_seed: What ids are drawn from: the same calls give the same ids.
        time_source: Seconds since 1970; the local engine's virtual clock, for example.

    Attributes:
        state: Everything it knows. Hold `lock` while reading it when other threads call.
        clock: Its time.
        limits: Its rate limits.
        lock: Held by every call while it reads or changes the state.
    """

    def __init__(
        self,
        seed: Seed | None = None,
        *,
        rate_limits: bool = True,
        rate_scale: float = 1.0,
        retry_after: bool = True,
        job_progress: JobProgress | None = None,
        id_seed: int = 0,
        time_source: Callable[[], float] = time.time,
    ) -> None:
        self._seed = (seed or Seed.example()).copy()
        self._job_progress = job_progress or JobProgress()
        self._id_seed = id_seed
        self._requests: deque[RequestNote] = deque(maxlen=REQUESTS_KEPT)
        self.lock = threading.RLock()
        self.clock = SimulatedClock(time_source)
        self.limits = RateLimits(scale=rate_scale if rate_limits else None, retry_after=retry_after)
        self.state = self._fresh()

    @contextmanager
    def serve(self, port: int = 0) -> Iterator[str]:
        """Serve in a thread of this process while the block runs; gives the base URL, like `http://127.0.0.1:4711`.

        The API is below `/API/v3`, the inspection API below `/_sim`.

        Args:
            port: 0 takes a free one.

        Raises:
            OSError: The port is in use.
        """
        stopping = threading.Event()
        with serving(Application(self, stopping).answer, port) as base_url:
            try:
                yield base_url
            finally:
                stopping.set()

    @classmethod
    def load(
        cls,
        body: bytes,
        *,
        rate_limits: bool = True,
        rate_scale: float = 1.0,
        retry_after: bool = True,
        time_source: Callable[[], float] = time.time,
    ) -> Simulator:
        """Take up a simulator that `dump` has written, ids, faults and all; the rest as for a new one.

        Raises:
            ValueError: It is not such a state.
        """
        simulator = cls(
            rate_limits=rate_limits, rate_scale=rate_scale, retry_after=retry_after, time_source=time_source
        )
        simulator.restore(body)
        return simulator

    def dump(self) -> bytes:
        """Return everything as JSON, to be loaded again: persons and tokens too."""
        with self.lock:
            now = self.run_due()
            return to_json(Snapshot(SNAPSHOT_VERSION, now, self.clock.offset_seconds, self._seed, self.state))

    def restore(self, body: bytes) -> None:
        """Replace everything by what `dump` has written.

        Raises:
            ValueError: It is not such a state; nothing is changed.
        """
        try:
            snapshot = from_json(Snapshot, body)
        except ValueError as exc:
            raise ValueError(f"This is not a saved state of the simulator: {exc}") from exc
        if snapshot.version != SNAPSHOT_VERSION:
            raise ValueError(f"This state has version {snapshot.version}; this simulator reads {SNAPSHOT_VERSION}.")
        with self.lock:
            self._seed, self.state = snapshot.seed, snapshot.state
            self._job_progress, self._id_seed = snapshot.state.job_progress, snapshot.state.ids.seed
            self.clock.offset_seconds = snapshot.offset_seconds
            self.clock.advance(max(0.0, snapshot.now - self.clock.now()))

    def reset(self) -> None:
        """Go back to the seed: no calls, no faults, ids from the start. Only the clock stays where it is."""
        with self.lock:
            self.state = self._fresh()
            self.limits.forget()
            self._requests.clear()

    def advance(self, seconds: float) -> None:
        """Move the clock forward, and do what falls due on the way.

        Raises:
            ValueError: `seconds` is negative.
        """
        with self.lock:
            self.clock.advance(seconds)
            self.run_due()

    def arm(self, fault: Fault) -> None:
        """Let a fault hit calls to come."""
        with self.lock:
            self.state.faults.append(fault)

    def disarm(self) -> None:
        """Forget all faults."""
        with self.lock:
            self.state.faults.clear()

    def mailings(self) -> JsonObject:
        """Return who would have been mailed, by what and how often, and what is scheduled."""
        with self.lock:
            return mailings_of(self.state, self.run_due())

    def requests(self) -> list[RequestNote]:
        """Return the last requests, oldest first."""
        with self.lock:
            return list(self._requests)

    def run_due(self) -> float:
        """Do what time has brought since the last call; returns the time."""
        with self.lock:
            now = self.clock.now()
            for effect in self.state.take_late_effects(now):
                self.state.run_due(effect.at)
                perform_late(effect.request, self.state, effect.at)
            self.state.run_due(now)
            return now

    def note(self, *, endpoint: str, method: str, path: str, status: str, request_id: str, fault: str | None) -> None:
        """Remember an answer in counts and log."""
        with self.lock:
            self.state.count_call(endpoint, status)
            at = iso(self.clock.now())
            self._requests.append(RequestNote(at, method, path, endpoint, status, request_id, fault))

    def _fresh(self) -> State:
        state = State(ids=Ids(self._id_seed), job_progress=self._job_progress)
        state.add(self._seed)
        return state
