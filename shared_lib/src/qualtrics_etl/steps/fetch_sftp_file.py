"""The client's files are taken from its SFTP server: each whole, each content once.

tick ──list──> one message a file sighted ──later, unchanged──> taken: stored, hashed, a run begins
                                          └──changed──> sighted anew
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, StringConstraints
from typing_extensions import override

from qualtrics_etl import catalogue
from qualtrics_etl.catalogue import Kind
from qualtrics_etl.errors import ConfigurationError, NotYetError
from qualtrics_etl.file_names import check_pattern
from qualtrics_etl.ledger import Entry, How, Output, State
from qualtrics_etl.messages import WHOLE_RUN, FileFetched, FileSighted, Message
from qualtrics_etl.payloads import content_key, content_run, sighting_key
from qualtrics_etl.settings import StepSettings
from qualtrics_etl.steps.base import Delivery
from qualtrics_etl.steps.outcomes import Ended
from qualtrics_etl.steps.repeatable import RepeatableStep

if TYPE_CHECKING:
    from qualtrics_etl.channels.sftp import RemoteFile, SftpClient

CHUNK_BYTES = 1 << 20


class FetchSftpFileSettings(StepSettings):
    """What `fetch_sftp_file` can be told.

    Attributes:
        folder: The folder on the client's server that is looked into; not those below it.
        pattern: Which names are taken: `*`, `?` and `[...]`.
        stable_seconds: How long size and time of a file must have stood still.
        marker_suffix: Where the client writes a second, empty file when the first is whole: that file's ending, for
            example `.done`. Files are then taken at once, when their marker is there and not older than they are.
        after_fetch: What becomes of the client's file when its run has been told to begin: `keep`, `delete`, or
            `move:<folder>`.
    """

    folder: str = "/"
    pattern: str = "*.csv"
    stable_seconds: Annotated[int, Field(ge=1, le=900)] = 60
    marker_suffix: str = ""
    after_fetch: Annotated[str, StringConstraints(pattern=r"^(keep|delete|move:\S.*)$")] = "keep"


class FetchSftpFile(RepeatableStep):
    """Take the client's new files in.

    A file that was taken is not read again while its name, size and time stay; a content that was taken begins no
    second run, whatever its name.
    """

    kind: ClassVar[Kind] = catalogue.FETCH_SFTP_FILE
    Settings = FetchSftpFileSettings

    @classmethod
    @override
    def refused_settings(cls, settings: StepSettings) -> Iterator[tuple[str, ConfigurationError]]:
        assert isinstance(settings, FetchSftpFileSettings)
        try:
            check_pattern(settings.pattern)
        except ConfigurationError as error:
            yield "pattern", error

    def keep_file(self, name: str) -> bool:
        """Answer whether a file is taken; called for each name that fits `pattern`. The default takes all."""
        return True

    @property
    def settings(self) -> FetchSftpFileSettings:
        """What the service was told."""
        assert isinstance(self._checked_settings, FetchSftpFileSettings)
        return self._checked_settings

    @override
    def _work(self, message: Message, delivery: Delivery) -> Ended:
        with self._connect() as sftp:
            if message.has(FileSighted):
                self._let_it_settle(delivery)
                return self._take_when_stable(sftp, message)
            sightings = tuple(self._sightings(sftp, message))
        self._log(logging.INFO, "files_sighted", message, files=len(sightings))
        return Ended(outputs=sightings)

    @override
    def _finish(self, message: Message, entry: Entry) -> None:
        """Say that the content is taken, and put the client's file away: last, when its run has been told to begin."""
        if not message.has(FileSighted) or entry.state is not State.DONE or entry.skipped in (_GONE, _UNMARKED):
            return
        sighted, fetched = message.fact(FileSighted), entry.fact
        if any(Message.decode(output.message).service == self._wiring.service for output in entry.outputs):
            return  # it changed, and is looked at again
        if isinstance(fetched, FileFetched):
            self._ledger.settle(content_key(fetched.sha256, self._intake), Entry(State.DONE, fact=fetched))
        if not isinstance(fetched, FileFetched) or fetched.key != self._copy_key(message):
            self._wiring.objects.delete(self._copy_key(message))
        self._put_away(sighted)
        self._wiring.objects.put(sighting_key(self._wiring.service, _digest(sighted)), b"")

    def _sightings(self, sftp: SftpClient, message: Message) -> Iterator[Output]:
        """Return a message for each new file; a file that was taken as it lies there is passed over."""
        settings = self.settings
        taken = {summary.key for summary in self._wiring.objects.list(sighting_key(self._wiring.service, ""))}
        for file in sftp.list_files(settings.folder, settings.pattern, marker_suffix=settings.marker_suffix):
            sighted = _sighted(file)
            if sighting_key(self._wiring.service, _digest(sighted)) in taken:
                continue
            if not self._kept("keep_file", self.keep_file(file.name)):
                continue
            if not settings.marker_suffix:
                yield self._look_again(message, sighted, settings.stable_seconds)
            elif self._is_marked(sftp, file):
                yield self._look_again(message, sighted, 0)

    def _is_marked(self, sftp: SftpClient, file: RemoteFile) -> bool:
        """Whether the client says that the file is whole; a marker that is older speaks of the file before this one."""
        marker = sftp.stat(file.path + self.settings.marker_suffix)
        return marker is not None and marker.modified_at >= file.modified_at

    def _look_again(self, message: Message, sighted: FileSighted, delay_seconds: int) -> Output:
        # Counted: a file that becomes again what it was is another sighting, not the first one delivered twice.
        times = int(message.batch.partition(".")[2] or 0) + 1 if message.has(FileSighted) else 0
        again = message.after(self._wiring.service, sighted, batch=f"f{_digest(sighted)}.{times}")
        return Output(How.SEND, again.encode(), delay_seconds=delay_seconds)

    def _let_it_settle(self, delivery: Delivery) -> None:
        """Wait where the queue could not: a FIFO queue knows no delay a message."""
        if self._service.serial and delivery.received.receive_count == 1 and not self.settings.marker_suffix:
            raise NotYetError("The file may still be growing.", delay_seconds=self.settings.stable_seconds)

    def _take_when_stable(self, sftp: SftpClient, message: Message) -> Ended:
        before, key = message.fact(FileSighted), self._copy_key(message)
        # A copy of ours counts more than what lies at the client's now: an earlier attempt found it whole.
        sha256, size = self._hash_of_copy(key)
        if sha256 is None:
            file = sftp.stat(before.path)
            if file is None:
                return Ended(outputs=(), skipped=_GONE)
            marker = self.settings.marker_suffix
            if marker and not self._is_marked(sftp, file):
                return Ended(outputs=(), skipped=_UNMARKED)
            if _sighted(file) != before:
                delay_seconds = 0 if marker else self.settings.stable_seconds
                return Ended(outputs=(self._look_again(message, _sighted(file), delay_seconds),))
            sha256, size = self._copy(sftp, before, key)
        return self._begin_run(message, FileFetched(before.path.rsplit("/", 1)[-1], key, size, sha256))

    def _begin_run(self, message: Message, fetched: FileFetched) -> Ended:
        """Begin the run of this content, unless another file of the same content did.

        Who only meant to begin it may be gone, so it is begun here too, from the copy that was recorded first: the
        messages are then the same ones, and fall to the next services' claims.
        """
        run = content_run(message.workflow, fetched.sha256, self._intake)
        intent = Entry(State.INTENT, fact=fetched)
        held = self._ledger.claim(content_key(fetched.sha256, self._intake), intent)
        recorded = held.entry.fact
        if held.entry.state is State.DONE and recorded != fetched:
            return Ended(outputs=(), skipped=f"Its content was taken before: run {run}.")
        if isinstance(recorded, FileFetched) and recorded != fetched:
            if any(self._wiring.objects.list(recorded.key)):
                fetched = recorded
            else:
                self._ledger.change(held, intent)  # its copy has expired: ours takes its place
        begun = replace(message, run=run, context=())
        outputs = tuple(
            Output(How.SEND, begun.after(service, fetched, batch=WHOLE_RUN).encode())
            for service in self._wiring.workflow.next_of(self._wiring.service)
        )
        return Ended(fact=fetched, outputs=outputs)

    @property
    def _intake(self) -> str:
        """Return what tells apart contents that begin other chains; empty for the workflow's first intake.

        Services that feed the same chains are one intake: a content is taken from one of their folders, not from each.
        """
        workflow = self._wiring.workflow
        fed = workflow.next_of(self._wiring.service)
        first = next(service for service in workflow.starts() if workflow.next_of(service) == fed)
        return "" if first == workflow.starts()[0] else first

    def _copy_key(self, message: Message) -> str:
        return f"payloads/{message.run}/{self._wiring.service}/{message.batch}"

    def _copy(self, sftp: SftpClient, sighted: FileSighted, key: str) -> tuple[str, int]:
        """Copy the file; the copy appears only if the file was, to its last byte, what was sighted."""
        digest, size = hashlib.sha256(), 0

        def chunks() -> Iterator[bytes]:
            nonlocal size
            for chunk in sftp.read(sighted.path):
                digest.update(chunk)
                size += len(chunk)
                yield chunk
            now = sftp.stat(sighted.path)
            if size != sighted.size or now is None or _sighted(now) != sighted:
                raise NotYetError("The file changed while it was read.", delay_seconds=self.settings.stable_seconds)

        self._wiring.objects.put_stream(key, chunks())
        return digest.hexdigest(), size

    def _hash_of_copy(self, key: str) -> tuple[str | None, int]:
        if not any(summary.key == key for summary in self._wiring.objects.list(key)):
            return None, 0
        digest, size = hashlib.sha256(), 0
        with self._wiring.objects.open(key) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
        return digest.hexdigest(), size

    def _put_away(self, sighted: FileSighted) -> None:
        action, _, folder = self.settings.after_fetch.partition(":")
        if action == "keep":
            return
        with self._connect() as sftp:
            file = sftp.stat(sighted.path)
            if file is None or _sighted(file) != sighted:
                return  # put away already, or another file of the same name has come
            marker = sighted.path + self.settings.marker_suffix
            # The marker first: left behind alone, it would vouch for the next file of that name.
            for path in dict.fromkeys((marker, sighted.path)):
                if action == "delete":
                    sftp.delete(path)
                else:
                    sftp.move(path, folder)

    def _connect(self) -> SftpClient:
        from qualtrics_etl.channels.sftp import SftpClient, SftpConnection, SftpSecrets

        settings, wiring = self._wiring.config.sftp, self._wiring
        if settings is None:
            raise ConfigurationError(
                f"config/{wiring.config.stage}.yml has no `sftp`.", remedy="Add host, user and host_key below `sftp:`."
            )
        if settings.auth == "password":
            secrets = SftpSecrets(password=wiring.secrets.get("sftp_password"))
        else:
            secrets = SftpSecrets(private_key=wiring.secrets.get("sftp_private_key"))
        connection = SftpConnection(settings.host, settings.user, settings.host_key, settings.port)
        return SftpClient(connection, secrets, stage=wiring.config.stage)


_GONE = "The file is gone from the client's server."
_UNMARKED = "The file's marker is gone, or older than the file: it is sighted again when a new one is there."


def _sighted(file: RemoteFile) -> FileSighted:
    return FileSighted(file.path, file.size, int(file.modified_at.timestamp()))


def _digest(sighted: FileSighted) -> str:
    identity = f"{sighted.path}\0{sighted.size}\0{sighted.modified_at}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def tick_run(service: str, scheduled_for: datetime) -> str:
    """Return the id of the run that a tick is: the same for the same scheduled time."""
    return f"{service}-{scheduled_for:%Y%m%dT%H%M%SZ}"
