"""Everything the simulator knows, what time does to it, and how it is looked up."""

from __future__ import annotations

from dataclasses import dataclass, field

from qualtrics_etl.simulator.accounts.models import AccessToken, OAuthClient, User
from qualtrics_etl.simulator.calls import ApiRequest
from qualtrics_etl.simulator.contact_imports.models import ImportJob, ImportQueue
from qualtrics_etl.simulator.directories.errors import directory_not_found
from qualtrics_etl.simulator.directories.models import Directory
from qualtrics_etl.simulator.distributions.models import Distribution, Post
from qualtrics_etl.simulator.faults import Fault
from qualtrics_etl.simulator.ids import Ids
from qualtrics_etl.simulator.libraries.errors import library_not_found, message_not_found
from qualtrics_etl.simulator.libraries.models import Library, Message
from qualtrics_etl.simulator.mailing_lists.errors import mailing_list_not_found
from qualtrics_etl.simulator.mailing_lists.models import MailingList
from qualtrics_etl.simulator.progress import JobProgress
from qualtrics_etl.simulator.seed import Seed
from qualtrics_etl.simulator.surveys.errors import survey_not_found
from qualtrics_etl.simulator.surveys.models import Survey


@dataclass(slots=True)
class LateEffect:
    """A call that was answered, and has its effect later.

    Attributes:
        at: When, in seconds since 1970.
    """

    at: float
    request: ApiRequest


@dataclass(slots=True)
class State:
    """Everything, keyed by id, in the order of creation.

    Attributes:
        job_progress: When import jobs are finished.
        calls: How often each endpoint gave each status.
    """

    ids: Ids = field(default_factory=Ids)
    job_progress: JobProgress = field(default_factory=JobProgress)
    user: User = field(default_factory=User)
    tokens: list[str] = field(default_factory=list)
    oauth_clients: dict[str, OAuthClient] = field(default_factory=dict)
    access_tokens: dict[str, AccessToken] = field(default_factory=dict)
    directories: dict[str, Directory] = field(default_factory=dict)
    mailing_lists: dict[str, MailingList] = field(default_factory=dict)
    imports: ImportQueue = field(default_factory=ImportQueue)
    post: Post = field(default_factory=Post)
    surveys: dict[str, Survey] = field(default_factory=dict)
    libraries: dict[str, Library] = field(default_factory=dict)
    late_effects: list[LateEffect] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    calls: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, seed: Seed) -> None:
        """Add what a seed holds; ids that are there already are replaced."""
        given = seed.copy()
        self.user = given.user
        self.tokens += [token for token in given.tokens if token not in self.tokens]
        self.oauth_clients |= {client.client_id: client for client in given.oauth_clients}
        self.directories |= {directory.directory_id: directory for directory in given.directories}
        self.surveys |= {survey.survey_id: survey for survey in given.surveys}
        self.libraries |= {library.library_id: library for library in given.libraries}

    def run_due(self, now: float) -> None:
        """Do what time has brought since the last look, in its order: jobs that finish, distributions that go out."""
        while True:
            job_at, job = self.imports.next_due() or (float("inf"), None)
            distribution = self.post.next_due()
            send_at = distribution.due_at if distribution else float("inf")
            if job is not None and job_at <= min(send_at, now):
                self._run_job(job, job_at)
            elif distribution is not None and send_at <= now:
                self._send(distribution, send_at)
            else:
                return

    def take_late_effects(self, now: float) -> list[LateEffect]:
        """Take out the late effects whose time has come, earliest first."""
        due = sorted((effect for effect in self.late_effects if effect.at <= now), key=lambda effect: effect.at)
        self.late_effects = [effect for effect in self.late_effects if effect.at > now]
        return due

    def count_call(self, endpoint: str, status: str) -> None:
        """Count an answer; what the client saw of it, where that is not a status: `cut`."""
        counted = self.calls.setdefault(endpoint, {})
        counted[status] = counted.get(status, 0) + 1

    def recipients(self, distribution: Distribution) -> int:
        """Return how many people a distribution would reach if it were sent now."""
        return self.post.reach(distribution, *self._list_of(distribution))

    def directory(self, directory_id: str) -> Directory:
        """Return a directory.

        Raises:
            ApiError: 404.
        """
        if directory_id not in self.directories:
            raise directory_not_found(directory_id)
        return self.directories[directory_id]

    def mailing_list(self, directory_id: str, mailing_list_id: str) -> MailingList:
        """Return a list of a directory.

        Raises:
            ApiError: 404.
        """
        self.directory(directory_id)
        mailing_list = self.mailing_lists.get(mailing_list_id)
        if mailing_list is None or mailing_list.directory_id != directory_id:
            raise mailing_list_not_found(mailing_list_id)
        return mailing_list

    def survey(self, survey_id: str) -> Survey:
        """Return a survey.

        Raises:
            ApiError: 404.
        """
        if survey_id not in self.surveys:
            raise survey_not_found()
        return self.surveys[survey_id]

    def library(self, library_id: str) -> Library:
        """Return a library.

        Raises:
            ApiError: 404.
        """
        if library_id not in self.libraries:
            raise library_not_found(library_id)
        return self.libraries[library_id]

    def message(self, library_id: str, message_id: str) -> Message:
        """Return a message of a library.

        Raises:
            ApiError: 404.
        """
        message = self.library(library_id).message(message_id)
        if message is None:
            raise message_not_found(message_id)
        return message

    def message_anywhere(self, message_id: str) -> Message:
        """Return a message of any library, as a subject names one.

        Raises:
            ApiError: 404.
        """
        for library in self.libraries.values():
            if message := library.message(message_id):
                return message
        raise message_not_found(message_id)

    def _run_job(self, job: ImportJob, at: float) -> None:
        directory, mailing_list = self._place(job.directory_id, job.mailing_list_id)
        job.run(directory, mailing_list, self.ids, at)
        self.imports.finish(job, at)

    def _send(self, distribution: Distribution, at: float) -> None:
        self.post.send(distribution, *self._list_of(distribution), at)

    def _list_of(self, distribution: Distribution) -> tuple[MailingList | None, Directory | None]:
        mailing_list = self.mailing_lists.get(distribution.mailing_list_id)
        return mailing_list, self.directories.get(mailing_list.directory_id) if mailing_list else None

    def _place(self, directory_id: str, mailing_list_id: str) -> tuple[Directory | None, MailingList | None]:
        mailing_list = self.mailing_lists.get(mailing_list_id)
        if mailing_list is None or mailing_list.directory_id != directory_id:
            return None, None
        return self.directories.get(directory_id), mailing_list
