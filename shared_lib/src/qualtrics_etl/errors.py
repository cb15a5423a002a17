"""The errors of the library, sorted into one tree by what becomes of the message.

    QualtricsEtlError
    ├── ConfigurationError        a setting or secret is wrong, and nothing came of the call: put it right, deploy
    │   └── WorkflowError         the fault is in workflow.yml, at the line that is named
    ├── InputError                what the client sent is unusable: it stops here, every other input goes on
    │   ├── RequestRefusedError   a request that reached us is refused: its sender is told why, nothing is kept of it
    │   ├── RowRejectedError      a single row is unusable: it ends in the reject file, its neighbours go on
    │   └── RowSkippedError       a single row is left out on purpose: it is counted as skipped, with the reason
    ├── NotYetError               nothing is wrong, only early: another look later, which costs no try
    │   └── UndecidedError        it can't be told yet what an earlier call did
    ├── RetryableError            likely to pass: tried again after a growing pause, until the tries are used up
    │   ├── LostClaimError        another worker has taken the work over: this one gives way
    │   └── PreconditionFailedError   an object is no longer as it was when it was read
    └── PermanentError            trying again changes nothing: the message waits until somebody follows the remedy
        ├── ContentRefusedError   Qualtrics refuses what the request holds, all of it: a part of it may pass
        └── OutcomeUnknownError   Qualtrics may have acted, and acting twice could reach people: look there first

Each text has three parts: the fault, its place, the next step. It never holds a secret or anything of a person.
"""

from __future__ import annotations

from typing_extensions import override

SEND_ANEW = "Have the client send the missing rows in a new file, then delete this message."
"""The remedy where all of a run is over: the same file again would be recognised, and begin nothing."""
GIVE_UP = "Have the client send the missing rows in a new file, then give this work up (make waive)."
"""The remedy where a piece of a run can't go on: deleted and not given up, the others would wait for it for ever."""
EXPIRED = f"It expires with the run's personal data. {GIVE_UP}"
"""The remedy where something of a run is gone from the store."""


class QualtricsEtlError(Exception):
    """The root: what went wrong, and what to do about it.

    Attributes:
        what: What happened, and where.
        remedy: What the reader does next; empty where nothing has to be done.
        request_id: The id Qualtrics gave the failed request; None where no request was answered.
    """

    def __init__(self, what: str, *, remedy: str = "", request_id: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.request_id = request_id

    @override
    def __str__(self) -> str:
        request = f" [request {self.request_id}]" if self.request_id else ""
        return f"{self.what}{request}{' ' + self.remedy if self.remedy else ''}"


class ConfigurationError(QualtricsEtlError):
    """A setting, a secret or a hook is not as it must be; Qualtrics did nothing."""


class WorkflowError(ConfigurationError):
    """The workflow can't work.

    Attributes:
        line: Line in workflow.yml, counted from 1; None where the whole file is meant.
    """

    def __init__(self, what: str, *, remedy: str = "", line: int | None = None) -> None:
        super().__init__(what, remedy=remedy)
        self.line = line

    @override
    def __str__(self) -> str:
        where = f"workflow.yml:{self.line}: " if self.line is not None else "workflow.yml: "
        return where + super().__str__()


class InputError(QualtricsEtlError):
    """What the client sent is unusable as a whole, so none of it reaches Qualtrics.

    Attributes:
        file: Name of the file, as the client knows it; None for an event.
        row_number: Line in the file, counted from 1, where reading stopped; None where the whole is meant.
        field: Column or key that is at fault; None where no single one is.
    """

    def __init__(
        self,
        what: str,
        *,
        remedy: str = "",
        file: str | None = None,
        row_number: int | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(what, remedy=remedy)
        self.file = file
        self.row_number = row_number
        self.field = field


class RequestRefusedError(InputError):
    """A request that reached us is refused; who sent it is told why, and what to do.

    Attributes:
        status: The HTTP status of the answer: 400 to 499.
    """

    def __init__(self, what: str, *, status: int, remedy: str = "", field: str | None = None) -> None:
        super().__init__(what, remedy=remedy, field=field)
        self.status = status


class RowRejectedError(InputError):
    """A hook refuses one row; it is kept with the reason, and its neighbours go on."""


class RowSkippedError(InputError):
    """A hook leaves one row out, and says why; nothing is wrong with it."""


class NotYetError(QualtricsEtlError):
    """There is nothing to do but to wait: for a limit, a job, or another worker at the same message.

    Attributes:
        delay_seconds: How long to wait before the next look.
        call_made: False when it is certain that the step's own call had no effect, so that the next attempt need
            not look whether it did.
    """

    def __init__(
        self,
        what: str,
        *,
        delay_seconds: float,
        call_made: bool = False,
        remedy: str = "",
        request_id: str | None = None,
    ) -> None:
        super().__init__(what, remedy=remedy, request_id=request_id)
        self.delay_seconds = delay_seconds
        self.call_made = call_made


class UndecidedError(NotYetError):
    """Whether an earlier call had its effect can't be told yet; what was seen so far is in the ledger already."""


class RetryableError(QualtricsEtlError):
    """A fault that is likely to pass: the message is tried again, after longer and longer pauses.

    Attributes:
        call_made: False when it is certain that the step's own call had no effect. True is the safe belief after a
            time-out, a cut connection or a 5xx.
    """

    def __init__(self, what: str, *, call_made: bool = True, remedy: str = "", request_id: str | None = None) -> None:
        super().__init__(what, remedy=remedy, request_id=request_id)
        self.call_made = call_made


class LostClaimError(RetryableError):
    """Another worker wrote the ledger's entry first: whatever this one did must not be recorded over it."""


class PreconditionFailedError(RetryableError):
    """A conditional put or delete was refused: the object is not in the state that was named (HTTP 412)."""

    def __init__(self, what: str) -> None:
        super().__init__(what, call_made=False)


class PermanentError(QualtricsEtlError):
    """Trying again changes nothing: the message stays in the dead-letter queue until somebody follows the remedy."""


class ContentRefusedError(PermanentError):
    """Qualtrics refuses a request for what it holds; none of it had an effect, and a part of it may pass."""


class OutcomeUnknownError(PermanentError):
    """Nobody knows whether Qualtrics acted on a call that may reach people: a person looks before it is repeated."""
