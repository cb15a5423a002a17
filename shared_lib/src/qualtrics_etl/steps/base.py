"""The order in which every message is worked on, fixed.

    decode -> ledger -> claim -> call -> record -> send -> acknowledge

Clients subclass the steps of the catalogue and override documented hooks: plain functions of their arguments. What
keeps messages safe is final. Two families: `calling.CallingStep` makes one call to Qualtrics and claims it first;
`repeatable.RepeatableStep` does work whose repetition changes nothing, and only records its end.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, final

from qualtrics_etl.catalogue import Kind, Level
from qualtrics_etl.errors import SEND_ANEW, ConfigurationError, InputError, LostClaimError, NotYetError, PermanentError
from qualtrics_etl.ledger import Cause, Entry, How, Ledger, Output, State, entry_key
from qualtrics_etl.messages import WHOLE_RUN, Fact, FileFetched, FileParsed, Message
from qualtrics_etl.ports import UNSENDABLE, Clock, ObjectStore, Outgoing, Queues, Received, Secrets
from qualtrics_etl.settings import StageConfig, StepSettings, step_settings
from qualtrics_etl.steps.contexts import RunContext
from qualtrics_etl.steps.outbox import Outbox
from qualtrics_etl.steps.outcomes import Acknowledge, DeadLetter, Defer, Ended, Retry, Verdict, cause_of, text_of
from qualtrics_etl.workflow import Workflow

if TYPE_CHECKING:
    from qualtrics_etl.qualtrics import Pace, Transport

logger = logging.getLogger("qualtrics_etl")

MAX_DELAY_SECONDS = 900
"""Source: Amazon SQS developer guide, message timers."""
MAX_BACK_OFF_SECONDS = 900
LOST_CLAIM_DELAY_SECONDS = 5
SETTING_DELAY_SECONDS = 900
SETTING_LOOKS = 4
"""A wrong token or setting is looked at again for an hour (4 x 15 minutes), then waits in the dead-letter queue."""
DEADLINE_SHARE = 0.25
"""Nothing is begun when less than this share of the function's time is left."""
MAX_ATTRIBUTE_CHARACTERS = 1000

CAUSE_ATTRIBUTE = "cause"
"""Attribute of a dead letter; a message that still carries it was sent back as it was."""
SETTING_LOOKS_ATTRIBUTE = "setting_looks"
"""Attribute of a message that waits for a setting: how often it was looked at again."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a step works with; made by the entry points.

    Attributes:
        service: Name of the service.
        transport: How requests reach Qualtrics; None for the ordinary way.
        pace: Who says how many requests a minute may be sent; None for the slots in `objects`.
    """

    workflow: Workflow
    service: str
    config: StageConfig
    objects: ObjectStore
    queues: Queues
    secrets: Secrets
    clock: Clock
    new_nonce: Callable[[], str] = lambda: uuid.uuid4().hex
    transport: Transport | None = None
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it reached a function.

    Attributes:
        received: As the queue gave it.
        remaining_seconds: Time left until the function is stopped.
    """

    received: Received
    remaining_seconds: Callable[[], float]


class Step(ABC):
    """One kind of step, and the order in which it works on a message."""

    kind: ClassVar[Kind]
    """Its row in the catalogue."""

    Settings: ClassVar[type[StepSettings]] = StepSettings
    """What it can be told in workflow.yml and config/<stage>.yml."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._ledger = Ledger(wiring.objects, new_nonce=wiring.new_nonce)
        self._outbox = Outbox(wiring.workflow, wiring.queues, wiring.objects)
        self._failures_counted = 0  # what the ledger says since this attempt failed; 0 while it has recorded none
        self._service = wiring.workflow.services[wiring.service]
        if self._service.kind != self.kind.name:
            raise ConfigurationError(
                f"services/{wiring.service}/handler.py runs {type(self).__name__} (kind {self.kind.name}),"
                f" and workflow.yml says that {wiring.service} is of kind {self._service.kind}.",
                remedy="Make the two agree; `make check` shows both.",
            )
        self._checked_settings = step_settings(self.Settings, wiring.service, self._service.settings, wiring.config)

    @classmethod
    def refused_settings(cls, settings: StepSettings) -> Iterator[tuple[str, ConfigurationError]]:
        """Yield each setting that the work would trip over: its name, and what is wrong; for `qetl check`.

        For what the type of a setting can't say. The name is empty where it is the class that can't work.
        """
        yield from ()

    # --- what runs: fixed -------------------------------------------------------------------------------------------

    @property
    def service(self) -> str:
        """Name of the service that runs this step."""
        return self._wiring.service

    @final
    def handle(self, delivery: Delivery) -> bool:
        """Work on one message; return whether it is settled, so that the queue may forget it."""
        try:
            return self._acknowledge(self._decide(delivery), delivery.received)
        except Exception as error:
            # Not even the deferral or the dead letter could be sent: the queue still has the message.
            self._log(logging.WARNING, "acknowledge_failed", None, error=text_of(error))
            return False

    @final
    def start(self, run: str, fact: Fact, expires_at: datetime) -> None:
        """Begin a run from outside (a schedule, an event): send its first message to the service's own queue."""
        workflow, service = self._wiring.workflow.name, self._wiring.service
        self._outbox.send([Message(workflow, run, service, WHOLE_RUN, expires_at, context=(fact,))])

    @final
    def _decide(self, delivery: Delivery) -> Verdict:
        try:
            message = self._decode(delivery.received)
        except PermanentError as error:
            return DeadLetter(None, Cause.of(error))
        try:
            self._failures_counted = 0
            self._check_deadline(delivery)
            return self._conclude(message, self._work_on(message, delivery))
        except Exception as error:
            # One failing message must not take its batch along.
            return self._verdict(error, message, delivery.received)

    def _conclude(self, message: Message, entry: Entry) -> Verdict:
        """Send on what the ledger says."""
        if entry.state is State.FAILED:
            assert entry.cause is not None
            # With the generation that failed, so that the letter, sent back, asks for the next one.
            return DeadLetter(replace(message, generation=max(message.generation, entry.generation)), entry.cause)
        self._outbox.send_all(entry.outputs)
        if entry.state is State.WAIVED:
            # Who waived it may not have got as far as telling those that wait; nothing else is done for it.
            self._log(logging.INFO, "step_waived", message, why=entry.skipped)
        else:
            self._finish(message, entry)
            self._log(logging.INFO, "step_done", message, skipped=entry.skipped)
        return Acknowledge()

    @final
    def _decode(self, received: Received) -> Message:
        message = Message.decode(received.body)
        if message.service != self._wiring.service:
            raise PermanentError(
                f"A message for {message.service} reached the queue of {self._wiring.service}.",
                remedy="Send the message back to the queue of its own service.",
            )
        if message.workflow != self._wiring.workflow.name:
            raise PermanentError(
                f"A message of workflow {message.workflow} reached {self._wiring.workflow.name}.",
                remedy="Look who sent it; delete it from the dead-letter queue when it is not ours.",
            )
        if message.expires_at <= self._wiring.clock.now():
            raise PermanentError(
                f"The message of run {message.run} expired at {message.expires_at:%Y-%m-%d %H:%M} UTC.",
                remedy=f"Its ledger may be gone, so working on it could do things twice. {SEND_ANEW}",
            )
        # A dead letter that was sent back as it was asks for a generation more than the one that failed.
        return replace(message, generation=message.generation + (CAUSE_ATTRIBUTE in received.attributes))

    @final
    def _verdict(self, error: Exception, message: Message, received: Received) -> Verdict:
        match error:
            case LostClaimError():
                return Defer(message.looked(), LOST_CLAIM_DELAY_SECONDS)
            case NotYetError():
                return Defer(message.looked(), error.delay_seconds)
            case ConfigurationError() if (looks := self._setting_looks(received)) < SETTING_LOOKS:
                self._log(logging.ERROR, "setting_wrong", message, error=str(error))
                return Defer(message.looked(), SETTING_DELAY_SECONDS, {SETTING_LOOKS_ATTRIBUTE: str(looks + 1)})
            case ConfigurationError() | PermanentError() | InputError():
                return DeadLetter(message, Cause.of(error))
        if self._is_exhausted(message, received):
            return DeadLetter(message, cause_of(error))
        return Retry(message, error)

    def _setting_looks(self, received: Received) -> int:
        """Count the looks at a wrong setting; by receives in a serial queue, whose messages are never sent anew."""
        if self._service.serial:
            return received.receive_count - 1
        looks = received.attributes.get(SETTING_LOOKS_ATTRIBUTE, "0")
        # What is no count was not written by us: then it is put aside, and not looked at for ever.
        return int(looks) if looks.isascii() and looks.isdecimal() and len(looks) < 4 else SETTING_LOOKS

    def _is_exhausted(self, message: Message, received: Received) -> bool:
        """Whether this failure is one too many.

        The ledger's count is taken too, since what is deferred between two failures comes as a new message, received
        for the first time. Each time it reaches the limit, somebody looks: a letter sent back has as many tries again.
        Only a count that this attempt raised is asked: the failures before a letter was sent back are settled.
        """
        limit = self._service.max_receive_count
        if self._failures_counted and self._failures_counted % limit == 0:
            return True
        if self._service.serial:
            held = self._ledger.read(self._key(message))
            if held is not None and held.entry.state in (State.INTENT, State.STARTED):
                return False  # deferrals are receives there: only the ledger tells failures from them
        return received.receive_count >= limit

    @final
    def _acknowledge(self, verdict: Verdict, received: Received) -> bool:
        match verdict:
            case Acknowledge():
                return True
            case Defer():
                return self._defer(verdict, received)
            case Retry(message, error):
                self._log(logging.WARNING, "step_failed", message, error=text_of(error), receive=received.receive_count)
                self._wiring.queues.of(self._wiring.service).change_visibility(received.receipt, _back_off(received))
                return False
            case DeadLetter(letter, cause):
                self._log(logging.ERROR, "step_dead_lettered", letter, error=cause.what, remedy=cause.remedy)
                body = received.body if letter is None else letter.encode()
                dead_letters = self._wiring.queues.dead_letters_of(self._wiring.service)
                dead_letters.send([self._dead_letter(body, cause, received)])
                return True

    def _defer(self, verdict: Defer, received: Received) -> bool:
        message, seconds = verdict.message, max(0, min(MAX_DELAY_SECONDS, round(verdict.delay_seconds)))
        self._log(logging.INFO, "step_deferred", message, delay_seconds=seconds, looks=message.looks)
        if self._service.serial:
            # A FIFO queue knows no delay a message: it waits at the head, which is what serial means.
            self._wiring.queues.of(self._wiring.service).change_visibility(received.receipt, seconds)
            return False
        self._outbox.send([message], delay_seconds=seconds, attributes=verdict.attributes)
        return True

    def _dead_letter(self, body: str, cause: Cause, received: Received) -> Outgoing:
        attributes = {
            CAUSE_ATTRIBUTE: cause.what,
            "error": cause.error,
            "remedy": cause.remedy,
            "request_id": cause.request_id,
            "source_queue": self._wiring.queues.of(self._wiring.service).name,
        }
        texts = {name: _sendable(value or "") for name, value in attributes.items()}
        return Outgoing(
            body,
            attributes={name: text for name, text in texts.items() if text},
            deduplication_id=f"{received.message_id}-{received.receive_count}" if self._service.serial else None,
        )

    # --- what the families and the steps build on -------------------------------------------------------------------

    @abstractmethod
    def _work_on(self, message: Message, delivery: Delivery) -> Entry:
        """Bring the message to an end in the ledger; return it: done, failed or waived.

        Raises:
            NotYetError: It has to wait.
            RetryableError: A fault that may pass.
            QualtricsEtlError: It can't be worked on, and nothing is recorded.
        """

    def _finish(self, message: Message, entry: Entry) -> None:  # noqa: B027 - most steps leave nothing to clean up
        """Clean up after what is recorded and sent; repeated when the message is delivered again."""

    def _done(self, message: Message, ended: Ended, base: Entry | None = None) -> Entry:
        outputs = ended.outputs if ended.outputs is not None else tuple(self._outputs(message, ended.fact))
        entry = base or Entry(State.DONE)
        return replace(
            entry, state=State.DONE, lease_seconds=0, fact=ended.fact, skipped=ended.skipped, outputs=outputs
        )

    def _outputs(self, message: Message, fact: Fact | None) -> Iterator[Output]:
        workflow, here = self._wiring.workflow, self.kind.level
        facts = () if fact is None else (fact,)
        # A run goes on as one, whichever continuation of a step brought it to its end.
        batch = WHOLE_RUN if here is Level.RUN else message.batch
        for service in workflow.next_of(self._wiring.service):
            following = message.after(service, *facts, batch=batch).encode()
            there = workflow.level_of(service)
            if here is there:
                yield Output(How.SEND, following)
            elif there is Level.BATCH:
                yield Output(How.EACH_BATCH, following, waiting=workflow.fan_ins_behind(service))
            else:
                yield Output(How.ARRIVE, following)

    def _context(self, message: Message) -> RunContext:
        return RunContext(
            workflow=message.workflow,
            stage=self._wiring.config.stage,
            service=self._wiring.service,
            run=message.run,
            batch=message.batch,
            file_name=message.fact(FileFetched).name if message.has(FileFetched) else None,
            rows=message.fact(FileParsed).good_rows if message.has(FileParsed) else None,
            now=self._wiring.clock.now(),
        )

    def _key(self, message: Message) -> str:
        return entry_key(message.run, self._wiring.service, message.batch)

    def _may_have_entry(self, message: Message, delivery: Delivery) -> bool:
        """Whether it pays to read the ledger before anything else: not for a first delivery of a new message."""
        return delivery.received.receive_count > 1 or message.looks > 0 or message.generation > 0

    def _check_deadline(self, delivery: Delivery) -> None:
        """Leave what can't be finished to another invocation."""
        if delivery.remaining_seconds() < DEADLINE_SHARE * self._service.timeout_seconds:
            raise NotYetError("Too little of the function's time is left.", delay_seconds=0)

    def _kept(self, hook: str, answer: object) -> bool:
        """Return what a `keep_` hook answered; one that forgets to answer would silently leave everything out.

        Raises:
            ConfigurationError: It answered neither True nor False.
        """
        if not isinstance(answer, bool):
            raise ConfigurationError(
                f"{self._hook_name(hook)} returned a {type(answer).__name__}.", remedy="Return True or False."
            )
        return answer

    def _hook_name(self, hook: str) -> str:
        """Return how an error names a hook: the client's class and the method."""
        return f"{type(self).__name__}.{hook}"

    def _log(self, level: int, event: str, message: Message | None, **facts: object) -> None:
        where: dict[str, object] = {"service": self._wiring.service}
        if message is not None:
            where |= {"run": message.run, "batch": message.batch}
        logger.log(level, event, extra=where | {name: fact for name, fact in facts.items() if fact is not None})


def _sendable(text: str) -> str:
    """Return a text as an attribute can carry it: one that is refused would keep the message from being put aside."""
    return UNSENDABLE.sub("?", text[:MAX_ATTRIBUTE_CHARACTERS])


def _back_off(received: Received) -> int:
    """Double with every delivery, spread by up to a half; from the message, so that a test can foretell it."""
    base = min(MAX_BACK_OFF_SECONDS, 5 << min(received.receive_count, 8))
    digest = hashlib.sha256(f"{received.message_id}{received.receive_count}".encode()).digest()
    return min(MAX_BACK_OFF_SECONDS, round(base * (1 + digest[0] / 512)))
