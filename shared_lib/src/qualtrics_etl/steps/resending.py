"""Resending: messages of a run that are nowhere any more are made again from its ledger, and sent.

A dead letter may be deleted, or expire; a message may wait longer than its queue keeps it. What they said is still in
the ledger: in what the work before them recorded that it sends. No queue tells what it holds, so everything is sent
that is neither settled, nor at a worker, nor there as a dead letter. What then comes twice falls to the claim. What is
done and was not finished behind that (who did it died) is sent as well: the step finishes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from qualtrics_etl.errors import ConfigurationError, OutcomeUnknownError
from qualtrics_etl.ledger import Entry, Held, How, Output, State
from qualtrics_etl.messages import MESSAGE_LIFETIME, WHOLE_RUN, FilePosted, Message
from qualtrics_etl.outputs import block_of, has_block, mark_of, messages_of, missing_at
from qualtrics_etl.payloads import outcomes_prefix
from qualtrics_etl.ports import ObjectStore, Queues
from qualtrics_etl.runs import input_of, posted_entry
from qualtrics_etl.status import (
    NONE_ERASED,
    Erasures,
    Letters,
    Progress,
    RunLedger,
    RunState,
    RunStatus,
    read_ledger,
    status_in,
)
from qualtrics_etl.steps.outbox import Outbox
from qualtrics_etl.workflow import Workflow

SENT_TOGETHER = 500
"""Messages between two looks whether somebody wants to stop."""

_Piece = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Lost:
    """A piece of work whose message may be gone.

    Attributes:
        service, batch: Which.
        state: Of its entry; None where it has not begun.
        message: What it is told; None where it is not sent.
        why_not: Why it is not sent; empty where it is.
        outcome_unknown: Whether nobody knows what Qualtrics did: somebody has to look there first.
    """

    service: str
    batch: str
    state: State | None
    message: Message | None
    why_not: str = ""
    outcome_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent again of a run.

    Attributes:
        lost: The pieces of work that are not settled, in the order of the services.
        marks: What services that wait for all batches should have been told, and were not.
        state: How far the run is.
        erasures: One that has not ended may have taken the data that the work needs.
    """

    run: str
    lost: tuple[Lost, ...]
    marks: tuple[Output, ...] = ()
    state: RunState = RunState.WAITING
    erasures: Erasures = NONE_ERASED

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self.services

    @property
    def services(self) -> tuple[str, ...]:
        """The services to which something is sent."""
        told = (each.service for each in self.lost if each.message is not None)
        return tuple(dict.fromkeys((*told, *(Message.decode(each.message).service for each in self.marks))))


class Resending:
    """What can be sent again in the runs of a workflow, and how that is done."""

    def __init__(self, workflow: Workflow, objects: ObjectStore, queues: Queues) -> None:
        self._workflow = workflow
        self._objects = objects
        self._outbox = Outbox(workflow, queues, objects)

    def look(
        self,
        run: str,
        letters: Letters,
        now: datetime,
        *,
        service: str | None = None,
        outcome_unknown: bool = False,
    ) -> Plan:
        """Return what would be sent; nothing is changed.

        Args:
            letters: What stands in the dead-letter queues: that is not lost.
            now: What expired before that is not sent.
            service: Only messages for this one.
            outcome_unknown: Also work of which nobody knows what Qualtrics did.

        Raises:
            ConfigurationError: There is no such run, it is a tick of a schedule, or its data was erased.
            PermanentError: Its ledger can't be read.
        """
        ledger = RunLedger()
        if "/" not in run:
            read_ledger(ledger, self._workflow, self._objects, run)
        found = status_in(ledger, self._workflow, self._objects, run, letters) if "/" not in run else None
        if found is None:
            raise ConfigurationError(
                f"There is no run {run}.", remedy="`make status` lists the runs; a dead letter names its own."
            )
        if not run.startswith(f"{self._workflow.name}-"):
            raise ConfigurationError(
                f"{run} is a tick of a schedule, and need not be repeated.",
                remedy="The next tick looks again; at once: make tick STAGE=...",
            )
        if found.erasures.at:
            raise ConfigurationError(
                f"The personal data of run {run} was erased on {found.erasures.at},"
                " so what is open can't be worked on.",
                remedy="Give that up (make waive); the client sends the missing rows in a new file.",
            )
        reading = _Reading(self._workflow, self._objects, ledger, found, letters, now, outcome_unknown=outcome_unknown)
        lost = tuple(each for each in reading.lost() if service in (None, each.service))
        marks = tuple(each for each in reading.marks() if service in (None, Message.decode(each.message).service))
        return Plan(run, lost, marks, found.state, found.erasures)

    def send(
        self, plan: Plan, *, stopped: Callable[[], bool] = lambda: False, on_sent: Callable[[int], object] = lambda n: n
    ) -> int:
        """Send what the plan says; return how many messages that were. Repeating it does no harm.

        Args:
            stopped: Asked now and then.
            on_sent: Told how many more were sent.

        Raises:
            RetryableError: Some were sent and others not.
        """
        sent = 0
        messages = [each.message for each in plan.lost if each.message is not None]
        for _, group in groupby(messages, key=lambda message: message.service):
            for some in _portions(list(group)):
                if stopped():
                    return sent
                self._outbox.send(some)
                sent += len(some)
                on_sent(len(some))
        for mark in plan.marks:
            if stopped():
                break
            self._outbox.send_all([mark])
            on_sent(1)
        return sent


class _Reading:
    """What the ledger of a run says was sent."""

    def __init__(
        self,
        workflow: Workflow,
        objects: ObjectStore,
        ledger: RunLedger,
        found: RunStatus,
        letters: Letters,
        now: datetime,
        *,
        outcome_unknown: bool,
    ) -> None:
        self._workflow = workflow
        self._objects = objects
        self._ledger = ledger
        self._found = found
        self._now = now
        self._outcome_unknown = outcome_unknown
        self._letters = letters.of(found.run)
        self._partly_seen = letters.partly
        names = ", ".join(each.service for each in found.gone if each.open)
        # What is sent now could end in a part of what is open at those, and what then comes back would never be whole.
        self._missing = f"workflow.yml no longer has {names}: bring it back and deploy first" if names else ""
        self._never = {each.service for each in found.waits if each.never}
        marks = (Message.decode(output.message) for output in self._outputs() if output.how is How.ARRIVE)
        self._fan_ins = {message.service: message for message in marks}
        self._taken = input_of(workflow, objects, found.run)
        self._posted = self._find_post()
        self._told: Mapping[_Piece, Message] = {(each.service, each.batch): each for each in self._messages()}

    def lost(self) -> Iterator[Lost]:
        """Yield what is not settled, each with its message, or why it is not sent."""
        unsettled = (Progress.QUEUED, Progress.UNDER_WAY, Progress.DEAD_LETTERED)
        for each in self._found.services:
            for batch in each.batches(*unsettled):
                if not self._comes_with_marks(each.service, batch):
                    yield self._lost(each.service, batch, self._ledger.entries.get((each.service, batch)))
            if not self._missing:
                yield from self._unfinished(each.service)
        for gone in self._found.gone:
            for batch in gone.open:
                held = self._ledger.gone.get((gone.service, batch))
                yield Lost(gone.service, batch, held.entry.state if held else None, None, self._missing)

    def marks(self) -> Iterator[Output]:
        """Yield marks that those who waited for them never got."""
        marked = set[tuple[str, int]]()
        for output in self._outputs():
            message = Message.decode(output.message)
            mark = mark_of(output.how, message.batch)
            if mark is None or (message.service, WHOLE_RUN) in self._ledger.entries or not self._lives(message):
                continue
            if self._missing or message.service not in self._workflow.services:
                continue
            there, block = self._ledger.marks.get(message.service, set()), block_of(message.batch)
            if mark not in there:
                yield output
            elif block not in self._ledger.complete.get(message.service, set()) and has_block(message, there):
                # All marks of the block have come, and whoever brought the last one did not get as far as saying so.
                if (message.service, block) not in marked:
                    yield output
                marked.add((message.service, block))

    def _comes_with_marks(self, service: str, batch: str) -> bool:
        """Whether a service still lacks marks that `marks` yields: with the last of them it is told."""
        mark = self._fan_ins.get(service)
        if mark is None or service in self._never or self._missing or (service, batch) in self._ledger.entries:
            return False
        return any(missing_at(mark, self._ledger.marks.get(service, set())))

    def _lost(self, service: str, batch: str, held: Held | None) -> Lost:
        state = held.entry.state if held else None
        cause = held.entry.cause if held and state is State.FAILED else None
        unknown = cause is not None and cause.error == OutcomeUnknownError.__name__
        message = self._told.get((service, batch))
        if self._missing:
            why_not = self._missing
        elif (service, batch) in self._letters:
            why_not = f"its dead letter is there: make redrive STAGE=... SERVICE={service}"
        elif cause is not None and service in self._partly_seen:
            why_not = f"its dead letter may be among those not seen now: make redrive STAGE=... SERVICE={service}"
        elif held is not None and state is State.INTENT and held.lease_left > 0:
            why_not = "a worker is at it"
        elif service in self._never:
            why_not = "some batches told another service, as workflow.yml was then, so it never has all: make waive"
        elif message is None:
            why_not = "nothing in the ledger says what it was told"
        elif not self._lives(message):
            why_not = f"its message expired after {MESSAGE_LIFETIME.days} days, and its data is gone"
        elif unknown and not self._outcome_unknown:
            why_not = "nobody knows what Qualtrics did (OutcomeUnknownError); look there first, then OUTCOME_UNKNOWN=1"
        else:
            # As a dead letter that is sent back does: what failed begins a generation of its own.
            generation = held.entry.generation + (state is State.FAILED) if held else 0
            message = replace(message, generation=max(message.generation, generation))
            return Lost(service, batch, state, message, outcome_unknown=unknown)
        return Lost(service, batch, state, None, why_not, unknown)

    def _unfinished(self, service: str) -> Iterator[Lost]:
        """Yield work that is done, with something left to do behind it: to publish rows' fates, to close a POST."""
        published: set[str] | None = None
        for (name, batch), held in self._ledger.entries.items():
            message = self._told.get((name, batch))
            if name != service or held.entry.state is not State.DONE or message is None or not self._lives(message):
                continue
            if held.entry.rows_key is not None:
                published = self._published(service) if published is None else published
                is_left = batch not in published
            else:
                is_left = message.has(FilePosted) and self._posted is not None and self._posted.state is State.INTENT
            told = {Message.decode(each.message).service for each in held.entry.outputs}
            if is_left and (gone := told - self._workflow.services.keys()):
                why_not = f"it tells {', '.join(sorted(gone))} as well, which workflow.yml no longer has"
                yield Lost(service, batch, State.DONE, None, why_not)
            elif is_left:
                yield Lost(service, batch, State.DONE, message)

    def _published(self, service: str) -> set[str]:
        """Return the batches of which it is published what became of their rows."""
        here = outcomes_prefix(f"{self._found.run}/{service}")
        return {each.key.removeprefix(here).removesuffix(".csv") for each in self._objects.list(here)}

    def _find_post(self) -> Entry | None:
        """Return what is recorded of the POST that the run is; None of a file that was fetched."""
        if self._taken is None or self._taken.file is not None:
            return None
        held = posted_entry(self._workflow, self._objects, self._taken.services[0], self._found.run)
        return held.entry if held else None

    def _lives(self, message: Message) -> bool:
        return message.expires_at > self._now

    def _messages(self) -> Iterator[Message]:
        """Yield everything that was sent, or should have been."""
        if self._taken is not None:
            yield from self._taken.sent
        if self._taken is not None and self._posted is not None and isinstance(posted := self._posted.fact, FilePosted):
            (service,), run = self._taken.services, self._found.run
            yield Message(self._workflow.name, run, service, WHOLE_RUN, posted.expires_at, context=(posted,))
        for output in self._outputs():
            yield from messages_of(output)

    def _outputs(self) -> Iterator[Output]:
        return (output for _, _, output in self._ledger.outputs())


def _portions(messages: list[Message]) -> Iterator[list[Message]]:
    return (messages[start : start + SENT_TOGETHER] for start in range(0, len(messages), SENT_TOGETHER))
