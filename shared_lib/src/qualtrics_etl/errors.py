"""Every error of the library, in one tree, by what happens to the message next.

    QualtricsEtlError
    ├── ConfigurationError        nothing was tried: correct the setting, deploy again
    │   └── WorkflowError         workflow.yml can't work; names the line
    ├── InputError                the client's data: this file is put aside, other files go on
    │   └── RowRejectedError      one row is put aside with its reason, the other rows go on
    ├── NotYetError               too early or throttled: sent again later, no receive is burnt
    ├── RetryableError            the queue delivers it again, with back-off
    │   └── PreconditionFailedError   somebody else changed the object first: read it back
    └── PermanentError            no retry can help: it waits in the dead-letter queue, with the remedy
        └── OutcomeUnknownError   the call may or may not have happened, and repeating it could reach people twice

A text says what happened, where, and what to do next, without secrets and without personal data.
"""

from __future__ import annotations

from typing_extensions import override


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
    """A setting is missing or wrong; nothing was tried."""


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
    """The client's file or event can't be used as a whole; nothing of it goes on.

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


class RowRejectedError(InputError):
    """One row can't go on: raised by a hook, kept with its reason; the other rows go on."""


class NotYetError(QualtricsEtlError):
    """Too early, throttled, or somebody else is at it: the message is sent again later.

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


class RetryableError(QualtricsEtlError):
    """A fault that may pass: the queue delivers the message again, with back-off.

    Attributes:
        call_made: False when it is certain that the step's own call had no effect. True is the safe belief after a
            time-out, a cut connection or a 5xx.
    """

    def __init__(self, what: str, *, call_made: bool = True, remedy: str = "", request_id: str | None = None) -> None:
        super().__init__(what, remedy=remedy, request_id=request_id)
        self.call_made = call_made


class PreconditionFailedError(RetryableError):
    """A conditional put or delete was refused: the object is not in the state that was named (HTTP 412)."""

    def __init__(self, what: str) -> None:
        super().__init__(what, call_made=False)


class PermanentError(QualtricsEtlError):
    """No retry can help: the message waits in the dead-letter queue until somebody acts on the remedy."""


class OutcomeUnknownError(PermanentError):
    """The call may or may not have happened, and a repeat could reach people twice: a person has to look."""
