"""The steps of the model with one rule of the protocol taken out, each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from typing_extensions import override

from qualtrics_etl.errors import QualtricsEtlError, UndecidedError
from qualtrics_etl.ledger import Cause, Entry, Held, Ledger, State
from qualtrics_etl.messages import Fact, Message
from qualtrics_etl.steps.base import Delivery, Step, Wiring
from qualtrics_etl.steps.outcomes import Acknowledge, Ended, Started, Verdict

from .automaton import TICK_SECONDS, Importing, Repeating, Searching

# What is overridden here is final in the code, and for good reason: that is what these classes are for.
# mypy: disable-error-code="misc"


class BlindLedger(Ledger):
    """Claims by writing over whatever is there."""

    @override
    def claim(self, key: str, intent: Entry) -> Held:
        mine = replace(intent, nonce=self._new_nonce())
        result = self._objects.put(key, mine.encode())
        return Held(key, mine, result.etag, result.written_at, result.written_at, fresh=True)


class NamelessLedger(Ledger):
    """Takes over under the nonce of the worker before."""

    @override
    def take_over(self, held: Held, *, lease_seconds: int) -> Held:
        quiet = held.entry.quiet_since
        if held.entry.call_possible and quiet is None:
            quiet = held.written_at + timedelta(seconds=held.entry.lease_seconds)
        taken = replace(
            held.entry,
            attempt=held.entry.attempt + 1,
            lease_seconds=lease_seconds,
            call_possible=True,
            quiet_since=quiet,
        )
        return self._put(held.key, taken, etag=held.etag)


class WithoutClaim(Searching):
    """Claims nothing."""

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        self._ledger = BlindLedger(wiring.objects, new_nonce=wiring.new_nonce)


class RecordsAfterSending(Searching):
    """Tells the next service first, and then writes down what."""

    @override
    def _record(self, held: Held, outcome: Fact | Started, message: Message) -> Entry:
        assert isinstance(outcome, Fact)
        self._outbox.send_all(self._done(message, Ended(outcome), held.entry).outputs)
        return super()._record(held, outcome, message)


class ShortLease(Searching):
    """Holds a claim for less than it can run."""

    @property
    @override
    def _lease_seconds(self) -> int:
        return TICK_SECONDS // 2


class Hasty(Searching):
    """Believes the first look, whenever it is."""

    @override
    def _settle_earlier_call(
        self, held: Held, body: bytes, key: str, message: Message
    ) -> tuple[Held, Fact | Started | None]:
        found = self._reconcile(body, key, message)
        return (held, found) if found else (self._ledger.call_again(held), None)


class Blind(Searching):
    """Never looks for an earlier call."""

    @override
    def _settle_earlier_call(
        self, held: Held, body: bytes, key: str, message: Message
    ) -> tuple[Held, Fact | Started | None]:
        return self._ledger.call_again(held), None


class GeneratesWithoutFailure(Searching):
    """Begins a new generation for every message that asks for one, whether the last one failed or not."""

    @override
    def _open(self, message: Message, delivery: Delivery) -> Held:
        held = self._ledger.read(self._key(message))
        if held is not None and held.entry.state is State.INTENT and message.generation > held.entry.generation:
            return self._ledger.change(held, self._intent(message))
        return super()._open(message, delivery)


class WithoutNonce(Searching):
    """Takes over without a nonce of its own."""

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        self._ledger = NamelessLedger(wiring.objects, new_nonce=wiring.new_nonce)


class BuildsAnew(Searching):
    """Builds the request anew at each attempt."""

    @override
    def _request_body(self, entry: Entry) -> bytes:
        return self._api.new_body()


class Forgetful(Searching):
    """Believes that a call without an answer was not made."""

    @override
    def _let_go(self, held: Held, error: Exception, *, call_possible: bool) -> None:
        super()._let_go(held, error, call_possible=isinstance(error, UndecidedError))


class StartsAnew(Importing):
    """Repeats an import without asking whether that does harm."""

    @override
    def _check_repeatable(self, message: Message) -> None:
        """Take it for granted."""


class TakesAnyLetterForAnAnswer(Importing):
    """Records an unknown outcome under the generation whose older letters may be sent back too."""

    @override
    def _fail(self, held: Held, error: QualtricsEtlError, message: Message) -> Held:
        generation = max(held.entry.generation, message.generation)
        failed = replace(held.entry, state=State.FAILED, generation=generation, lease_seconds=0, cause=Cause.of(error))
        return self._ledger.change(held, failed)


class AcknowledgesFirst(Searching):
    """Lets the queue forget a message that was only deferred."""

    @override
    def _verdict(self, error: Exception, message: Message, received: object) -> Verdict:
        return Acknowledge()


class WritesOverTheEnd(Repeating):
    """Records its end over any earlier one."""

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        self._ledger = BlindLedger(wiring.objects, new_nonce=wiring.new_nonce)


class TellsNobodyOfAWaiver(Searching):
    """Takes a waived message as settled, whether those that wait were told or not."""

    @override
    def _conclude(self, message: Message, entry: Entry) -> Verdict:
        return Acknowledge() if entry.state is State.WAIVED else super()._conclude(message, entry)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mutant, the promise that it breaks first, and within which bounds."""

    step: type[Step]
    broken: str
    faults: int = 0
    copies: int = 0
    redrives: int = 0
    waivers: int = 0


TWICE = "no effect comes twice"
MUTANTS = (
    Mutant(WithoutClaim, "there are never two live leases", copies=1),
    Mutant(RecordsAfterSending, "what is sent on is what was recorded"),
    Mutant(ShortLease, "a call is made under a live lease, by who holds it"),
    Mutant(Hasty, TWICE, faults=1),
    Mutant(Blind, TWICE, faults=1),
    Mutant(Forgetful, TWICE, faults=1),
    Mutant(GeneratesWithoutFailure, "there are never two live leases", faults=2, copies=1, redrives=1),
    Mutant(WithoutNonce, TWICE, faults=1),
    Mutant(BuildsAnew, "every attempt of a generation sends the bytes that its claim stored"),
    Mutant(StartsAnew, TWICE, faults=1),
    Mutant(TakesAnyLetterForAnAnswer, TWICE, faults=1, copies=1, redrives=1),
    Mutant(AcknowledgesFirst, "nothing is lost"),
    Mutant(TellsNobodyOfAWaiver, "nothing is lost", waivers=1),
    Mutant(WritesOverTheEnd, "what is done stays done", faults=1, copies=1),
)
