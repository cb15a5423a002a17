"""Waivers: a piece of work is given up, knowingly, so that what waits for it goes on without it.

    look ──a person decides──> the entry becomes `waived` ──> the services that wait for all batches are told

The entry is changed by a conditional put, and says what is to be told. So whoever sees it tells it: this, a second time
if need be, or the step that is delivered the message.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from qualtrics_etl.catalogue import Level
from qualtrics_etl.errors import ConfigurationError, LostClaimError
from qualtrics_etl.formats.batches import decode_batch
from qualtrics_etl.ledger import WAIVED_ROWS, Entry, Held, How, Ledger, Output, State, entry_key
from qualtrics_etl.messages import WHOLE_RUN, ContactsImported, FileParsed, Message
from qualtrics_etl.outputs import fan_in_of, messages_of
from qualtrics_etl.payloads import batch_name, rows_of_batch_key
from qualtrics_etl.ports import ObjectStore, Queues
from qualtrics_etl.runs import input_of
from qualtrics_etl.status import Letters, RunLedger, read_ledger, status_in
from qualtrics_etl.steps.outbox import Outbox
from qualtrics_etl.workflow import Workflow

MAX_REASON = 500
TRIES = 5
"""How often a waiver is begun anew when others change the entry meanwhile."""

_BATCH = re.compile(r"([0-9]{1,5})((?:\.[01])*)")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A piece of work that somebody means to give up.

    Attributes:
        run, service, batch: Which.
        held: Its entry; None where there is none yet.
        rows: How many good rows are given up with it; None where that can't be known any more.
        outputs: What lets others go on without it.
        refusal: Why it can't be given up now; empty where it can.
    """

    run: str
    service: str
    batch: str
    held: Held | None
    rows: int | None
    outputs: tuple[Output, ...]
    refusal: str = ""

    @property
    def is_waived(self) -> bool:
        """Whether somebody gave it up before."""
        return self.held is not None and self.held.entry.state is State.WAIVED

    @property
    def may_have_acted(self) -> bool:
        """Whether Qualtrics may have acted on a call of this work, or still may: a waiver takes nothing back."""
        entry = self.held.entry if self.held else None
        return entry is not None and (entry.call_possible or entry.job_id is not None)


class Waivers:
    """What can be given up in the runs of a workflow, and how that is done."""

    def __init__(
        self,
        workflow: Workflow,
        objects: ObjectStore,
        queues: Queues,
        *,
        new_nonce: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._workflow = workflow
        self._objects = objects
        self._ledger = Ledger(objects, new_nonce=new_nonce)
        self._outbox = Outbox(workflow, queues, objects)

    def look(self, run: str, service: str, batch: str | None = None) -> Candidate:
        """Return what a waiver would do, and whether it is possible now; nothing is changed.

        Args:
            batch: The batch of a batch-level service, `00007` or `7`; None for a run-level one.

        Raises:
            ConfigurationError: There is no such service, run or batch, or it has not come to this service yet.
            PermanentError: The ledger of a run can't be read.
        """
        if service in self._workflow.starts():
            raise ConfigurationError(
                f"{service} takes input in: what it gives up would only be taken again.",
                remedy="Mend the cause, or delete its dead letter.",
            )
        if "/" in run or not (any(self._objects.list(f"ledger/{run}/")) or self._begins_at(run)):
            raise ConfigurationError(
                f"There is no run {run}.", remedy="`make status` lists the runs; a dead letter names its own."
            )
        if service not in self._workflow.services:
            return self._look_at_gone(run, service, batch)
        if self._workflow.level_of(service) is Level.RUN:
            return self._look_at_run(run, service, batch)
        return self._look_at_batch(run, service, batch)

    def waive(self, run: str, service: str, batch: str | None, why: str) -> Candidate:
        """Give a piece of work up, and tell what waits for it; return what stands there then.

        What was waived before keeps its reason, and is told again: a waiver that broke off is finished like that.

        Args:
            batch: As in `look`.
            why: The reason, as it is kept in the ledger; nothing of a person.

        Raises:
            ConfigurationError: As in `look` and `check_reason`.
            LostClaimError: Others change the entry again and again.
            RetryableError: It was not written; or it was, and not all that wait for it were told.
        """
        check_reason(why)
        for _ in range(TRIES):
            candidate = self.look(run, service, batch)
            if candidate.refusal:
                return candidate
            if not candidate.is_waived:
                candidate = replace(candidate, held=self._record(candidate, why.strip()))
            if candidate.is_waived:
                assert candidate.held is not None
                self._outbox.send_all(candidate.held.entry.outputs)
                return candidate
        raise LostClaimError(f"{entry_key(run, service, batch or WHOLE_RUN)} is changed by others again and again.")

    def _record(self, candidate: Candidate, why: str) -> Held | None:
        """Write the waiver down; None, or another entry, where somebody was faster."""
        key = entry_key(candidate.run, candidate.service, candidate.batch)
        entry = waived(candidate.held.entry if candidate.held else None, why, candidate.rows, candidate.outputs)
        try:
            if candidate.held is None:
                return self._ledger.claim(key, entry)
            return self._ledger.change(candidate.held, entry)
        except LostClaimError:
            return None

    # --- a service that works on runs ---------------------------------------------------------------------------------

    def _look_at_run(self, run: str, service: str, batch: str | None) -> Candidate:
        if batch is not None and batch != WHOLE_RUN:
            raise ConfigurationError(f"{service} works on a run as a whole.", remedy="Leave --batch out.")
        last, held = self._last_piece(run, service)
        is_told = held is not None or self._message_for(run, service) or service in self._begins_at(run)
        if not is_told and not self._recorded(run, service):
            # What it would give up isn't known yet, or never comes: its rows would be counted wrong.
            raise _not_come(run, service, f"so {service} can't be waived")
        parsed = next(self._parsed(run), None)
        rows = parsed.good_rows if parsed and self._imports_behind(service) else 0
        return Candidate(run, service, last, held, rows, (), refusal_of(held, last))

    def _last_piece(self, run: str, service: str) -> tuple[str, Held | None]:
        """Return batch and entry of a run-level service's work: of its last continuation, where it was continued."""
        batch = WHOLE_RUN
        while True:
            held = self._ledger.read(entry_key(run, service, batch))
            if held is None or not (parts := held.entry.parts_of(service)):
                return batch, held
            batch = parts[0]

    def _parsed(self, run: str) -> Iterator[FileParsed]:
        for name, service in self._workflow.services.items():
            if service.step.gives is FileParsed:
                _, held = self._last_piece(run, name)
                if held is not None and isinstance(held.entry.fact, FileParsed):
                    yield held.entry.fact

    def _begins_at(self, run: str) -> tuple[str, ...]:
        found = input_of(self._workflow, self._objects, run)
        return found.services if found else ()

    def _imports_behind(self, service: str) -> bool:
        return any(
            self._workflow.services[each].step.gives is ContactsImported for each in self._workflow.behind(service)
        )

    # --- a service that workflow.yml no longer has --------------------------------------------------------------------

    def _look_at_gone(self, run: str, service: str, batch: str | None) -> Candidate:
        """Look at work that nobody does any more; only at that of a whole run, which nobody waits for."""
        ledger = self._read(run)
        found = status_in(ledger, self._workflow, self._objects, run, Letters())
        gone = next((each for each in found.gone if each.service == service), None) if found else None
        if gone is None:
            raise ConfigurationError(
                f"{service!r} is no service of workflow.yml, and run {run} had nothing to do with it.",
                remedy=f"Services: {', '.join(self._workflow.services)}.",
            )
        last, held = self._last_piece(run, service)
        if (batch is not None and batch != WHOLE_RUN) or (held is None and last not in gone.open):
            raise ConfigurationError(
                f"{service} worked on batches, and workflow.yml no longer has it: who waits for them is not known.",
                remedy="Bring it back and deploy, then waive.",
            )
        return Candidate(run, service, last, held, _rows_before_batches(ledger), (), refusal_of(held, last))

    def _read(self, run: str) -> RunLedger:
        ledger = RunLedger()
        read_ledger(ledger, self._workflow, self._objects, run)
        return ledger

    def _recorded(self, run: str, service: str) -> dict[str, Message]:
        """Return what a service was told, by batch, as it was recorded by whoever told it, in workflow.yml or not."""
        outputs = (output for _, _, output in self._read(run).outputs())
        return {each.batch: each for output in outputs for each in messages_of(output) if each.service == service}

    def _refuse_while_a_fan_in_is_gone(self, run: str) -> None:
        """Refuse to tell one service that waits for all of a batch, where another was told of the others.

        Raises:
            ConfigurationError: Names it.
        """
        keys = [each.key.split("/")[2:] for each in self._objects.list(f"ledger/{run}/")]
        begun = {rest[0] for rest in keys if len(rest) == 2}
        gone = {rest[0] for rest in keys if rest[1:2] == ["arrived"]} - begun - self._workflow.services.keys()
        if gone:
            raise ConfigurationError(
                f"{', '.join(sorted(gone))} waits for the other batches, and workflow.yml no longer has it.",
                remedy="Bring it back and deploy, then waive; or waive its own work first.",
            )

    # --- a service that works on batches ------------------------------------------------------------------------------

    def _look_at_batch(self, run: str, service: str, batch: str | None) -> Candidate:
        message = self._message_for(run, service)
        told = {} if message else self._recorded(run, service)
        if message is None and not told:
            raise _not_come(run, service, "so none of its batches can be waived there")
        message = message or fan_in_of(next(iter(told.values())))
        parsed = message.fact(FileParsed)
        if batch is None:
            raise ConfigurationError(f"{service} works on batches.", remedy=f"Say which: --batch {batch_name(0)}.")
        if not (given := _BATCH.fullmatch(batch)):
            raise ConfigurationError(f"{batch!r} is no batch.", remedy=_range_of(parsed))
        name = batch_name(int(given[1])) + given[2]
        if int(given[1]) >= parsed.batches:
            raise ConfigurationError(f"Run {run} has no batch {name}.", remedy=_range_of(parsed))
        self._refuse_while_a_fan_in_is_gone(run)
        if not told:
            self._check_has_come(run, service, name)
        elif name not in told:
            raise _not_come(run, service, f"with batch {name}, so that can't be waived there")
        held = self._ledger.read(entry_key(run, service, name))
        outputs = tuple(
            Output(How.ARRIVE, message.after(each, batch=name).encode())
            for each in self._workflow.fan_ins_behind(service)
        )
        return Candidate(run, service, name, held, self._rows(message, name), outputs, refusal_of(held, name))

    def _message_for(self, run: str, service: str) -> Message | None:
        """Return what a service was told of a run; of a batch nothing but what is true of the run."""
        for before in self._workflow.before(service):
            if self._workflow.level_of(before) is Level.BATCH:
                if (told := self._message_for(run, before)) is not None:
                    return told.after(service)
            else:
                _, held = self._last_piece(run, before)
                for _, message in held.entry.sent() if held else ():
                    if message.service == service:
                        return message
        return None

    def _check_has_come(self, run: str, service: str, batch: str) -> None:
        """Refuse a batch that the services before have not done.

        Else whoever waits for all would be told while one of those is still at it.

        Raises:
            ConfigurationError: Says where it is.
        """
        parent = batch.rpartition(".")[0]
        before = [name for name in self._workflow.before(service) if self._workflow.level_of(name) is Level.BATCH]
        found = {name: self._ledger.read(entry_key(run, name, batch)) for name in before}
        for name, held in found.items():
            if held is not None and held.entry.state is State.WAIVED:
                raise ConfigurationError(
                    f"Batch {batch} was waived at {name}, so it never comes to {service}.",
                    remedy="There is nothing to do.",
                )
            if held is not None and held.entry.state is State.DONE:
                if halves := held.entry.parts_of(name):
                    raise ConfigurationError(_was_halved(name, batch, halves), remedy=_NAME_HALVES)
                return
        # Of several services before it, a run goes through one: that is the one which has an entry.
        for name in sorted(before, key=lambda name: found[name] is None):
            if not parent or self._is_halved(run, name, parent):
                raise ConfigurationError(
                    f"Batch {batch} has not come to {service}: {name} is not done with it.",
                    remedy=f"Waive it at {name}: that counts for the services behind it too.",
                )
        if parent and not self._is_halved(run, service, parent):
            raise ConfigurationError(
                f"{service} has no batch {batch} in run {run}: batch {parent} was not halved there.",
                remedy=f"Name the whole batch: --batch {parent}.",
            )

    def _is_halved(self, run: str, service: str, batch: str) -> bool:
        held = self._ledger.read(entry_key(run, service, batch))
        return held is not None and bool(held.entry.parts_of(service))

    def _rows(self, message: Message, batch: str) -> int | None:
        at = message.fact(FileParsed).batches_at
        found = self._objects.get(rows_of_batch_key(at, message.run, batch))
        return decode_batch(found.body).row_count if found else None


def waived(before: Entry | None, why: str, rows: int | None, outputs: tuple[Output, ...]) -> Entry:
    """Return the entry of what is given up: what was known of it is kept, with the reason and what is to be told."""
    entry = before or Entry(State.WAIVED)
    notes = {**entry.notes, **({} if rows is None else {WAIVED_ROWS: rows})}
    return replace(entry, state=State.WAIVED, lease_seconds=0, fact=None, skipped=why, notes=notes, outputs=outputs)


def _rows_before_batches(ledger: RunLedger) -> int:
    """Return the good rows of a run that was not sent in batches yet; 0 where it was: those tell of theirs."""
    if any(output.how is How.EACH_BATCH for _, _, output in ledger.outputs()):
        return 0
    facts = (held.entry.fact for held in ledger.all_entries.values())
    return next((fact.good_rows for fact in facts if isinstance(fact, FileParsed)), 0)


def check_reason(why: str) -> None:
    """Refuse what is no reason, or may name a person.

    Raises:
        ConfigurationError: It has no letters, is too long, or holds what looks like an e-mail address.
    """
    if not any(map(str.isalpha, why)) or len(why.strip()) > MAX_REASON:
        raise ConfigurationError(
            f"A waiver needs a reason, in words, of at most {MAX_REASON} characters.",
            remedy='Say it: --why "the client sends them anew"',
        )
    if "@" in why:
        raise ConfigurationError(
            "The reason looks like it names an e-mail address, and the ledger outlives the erasure of personal data.",
            remedy="Give a reason without data of persons.",
        )


def _not_come(run: str, service: str, so: str) -> ConfigurationError:
    return ConfigurationError(
        f"Run {run} has not come to {service} yet, {so}.", remedy=f"Where it is: make status STAGE=... RUN={run}"
    )


def refusal_of(held: Held | None, batch: str) -> str:
    """Return why an entry can't be waived now; empty where it can."""
    if held is None:
        return ""
    if held.entry.state is State.DONE:
        service = held.key.split("/")[2]
        if halves := held.entry.parts_of(service):
            return f"{_was_halved(service, batch, halves)} {_NAME_HALVES}"
        return "It is done: there is nothing to waive."
    if held.entry.state is State.INTENT and held.lease_left > 0:
        return f"A worker is at it. Try again after {_time(held.read_at + timedelta(seconds=held.lease_left))} UTC."
    return ""


def _time(at: datetime) -> str:
    return f"{at + timedelta(seconds=1):%H:%M:%S}"


def _was_halved(service: str, batch: str, halves: tuple[str, ...]) -> str:
    return f"Batch {batch} was too large for one request of {service}: {' and '.join(halves)} took its place."


_NAME_HALVES = "Name the half that is meant, or both."


def _range_of(parsed: FileParsed) -> str:
    if not parsed.batches:
        return "It has none: its file has no good rows."
    return f"Its batches are {batch_name(0)} to {batch_name(parsed.batches - 1)}."
