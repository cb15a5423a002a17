"""How work on a message can end: what a step says, and what becomes of the message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qualtrics_etl.errors import QualtricsEtlError
from qualtrics_etl.ledger import Cause, Output
from qualtrics_etl.messages import Fact, Message


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a calling step is about to do.

    Attributes:
        body: The exact request body; None when there is nothing to call for.
        notes: Counts for the receipt.
        fact: What is true when there is nothing to call for.
        rows: What becomes of each row: `sent` in the order of the request, or how it ended already; empty for work that
            is not about rows.
        halves: The derived batches that take this one's place, being too large for one request; their rows are stored.
    """

    body: bytes | None
    notes: Mapping[str, int] = field(default_factory=dict)
    fact: Fact | None = None
    rows: bytes = b""
    halves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """Qualtrics took the call as a job.

    Attributes:
        job_id: Its id.
        look_after_seconds: When to look for the first time.
        notes: Counts to add to those of the request.
    """

    job_id: str
    look_after_seconds: float
    notes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StillRunning:
    """The job goes on, or what it did can't be told yet.

    Attributes:
        delay_seconds: When to look again.
        notes: Counts to write down before that; a job that has some is not too slow, it has ended.
    """

    delay_seconds: float
    notes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """Work came to an end.

    Attributes:
        fact: What is true now; None when there was nothing to do.
        skipped: Why there was nothing to do.
        outputs: What follows; None for the usual: the next services are told.
        rows: What became of each row; None where that stands already, empty where the rows are others' now.
    """

    fact: Fact | None = None
    skipped: str | None = None
    outputs: tuple[Output, ...] | None = None
    rows: bytes | None = None


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The message is settled."""


@dataclass(frozen=True, slots=True)
class Defer:
    """Send the message again after a delay; no receive is burnt.

    Attributes:
        attributes: What goes along beside the message.
    """

    message: Message
    delay_seconds: float
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retry:
    """Let the queue deliver it again, after a back-off."""

    message: Message
    error: Exception


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Put it aside for the on-call engineer; the message is None when it could not be read."""

    message: Message | None
    cause: Cause


Verdict = Acknowledge | Defer | Retry | DeadLetter


def cause_of(error: Exception) -> Cause:
    """Return why an error stops a message, as the dead letter says it."""
    if isinstance(error, QualtricsEtlError):
        return Cause.of(error)
    remedy = "Mend the code and deploy it, then send the message back."
    return Cause(text_of(error), remedy, error=type(error).__name__)


def text_of(error: Exception) -> str:
    """Say what an error is, without what it may quote: a foreign error's text can hold a person's data."""
    if isinstance(error, QualtricsEtlError):
        return str(error)
    trace, where = error.__traceback__, "?"
    while trace is not None:
        # Three names tell which of the many handler.py it is.
        where = f"{'/'.join(Path(trace.tb_frame.f_code.co_filename).parts[-3:])}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} at {where}"
