"""Steps that make one call to Qualtrics, and make sure that it happens once.

intent ──call──> done                      the answer is here
   │      └────> started ──look──> done    Qualtrics runs it as a job
   │
   ├── let go, call not made ──> called at once by the next attempt
   └── let go or lease ended, call possible ──> looked for first; called again only when it is certain, or harmless
"""

from __future__ import annotations

import logging
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, final

from typing_extensions import override

from qualtrics_etl.errors import (
    ConfigurationError,
    ContentRefusedError,
    InputError,
    LostClaimError,
    NotYetError,
    OutcomeUnknownError,
    PermanentError,
    QualtricsEtlError,
    RetryableError,
    UndecidedError,
)
from qualtrics_etl.formats.batches import encode_rejects
from qualtrics_etl.formats.outcomes import decode_outcomes, rejects_in
from qualtrics_etl.ledger import Cause, Entry, Held, How, Output, State
from qualtrics_etl.messages import Fact, FileParsed, Message
from qualtrics_etl.payloads import get_request, outcome_key, put_request, put_rows, reject_key
from qualtrics_etl.steps.base import Delivery, Step
from qualtrics_etl.steps.outcomes import Ended, Prepared, Started, StillRunning

if TYPE_CHECKING:
    from qualtrics_etl.qualtrics import Client, Endpoint, Pace

LEASE_MARGIN_SECONDS = 60
"""How much longer than the function's time-out a lease lasts: longer than any call's time-out and the clocks' skew, so
that a lease that has ended means a call that has ended."""
SETTLE_SECONDS = 120
"""How long after the last possible call its effect may still appear in Qualtrics' listings."""
LOOKS_UNTIL_ABSENT = 2
MAX_JOB_SECONDS = 3600


class CallingStep(Step):
    """A step that makes one call to Qualtrics, claimed before it is made."""

    may_repeat: ClassVar[bool] = False
    """Whether repeating the call, with the same bytes, has no second effect."""

    # --- what each step of this family says -------------------------------------------------------------------------

    @abstractmethod
    def _prepare(self, message: Message, key: str) -> Prepared:
        """Build the exact request, from the message and the stored rows alone.

        Args:
            key: The same for every attempt of a generation; a request that can carry it can be found again by it.
        """

    @abstractmethod
    def _call(self, body: bytes, key: str, message: Message, notes: Mapping[str, int]) -> Fact | Started:
        """Make the call."""

    def _look(self, job_id: str, message: Message, entry: Entry, delivery: Delivery) -> Ended | StillRunning:
        """Look how a job is doing; for steps whose call starts one."""
        raise PermanentError(f"{self.kind.name} starts no jobs, and its ledger holds job {job_id}.")

    def _after_refusal(self, error: ContentRefusedError, message: Message, entry: Entry) -> Ended | None:
        """Say what takes the place of a request that was refused for what it holds; with None it has failed.

        Raises:
            PermanentError: It has failed, for this reason.
        """
        return None

    def _reconcile(self, body: bytes, key: str, message: Message) -> Fact | Started | None:
        """Look whether an earlier call had its effect; None when it is not to be seen."""
        return None

    def _check_repeatable(self, message: Message) -> None:
        """Raise OutcomeUnknownError where repeating the call could do something twice after all."""

    @property
    def _patience_seconds(self) -> float:
        """How long a job may run before somebody should look."""
        return MAX_JOB_SECONDS

    @cached_property
    def _client(self) -> Client:
        """The connection to Qualtrics, made when it is first needed."""
        from qualtrics_etl.qualtrics.connect import connect

        wiring = self._wiring
        return connect(wiring.config, wiring.secrets, wiring.clock, transport=wiring.transport, pace=self._pace)

    @cached_property
    def _pace(self) -> Pace:
        """The requests a minute that this worker may send: kept while the function is warm."""
        from qualtrics_etl.pace import Slots

        wiring = self._wiring
        return wiring.pace or Slots(wiring.objects, wiring.clock, share=wiring.config.qualtrics.share)

    @cached_property
    def _endpoint(self) -> Endpoint:
        """What the one call goes to."""
        from qualtrics_etl.qualtrics.registry import ENDPOINTS

        assert self.kind.calls is not None
        return ENDPOINTS[self.kind.calls]

    def _client_for(self, message: Message) -> Client:
        """Return the connection for a message: the more often it was throttled, the longer it waits."""
        return self._client.for_attempt(message.looks + 1)

    # --- what runs: fixed -------------------------------------------------------------------------------------------

    @final
    @override
    def _work_on(self, message: Message, delivery: Delivery) -> Entry:
        try:
            entry = self._advance(message, delivery)
        except (ConfigurationError, PermanentError):
            self._forget_client()
            raise
        if entry.state is State.FAILED:
            self._forget_client()
        return entry

    def _forget_client(self) -> None:
        """Let the next message read the secrets again: they may be what was wrong, and renewed by then."""
        self.__dict__.pop("_client", None)

    def _advance(self, message: Message, delivery: Delivery) -> Entry:
        held = self._open(message, delivery)
        match held.entry.state:
            case State.DONE | State.FAILED | State.WAIVED:
                return held.entry
            case State.STARTED:
                return self._look_on(held, message, delivery)
            case State.INTENT:
                return self._attempt(held, message, delivery)

    def _open(self, message: Message, delivery: Delivery) -> Held:
        """Return the entry: made by us, taken over, or settled already.

        Raises:
            NotYetError: Another worker holds it, or the minute has no request left.
        """
        key = self._key(message)
        held = self._ledger.read(key) if self._may_have_entry(message, delivery) else None
        if held is None:
            # Where it is known that the call would have to wait, nothing is built or written before that.
            self._pace.check(self._endpoint)
            held = self._ledger.claim(key, self._intent(message))
        if held.fresh or held.entry.state not in (State.INTENT, State.FAILED):
            return held
        if held.entry.state is State.FAILED:
            return held if message.generation <= held.entry.generation else self._next_generation(held, message)
        if held.lease_left > 0:
            raise NotYetError(f"Another worker is at {key}.", delay_seconds=held.lease_left + 1)
        self._pace.check(self._endpoint)
        return self._ledger.take_over(held, lease_seconds=self._lease_seconds)

    def _next_generation(self, held: Held, message: Message) -> Held:
        """Begin anew what failed and was sent back.

        A job that ended badly may have done part of its work. Where repeating that could do harm, the letter goes back
        once more with the question; sent back again, it is somebody's answer.
        """
        assert held.entry.cause is not None
        if held.entry.job_id is not None and held.entry.cause.error != OutcomeUnknownError.__name__:
            try:
                self._check_repeatable(message)
            except OutcomeUnknownError as error:
                return self._fail(held, error, message)
        return self._ledger.change(held, self._intent(message))

    def _intent(self, message: Message) -> Entry:
        """Return the first entry of a generation: the request that is fixed now, or an end where none is needed."""
        generation, service = message.generation, self._wiring.service
        if message.has(FileParsed) and message.fact(FileParsed).good_rows == 0:
            return self._done(message, Ended(skipped="The file has no good rows."), Entry(State.DONE, generation))
        try:
            prepared = self._prepare(message, idempotency_key(message.run, service, message.batch, generation))
        except (PermanentError, InputError) as error:
            return Entry(State.FAILED, generation, cause=Cause.of(error))
        base = Entry(State.DONE, generation, notes=prepared.notes, rows_key=self._put_rows(message, prepared.rows))
        if prepared.halves:
            return self._done(message, self._split(message, prepared.halves, "It is larger than one request"), base)
        if prepared.body is None:
            return self._done(message, Ended(fact=prepared.fact), base)
        key, digest = put_request(self._wiring.objects, message.run, service, message.batch, prepared.body)
        return replace(
            base,
            state=State.INTENT,
            lease_seconds=self._lease_seconds,
            call_possible=True,
            request_key=key,
            request_sha256=digest,
        )

    def _put_rows(self, message: Message, rows: bytes) -> str | None:
        objects, service = self._wiring.objects, self._wiring.service
        return put_rows(objects, message.run, service, message.batch, rows) if rows else None

    def _split(self, message: Message, halves: tuple[str, ...], why: str) -> Ended:
        """Return the end in which derived batches take this one's place; it is recorded before any of them is sent."""
        workflow, service = self._wiring.workflow, self._wiring.service
        notes = [Output(How.SPLIT, message.after(each).encode()) for each in workflow.fan_ins_behind(service)]
        parts = [Output(How.SEND, message.after(service, batch=half).encode()) for half in halves]
        return Ended(skipped=f"{why}: its halves take its place.", outputs=(*notes, *parts), rows=b"")

    @override
    def _finish(self, message: Message, entry: Entry) -> None:
        """Publish what became of the rows of the request that was sent, and not of those of any other attempt."""
        found = self._wiring.objects.get(entry.rows_key) if entry.rows_key is not None else None
        if found is not None:
            place = f"{message.run}/{self._wiring.service}"
            self._wiring.objects.put(outcome_key(place, message.batch), found.body)
            if rejects := rejects_in(decode_outcomes(found.body)):
                self._wiring.objects.put(reject_key(place, message.batch), encode_rejects(rejects))

    @property
    def _lease_seconds(self) -> int:
        return self._service.timeout_seconds + LEASE_MARGIN_SECONDS

    def _attempt(self, held: Held, message: Message, delivery: Delivery) -> Entry:
        """Make the call, or find out what became of an earlier one; leave the entry to others if it fails."""
        key = idempotency_key(message.run, self._wiring.service, message.batch, held.entry.generation)
        held, body, outcome = self._before_call(held, key, message, delivery)
        if outcome is None and held.entry.state is State.INTENT:
            return self._call_once(held, body, key, message)
        return self._record(held, outcome, message) if outcome is not None else held.entry

    def _call_once(self, held: Held, body: bytes, key: str, message: Message) -> Entry:
        try:
            try:
                outcome: Fact | Started | Ended = self._call(body, key, message, held.entry.notes)
            except ContentRefusedError as error:
                instead = self._after_refusal(error, message, held.entry)
                if instead is None:
                    raise
                outcome = instead
        except (PermanentError, InputError) as error:
            return self._fail(held, error, message).entry
        except Exception as error:
            self._let_go(held, error, call_possible=_may_have_happened(error))
            raise
        return self._record(held, outcome, message)

    def _before_call(
        self, held: Held, key: str, message: Message, delivery: Delivery
    ) -> tuple[Held, bytes, Fact | Started | None]:
        """Return the request, and what an earlier call of it came to; with None it is time for the call.

        What fails here says nothing about an earlier call: while one is open, nothing is recorded as failed, since a
        recorded failure may be followed by a call that looks for nothing.
        """
        outcome: Fact | Started | None = None
        try:
            body = self._request_body(held.entry)
            if held.entry.quiet_since is not None:
                held, outcome = self._settle_earlier_call(held, body, key, message)
            if outcome is None:
                # Nothing comes between the look at the clock and the call: who stood still there would call too late.
                self._pace.reserve(self._endpoint)
                self._check_deadline(delivery)
        except (LostClaimError, UndecidedError):
            raise
        except Exception as error:
            is_open = held.entry.quiet_since is not None
            if isinstance(error, OutcomeUnknownError) or (isinstance(error, PermanentError) and not is_open):
                return self._fail(held, error, message), b"", None
            self._let_go(held, error, call_possible=is_open)
            raise
        return held, body, outcome

    def _request_body(self, entry: Entry) -> bytes:
        assert entry.request_key is not None
        assert entry.request_sha256 is not None
        return get_request(self._wiring.objects, entry.request_key, entry.request_sha256)

    def _settle_earlier_call(
        self, held: Held, body: bytes, key: str, message: Message
    ) -> tuple[Held, Fact | Started | None]:
        """Find out what became of a call whose answer nobody has; None when it is safe to make it now."""
        if self.may_repeat:
            self._check_repeatable(message)
            return self._ledger.call_again(held), None
        if (found := self._reconcile(body, key, message)) is not None:
            return held, found
        assert held.entry.quiet_since is not None
        quiet_seconds = (held.read_at - held.entry.quiet_since).total_seconds()
        looks = held.entry.absent_looks + (quiet_seconds >= SETTLE_SECONDS)
        if looks >= LOOKS_UNTIL_ABSENT:
            return self._ledger.call_again(held), None
        self._ledger.let_go(held, call_possible=True, absent_looks=looks)
        raise UndecidedError(
            f"An earlier attempt at {held.key} may still take effect.",
            delay_seconds=max(SETTLE_SECONDS - quiet_seconds, SETTLE_SECONDS / 4),
            call_made=True,
        )

    def _let_go(self, held: Held, error: Exception, *, call_possible: bool) -> None:
        looks, failed = held.entry.absent_looks, not isinstance(error, NotYetError | ConfigurationError)
        try:
            left = self._ledger.let_go(held, call_possible=call_possible, absent_looks=looks, failed=failed)
            self._failures_counted = left.entry.failures if failed else 0
        except RetryableError as unwritten:
            # The lease ends by itself; the next attempt then believes the worse.
            self._log(logging.WARNING, "let_go_failed", None, key=held.key, error=str(unwritten))

    def _record(self, held: Held, outcome: Fact | Started | Ended, message: Message) -> Entry:
        if not isinstance(outcome, Started):
            ended, entry = outcome if isinstance(outcome, Ended) else Ended(outcome), held.entry
            if ended.rows is not None:
                entry = replace(entry, rows_key=self._put_rows(message, ended.rows))
            return self._ledger.change(held, self._done(message, ended, entry)).entry
        started = replace(
            held.entry,
            state=State.STARTED,
            lease_seconds=0,
            job_id=outcome.job_id,
            notes={**held.entry.notes, **outcome.notes},
        )
        # First the job's id, then anything else: a worker that stops here leaves a job that the next one finds.
        self._ledger.change(held, started)
        raise NotYetError(f"Job {outcome.job_id} was started.", delay_seconds=outcome.look_after_seconds)

    def _look_on(self, held: Held, message: Message, delivery: Delivery) -> Entry:
        assert held.entry.job_id is not None
        running_seconds = (held.read_at - held.written_at).total_seconds()
        try:
            outcome = self._look(held.entry.job_id, message, held.entry, delivery)
        except (PermanentError, InputError) as error:
            return self._fail(held, error, message).entry
        except (RetryableError, ConfigurationError) as error:
            if running_seconds > self._patience_seconds:
                # The entry stays `started`, so that the message, sent back, looks again and starts nothing.
                raise PermanentError(error.what, remedy=error.remedy, request_id=error.request_id) from error
            raise
        if not isinstance(outcome, StillRunning):
            return self._record(held, outcome, message)
        if outcome.notes:
            self._ledger.change(held, replace(held.entry, notes={**held.entry.notes, **outcome.notes}))
        elif running_seconds > self._patience_seconds:
            raise _job_too_slow(held.entry.job_id, running_seconds)
        raise NotYetError(f"Job {held.entry.job_id} is still running.", delay_seconds=outcome.delay_seconds)

    def _fail(self, held: Held, error: QualtricsEtlError, message: Message) -> Held:
        """Record a definitive failure, as one of the generation that was asked for: only a redrive asks for more."""
        generation = max(held.entry.generation, message.generation)
        # A letter that was written before the question was put must not pass for its answer when it is sent back.
        generation += isinstance(error, OutcomeUnknownError)
        failed = replace(held.entry, state=State.FAILED, generation=generation, lease_seconds=0, cause=Cause.of(error))
        return self._ledger.change(held, failed)


def _may_have_happened(error: Exception) -> bool:
    """Whether a call that raised this may have had its effect; of what we don't know, the worse is believed."""
    if isinstance(error, NotYetError | RetryableError):
        return error.call_made
    return not isinstance(error, ConfigurationError)


def _job_too_slow(job_id: str, running_seconds: float) -> PermanentError:
    # The entry stays `started`, so that the message, sent back, looks again and starts nothing.
    return PermanentError(
        f"Job {job_id} has been running for {running_seconds / 60:.0f} minutes.",
        remedy="Ask Qualtrics support about the job; when it has ended, send the message back: it looks again.",
    )


def idempotency_key(run: str, service: str, batch: str, generation: int) -> str:
    """Return the key that tells Qualtrics, or us, that two requests are one: a UUIDv5 of the work's identity."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"qualtrics-etl:{run}/{service}/{batch}/{generation}"))
