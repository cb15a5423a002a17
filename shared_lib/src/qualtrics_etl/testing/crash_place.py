"""A place where a repository's workflow runs again and again from any point, and where workers can die.

The servers are started once. What the world remembers (objects, queues, Qualtrics, the client's files, the time) is
taken down between two calls of a function and put back in milliseconds, so that a case begins where its fault is.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from typing_extensions import override

from qualtrics_etl.errors import ConfigurationError, RetryableError
from qualtrics_etl.lambda_entry import LambdaContext, LambdaHandler
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.engine import Engine
from qualtrics_etl.local.objects import MemoryObjects
from qualtrics_etl.local.posts import ACCEPTED, LOCAL_SIGNING_SECRET, post_content, receiver_of
from qualtrics_etl.local.queues import LocalQueues, QueueSnapshot
from qualtrics_etl.local.repository import Repository
from qualtrics_etl.local.run import (
    LOCAL_PASSWORD,
    LOCAL_TOKEN,
    SECONDS_OF_A_JOB,
    local_config,
    queue_settings,
    seed_of,
)
from qualtrics_etl.local.secrets import FixedSecrets
from qualtrics_etl.ports import ObjectStore, Queues
from qualtrics_etl.qualtrics.transport import RequestsTransport
from qualtrics_etl.settings import read_config, step_settings
from qualtrics_etl.simulator import JobProgress, Simulator
from qualtrics_etl.steps.base import Wiring
from qualtrics_etl.steps.calling import LEASE_MARGIN_SECONDS, SETTLE_SECONDS
from qualtrics_etl.steps.fetch_sftp_file import FetchSftpFile, FetchSftpFileSettings
from qualtrics_etl.testing.boundaries import (
    ACKNOWLEDGE,
    Boundary,
    Watch,
    WatchedObjects,
    WatchedQueues,
    WatchedTransport,
    Worker,
    WorkerKilled,
)
from qualtrics_etl.testing.crash_state import EndState, read_end_state
from qualtrics_etl.testing.watched_sftp import WatchedSftpServer

START = datetime(2026, 1, 15, 9, 0, tzinfo=UTC)
FILE_AGE_SECONDS = 3600
MOST_CALLS = 400
"""Calls of functions after which a run is taken to go on for ever."""


class EndlessRunError(AssertionError):
    """The run does not come to an end."""


class CaseMissedError(AssertionError):
    """The run did not come to the call that was to go wrong."""


class CaseClock(VirtualClock):
    """A clock that the engine may move on."""

    def skip(self, seconds: float) -> None:
        """Go forward by `seconds`."""
        self.advance(seconds)


class KeptObjects(MemoryObjects):
    """Objects in memory, of which a copy can be kept and put back."""

    def kept(self) -> tuple[dict[str, Any], list[str]]:
        """Return all that is there."""
        return dict(self._objects), list(self._keys)

    def put_back(self, kept: tuple[dict[str, Any], list[str]]) -> None:
        """Hold what was kept, and nothing else."""
        self._objects, self._keys = dict(kept[0]), list(kept[1])


@dataclass(frozen=True, slots=True)
class Moment:
    """The world between two calls of functions.

    Attributes:
        number: How many calls of functions there were before.
        counts: How many boundaries were met before, by service.
        files: The client's files: path, content, time of change.
    """

    number: int
    ticked: bool
    now: datetime
    objects: tuple[dict[str, Any], list[str]] = field(repr=False)
    queues: Mapping[str, QueueSnapshot] = field(repr=False)
    simulator: bytes = field(repr=False)
    files: Mapping[str, tuple[bytes, float]] = field(repr=False)
    counts: Counter[str] = field(repr=False)


class CrashPlace:
    """The workflow's world, from `with` to the end of the block.

    Attributes:
        watch: Counts the calls of all workers.

    Args:
        repository: Its own handlers run here.
        file: The client's file.
        deduplicates: Whether the directory takes a person who comes again for the same one.
        objects_for: Puts something between the workers and the store, for a test of the tests.
        queues_for: The same for the queues.
    """

    def __init__(
        self,
        repository: Repository,
        file: Path,
        content: bytes,
        *,
        deduplicates: bool = True,
        objects_for: Callable[[ObjectStore], ObjectStore] = lambda objects: objects,
        queues_for: Callable[[Queues], Queues] = lambda queues: queues,
    ) -> None:
        self._repository = repository
        self._file_name = file.name
        self._content = content
        self._objects_for = objects_for
        self._queues_for = queues_for
        self._deduplicates = deduplicates
        self._exit = ExitStack()
        self._config = read_config(repository.root, "local")
        self._receiver = receiver_of(repository.workflow)
        self._secrets = FixedSecrets(
            {
                "qualtrics_api_token": LOCAL_TOKEN,
                "sftp_password": LOCAL_PASSWORD,
                "post_signing_secret": LOCAL_SIGNING_SECRET,
            }
        )
        self._handlers = {name: _Watched(self, name, handler) for name, handler in repository.handlers.items()}
        self._clock = CaseClock(START)
        self._simulator = Simulator(
            seed_of(repository.workflow, self._config),
            rate_limits=False,
            job_progress=JobProgress(seconds=SECONDS_OF_A_JOB),
            time_source=lambda: self._clock.now().timestamp(),
        )
        self.watch = Watch()

    def __enter__(self) -> Self:
        folder = Path(self._exit.enter_context(tempfile.TemporaryDirectory()))
        self._client = folder / "client"
        self._client.mkdir()
        base_url = self._exit.enter_context(self._simulator.serve())
        self._sftp = self._exit.enter_context(
            WatchedSftpServer(
                self._client, user="client", password=LOCAL_PASSWORD, host_key_path=folder / "sftp_host_key"
            )
        )
        self._transport = RequestsTransport()
        self._exit.callback(self._transport.close)
        self._wired_config = local_config(self._config, base_url, self._sftp)
        self._lay_down_the_file()
        for directory in self._simulator.state.directories.values():
            if not self._deduplicates:
                directory.deduplication.email = False
        self._beginning = Moment(
            number=0,
            ticked=False,
            now=START,
            objects=({}, []),
            queues={},
            simulator=self._simulator.dump(),
            files=self._files(),
            counts=Counter(),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.close()

    # --- from a moment on -------------------------------------------------------------------------------------------

    def begin(
        self, watch: Watch, moment: Moment | None = None, *, duplicates: bool = False, seed: int | None = None
    ) -> None:
        """Go to a moment; the very first one when none is named.

        Args:
            duplicates: Whether every message is delivered twice.
            seed: Repeats a random order of deliveries; None delivers in the order of sending.
        """
        moment = moment or self._beginning
        self.watch, self._sftp.watch = watch, watch
        watch.counts, watch.wait = Counter(moment.counts), self._let_others_work
        self._calls, self._ticked, self._ticks_twice = moment.number, moment.ticked, duplicates
        self._clock = CaseClock(moment.now)
        self._bucket = KeptObjects(self._clock)
        self._bucket.put_back(moment.objects)
        self._queues = LocalQueues(
            queue_settings(self._repository.workflow),
            self._clock,
            seed=moment.number if seed is None else seed,
            shuffle=seed is not None,
            duplicates=duplicates,
        )
        self._queues.restore(moment.queues)
        self._simulator.restore(moment.simulator)
        self._put_files_back(moment.files)
        self._engine = Engine(
            self._repository.workflow,
            self._handlers,
            self._queues,
            self._clock,
            observe=lambda progress: self._stop_after_this_call(),
        )
        for service in self._handlers:
            self.wire(service)

    def moment(self) -> Moment:
        """Take down how everything is: between two calls."""
        return Moment(
            number=self._calls,
            ticked=self._ticked,
            now=self._clock.now(),
            objects=self._bucket.kept(),
            queues=self._queues.snapshot(),
            simulator=self._simulator.dump(),
            files=self._files(),
            counts=Counter(self.watch.counts),
        )

    def step(self) -> bool:
        """Let one function be called, waiting for its message if need be; False when nothing is left."""
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise EndlessRunError(f"After {MOST_CALLS} calls of functions the run has not come to an end.")
        try:
            if not self._ticked:
                self._tick()
                return True
            self._engine.stop_requested = False
            return not self._engine.run()
        except (WorkerKilled, RetryableError):
            # What was received and not deleted comes again when its time is over; so does a tick.
            return True

    def run(self, until: datetime | None = None) -> None:
        """Go on until nothing is left, or until a time."""
        while until is None or self._is_something_due(until):
            if not self.step():
                break
        if until is not None:
            self._clock.advance(max(0.0, (until - self._clock.now()).total_seconds()))

    def end_state(self) -> EndState:
        """Read what is there at the end."""
        return read_end_state(self._repository.workflow, self._simulator, self._bucket, self._queues, self._client)

    def wire(self, service: str) -> Worker:
        """Start a service's function anew, as on another machine."""
        worker = Worker(service)
        self._repository.handlers[service].wire(
            Wiring(
                workflow=self._repository.workflow,
                service=service,
                config=self._wired_config,
                objects=WatchedObjects(self._objects_for(self._bucket), self.watch, worker),
                queues=WatchedQueues(self._queues_for(self._queues), self.watch, worker),
                secrets=self._secrets,
                clock=self._clock,
                new_nonce=lambda: uuid.uuid4().hex,
                transport=WatchedTransport(self._transport, self.watch, worker),
            )
        )
        self._handlers[service].worker = worker
        return worker

    # --- what happens on the way ------------------------------------------------------------------------------------

    def _tick(self) -> None:
        accepted = [self._begin_input() for _ in range(1 + self._ticks_twice)]
        self._ticked = all(accepted)

    def _begin_input(self) -> bool:
        """Let the schedule tick, or the client POST its file; False where the client has to repeat it."""
        if self._receiver is None:
            self._engine.tick(START)
            return True
        answer = post_content(self._engine, self._receiver, self._file_name, self._content, self._clock.now())
        return bool(answer["statusCode"] == ACCEPTED)

    def _stop_after_this_call(self) -> None:
        self._engine.stop_requested = True

    def _let_others_work(self, boundary: Boundary) -> None:
        """Let the others do the work of one who stands still: all of it.

        A call that changes something at Qualtrics is different: it lands at last, and what is promised holds for one
        that lands within the settle time after its lease has ended. So the others get that long.
        """
        outer = self.watch.current
        for service in self._handlers:
            self.wire(service)
        self.run(self._clock.now() + self._longest_flight(boundary) if boundary.changes_qualtrics else None)
        self.watch.current = outer

    def _longest_flight(self, boundary: Boundary) -> timedelta:
        lease = self._repository.workflow.services[boundary.service].timeout_seconds + LEASE_MARGIN_SECONDS
        return timedelta(seconds=lease + SETTLE_SECONDS / 2)

    def _is_something_due(self, until: datetime) -> bool:
        if not self._ticked or any(self._queues.of(each).counts().visible for each in self._handlers):
            return True
        due = self._queues.next_due_at()
        return due is not None and due <= until

    # --- the client's files -----------------------------------------------------------------------------------------

    def _lay_down_the_file(self) -> None:
        if self._receiver is not None:
            return  # it is POSTed
        for settings in self._fetchers():
            for folder in filter(None, (settings.folder, settings.after_fetch.partition(":")[2])):
                (self._client / folder.strip("/")).mkdir(parents=True, exist_ok=True)
            if fnmatchcase(self._file_name, settings.pattern):
                path = self._client / settings.folder.strip("/") / self._file_name
                files = {path: self._content}
                if settings.marker_suffix:
                    files[path.with_name(path.name + settings.marker_suffix)] = b""
                for each, content in files.items():
                    each.write_bytes(content)
                    _set_time(each, START.timestamp() - FILE_AGE_SECONDS)
                return
        raise ConfigurationError(
            f"No service would take {self._file_name}.", remedy="Name a file that fits a `pattern` in workflow.yml."
        )

    def _fetchers(self) -> Iterator[FetchSftpFileSettings]:
        for service, handler in self._repository.handlers.items():
            if issubclass(handler.step, FetchSftpFile):
                given = self._repository.workflow.services[service].settings
                settings = step_settings(handler.step.Settings, service, given, self._config)
                assert isinstance(settings, FetchSftpFileSettings)
                yield settings

    def _files(self) -> dict[str, tuple[bytes, float]]:
        paths = (path for path in self._client.rglob("*") if path.is_file())
        return {str(path.relative_to(self._client)): (path.read_bytes(), path.stat().st_mtime) for path in paths}

    def _put_files_back(self, files: Mapping[str, tuple[bytes, float]]) -> None:
        if self._files() == files:
            return
        for path in self._client.rglob("*"):
            if path.is_file():
                path.unlink()
        for name, (content, modified) in files.items():
            path = self._client / name
            path.write_bytes(content)
            _set_time(path, modified)


class _Watched(LambdaHandler):
    """A service's own function, with its worker's life around it."""

    def __init__(self, place: CrashPlace, service: str, inner: LambdaHandler) -> None:
        super().__init__(inner.step)
        self._place = place
        self._service = service
        self._inner = inner
        self.worker = Worker(service)

    @override
    def __call__(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any] | None:
        watch, worker, before = self._place.watch, self.worker, self._place.watch.current
        watch.current = worker
        try:
            answer = self._inner(event, context)
            watch.around(worker, ACKNOWLEDGE, lambda: None)
        finally:
            watch.current = before
            # The next call is another worker's: what a warm one keeps in mind would change which calls it makes.
            if self.worker is worker:
                self._place.wire(self._service)
        return answer


def _set_time(path: Path, at: float) -> None:
    os.utime(path, (at, at))
