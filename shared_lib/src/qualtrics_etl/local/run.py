"""A workflow run on one machine: the repository's own handlers, a simulator of Qualtrics, the client's SFTP server.

Everything lies in one folder, so that a run that was stopped or killed can be finished, and a second file finds what
the first one left.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.local.clock import SkippingClock
from qualtrics_etl.local.engine import Engine, Progress
from qualtrics_etl.local.posts import LOCAL_SIGNING_SECRET, UNAVAILABLE, check_accepted, post_content, receiver_of
from qualtrics_etl.local.queues import LocalQueues, QueueSettings
from qualtrics_etl.local.repository import Repository
from qualtrics_etl.local.revertible import RevertibleObjects
from qualtrics_etl.local.secrets import FixedSecrets
from qualtrics_etl.local.sftp_server import LocalSftpServer
from qualtrics_etl.ports import ObjectStore
from qualtrics_etl.settings import QualtricsSettings, SftpSettings, StageConfig, read_config, step_settings
from qualtrics_etl.simulator import JobProgress, Seed, Simulator
from qualtrics_etl.steps.base import Wiring
from qualtrics_etl.steps.fetch_sftp_file import FetchSftpFile, FetchSftpFileSettings
from qualtrics_etl.workflow import Workflow

STATE_FOLDER = ".qetl"
LOCAL_TOKEN = "LocalTokenOfTheSimulator0000000000000000"  # noqa: S105 - opens nothing but the simulator
LOCAL_PASSWORD = "local"  # noqa: S105 - opens nothing but the local SFTP server
CATEGORY_OF_KIND = {"schedule_distribution": "invite", "schedule_reminder": "reminder"}
MOST_POSTS = 5
"""How often a file is POSTed to a service that asks for a repeat."""
SECONDS_OF_A_JOB = 2.0
"""How long an import job of the simulator runs; the jobs of one list run one after the other, as Qualtrics advises."""

SAVE_INTERVAL_SECONDS = 1.0
"""How often the state is written down while the run goes on; what a killed run did since then is done again."""
SAVE_SHARE = 0.1
"""Most of the time that may go into that: the state of a large run takes a while to write."""


def forget(state: Path) -> None:
    """Delete what local runs know and hold; what else lies in the folder (the stage on this machine, logs) stays."""
    for name in ("objects", "sftp", "rejects"):
        shutil.rmtree(state / name, ignore_errors=True)
    for pattern in ("state.json", "simulator.json", "simulator-*.json", "undo-*.log"):
        for file in state.glob(pattern):
            file.unlink(missing_ok=True)


class LocalRun:
    """A place where the workflow runs, from `with` to the end of the block.

    Attributes:
        objects: The data bucket: files below `<state>/objects`.
        queues: What waits where.
        simulator: The Qualtrics that the handlers talk to.
        engine: Moves the messages.
        posted_run: The run that the last POST is; empty where there was none.

    Args:
        repository: Its handlers are wired to this place.
        state: Folder that everything lies in.
        job_progress: How slow the simulator's import jobs are.
        rate_limits: Whether the simulator limits requests a minute.
        duplicates: Whether every message is delivered twice, as a queue may.
        objects_for: Puts something between a service and the store, for a test.
        observe: Called after each call of a handler.
    """

    def __init__(
        self,
        repository: Repository,
        state: Path,
        *,
        job_progress: JobProgress | None = None,
        rate_limits: bool = True,
        duplicates: bool = False,
        objects_for: Callable[[str, ObjectStore], ObjectStore] = lambda service, objects: objects,
        observe: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._repository = repository
        self._state = state
        self._observe = observe
        self._objects_for = objects_for
        self._exit = ExitStack()
        saved = self._saved()
        self.posted_run = ""
        self._saves: int = saved.get("saves", 0)
        self._next_save_at = 0.0
        # Objects tell their time in whole seconds: one more, so that what lies there is not taken for this session's.
        self._clock = SkippingClock(saved["clock_offset_seconds"] + 1.0 if saved else 0.0)
        self._config = read_config(repository.root, "local")
        self.objects = RevertibleObjects(state / "objects", self._clock)
        self.queues = LocalQueues(queue_settings(repository.workflow), self._clock, duplicates=duplicates)
        self.queues.restore(saved.get("queues", {}))
        self.simulator = Simulator(
            seed_of(repository.workflow, self._config),
            rate_limits=rate_limits,
            job_progress=job_progress or JobProgress(seconds=SECONDS_OF_A_JOB),
        )
        for file in (self._new_simulator_file(), self._simulator_file):
            if file.exists():
                self.simulator.restore(file.read_bytes())
                break

    @property
    def is_unfinished(self) -> bool:
        """Whether messages wait that an earlier run left when it was stopped."""
        return any(sum(_counts(self.queues, service)) for service in self._repository.workflow.services)

    def __enter__(self) -> Self:
        self._go_back_to_last_save()
        base_url = self._exit.enter_context(self.simulator.serve())
        sftp = self._exit.enter_context(
            LocalSftpServer(
                self._sftp_root, user="client", password=LOCAL_PASSWORD, host_key_path=self._state / "sftp_host_key"
            )
        )
        self._wire(local_config(self._config, base_url, sftp))
        self.base_url = base_url
        self.engine = Engine(
            self._repository.workflow,
            self._repository.handlers,
            self.queues,
            self._clock,
            skip=self.simulator.advance,
            observe=self._after_call,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._save()
        finally:
            self.objects.keep_log(None)
            self._exit.close()

    def now(self) -> datetime:
        """Return the place's time, in whole seconds: ahead of the machine's by what was skipped."""
        return self._clock.now().replace(microsecond=0)

    def drop(self, file: Path) -> str:
        """Put a file where the client would, and tick, or POST it as the client would; return who takes it.

        Raises:
            ConfigurationError: No service of the workflow takes it.
        """
        receiver = receiver_of(self._repository.workflow)
        if receiver is not None:
            taken_as = self._post(receiver, file)
        else:
            taken_as = place_file(self._repository, self._config, file, self._sftp_root)
            self.engine.tick(self.now())
        self._clock.skip(1)  # two ticks of the same second would be one
        self._save()
        return taken_as

    def _post(self, service: str, file: Path) -> str:
        """POST a file, again where the service asks for it, as a client does."""
        content, posts = file.read_bytes(), 1
        answer = post_content(self.engine, service, file.name, content, self._clock.now())
        while answer["statusCode"] == UNAVAILABLE and posts < MOST_POSTS:
            self._clock.skip(float(answer["headers"]["retry-after"]))
            answer, posts = post_content(self.engine, service, file.name, content, self._clock.now()), posts + 1
        self.posted_run = check_accepted(service, answer["statusCode"], json.loads(answer["body"]))
        return f"{service}:{file.name}"

    @property
    def _sftp_root(self) -> Path:
        root = self._state / "sftp"
        root.mkdir(parents=True, exist_ok=True)
        return root

    @property
    def _simulator_file(self) -> Path:
        return self._state / "simulator.json"

    @property
    def _state_file(self) -> Path:
        return self._state / "state.json"

    def _saved(self) -> dict[str, Any]:
        if not self._state_file.exists():
            return {}
        saved: dict[str, Any] = json.loads(self._state_file.read_text(encoding="utf-8"))
        return saved

    def _after_call(self, progress: Progress) -> None:
        # A fetched file may be gone from the server: what says that it was taken must not be.
        if progress.service in self._repository.workflow.starts() or time.monotonic() >= self._next_save_at:
            self._save()
        self._observe(progress)

    def _save(self) -> None:
        """Write down what is not on disk already, in such an order that a kill at any moment leaves one save whole.

        Replacing the state file makes the save valid: it names the simulator's file, and the log of what changed in
        the objects since.
        """
        began = time.monotonic()
        self._saves += 1
        _replace(self._new_simulator_file(), self.simulator.dump())
        saved = {
            "saves": self._saves,
            "clock_offset_seconds": self._clock.offset_seconds,
            "queues": self.queues.snapshot(),
        }
        _replace(self._state_file, json.dumps(saved, indent=1).encode())
        self._finish_save()
        now = time.monotonic()
        self._next_save_at = now + max(SAVE_INTERVAL_SECONDS, (now - began) / SAVE_SHARE)

    def _go_back_to_last_save(self) -> None:
        self._state.mkdir(parents=True, exist_ok=True)
        self.objects.revert(self._log_file)
        self._finish_save()

    def _finish_save(self) -> None:
        """Do what is left when the state file is in its place; from there on, changes of objects have a new log."""
        if self._new_simulator_file().exists():
            self._new_simulator_file().replace(self._simulator_file)
        self.objects.keep_log(self._log_file)
        for log in self._state.glob("undo-*.log"):
            if log != self._log_file:
                log.unlink()

    def _new_simulator_file(self) -> Path:
        return self._state / f"simulator-{self._saves}.json"

    @property
    def _log_file(self) -> Path:
        return self._state / f"undo-{self._saves}.log"

    def _wire(self, config: StageConfig) -> None:
        secrets = FixedSecrets(
            {
                "qualtrics_api_token": LOCAL_TOKEN,
                "sftp_password": LOCAL_PASSWORD,
                "post_signing_secret": LOCAL_SIGNING_SECRET,
            }
        )
        for service, handler in self._repository.handlers.items():
            handler.wire(
                Wiring(
                    workflow=self._repository.workflow,
                    service=service,
                    config=config,
                    objects=self._objects_for(service, self.objects),
                    queues=self.queues,
                    secrets=secrets,
                    clock=self._clock,
                )
            )


def place_file(repository: Repository, config: StageConfig, file: Path, server: Path) -> str:
    """Put a file where the client would, with its marker where there is one; return who takes it, and from where.

    Args:
        repository: Whose fetching services are asked.
        config: The stage's.
        file: What is put there.
        server: The folder that the client's SFTP server shows as `/`.

    Raises:
        ConfigurationError: No service of the workflow would take it.
    """
    fetchers = dict(_fetchers(repository, config))
    for service, settings in fetchers.items():
        if fnmatchcase(file.name, settings.pattern):
            target = server / settings.folder.strip("/") / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            if settings.marker_suffix:
                target.with_name(target.name + settings.marker_suffix).touch()
            return f"{service}:{settings.folder.rstrip('/')}/{file.name}"
    patterns = ", ".join(f"{settings.pattern} ({service})" for service, settings in fetchers.items())
    raise ConfigurationError(
        f"No service would take {file.name}: the patterns are {patterns or 'none'}.",
        remedy="Rename the file, or change `pattern` in workflow.yml.",
    )


def _fetchers(repository: Repository, config: StageConfig) -> Iterator[tuple[str, FetchSftpFileSettings]]:
    for service, handler in repository.handlers.items():
        if issubclass(handler.step, FetchSftpFile):
            given = repository.workflow.services[service].settings
            settings = step_settings(handler.step.Settings, service, given, config)
            assert isinstance(settings, FetchSftpFileSettings)
            yield service, settings


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content)
    new.replace(path)


def _counts(queues: LocalQueues, service: str) -> tuple[int, int, int]:
    counts = queues.of(service).counts()
    return counts.visible, counts.in_flight, counts.delayed


def queue_settings(workflow: Workflow) -> dict[str, QueueSettings]:
    """Return what each service's queue is like, as the workflow says."""
    return {
        name: QueueSettings(service.visibility_seconds, service.queue_receive_count, service.serial)
        for name, service in workflow.services.items()
    }


def seed_of(workflow: Workflow, config: StageConfig) -> Seed:
    """Return a Qualtrics that knows the ids which config/local.yml names, and no others.

    Raises:
        ConfigurationError: An id has not the form that Qualtrics gives its ids.
    """
    survey_ids: list[str] = []
    messages: list[tuple[str, str, str]] = []
    for name, service in workflow.services.items():
        told = {**service.settings, **config.services.get(name, {})}
        if "survey_id" in told:
            survey_ids.append(told["survey_id"])
        if "message_id" in told and "library_id" in told:
            category = CATEGORY_OF_KIND.get(service.kind, "general")
            messages.append((told["library_id"], told["message_id"], category))
    try:
        return Seed.for_ids(
            token=LOCAL_TOKEN,
            directory_id=config.qualtrics.directory_id,
            survey_ids=survey_ids,
            messages=messages,
        )
    except ValueError as exc:
        raise ConfigurationError(f"config/local.yml: {exc}", remedy="Correct the id there.") from exc


def local_config(config: StageConfig, base_url: str, sftp: LocalSftpServer) -> StageConfig:
    """Return a stage's settings with the addresses of servers on this machine."""
    qualtrics = QualtricsSettings(
        datacenter=config.qualtrics.datacenter,
        directory_id=config.qualtrics.directory_id,
        base_url=base_url,
        share=config.qualtrics.share,
    )
    login = SftpSettings(host=sftp.host, port=sftp.port, user=sftp.user, host_key=sftp.host_key, auth="password")
    return config.model_copy(update={"qualtrics": qualtrics, "sftp": login})
