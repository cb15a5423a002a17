"""Faults by named scenario: what can go wrong between a client and the API, armed for calls to come.

Each scenario is one row of a table: whether the call has its effect, and what the client sees. Not documented; chosen:
the bodies of these answers, unless `errors.py` says otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

WRITES = "POST PUT DELETE"
IMPORTS = "*/transactioncontacts"
REPORTS = "*/imports/api-import/jobs/*/report"
CREATING = "*/mailinglists /distributions /distributions/*"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to go wrong.

    Attributes:
        description: One line for who chooses.
        aspect: `answer`, `job` or `listing`, or a name of its own where it goes with all others: a call takes at most
            one fault of each.
        effect: Whether the call does its work: `none`, `now` or `late` (after the fault's seconds).
        answer: `normal`, a status, `cut` (no byte), `cut_body` (half of the body), `silence` (wait, then cut) or `slow`
            (wait, then answer).
        retry_after: Whether a 429 says when to come again.
        outcome: What an import job of this call comes to: `work`, `failed`, `empty` or `untold`.
        seconds: How long, unless told when armed.
        methods: To which methods it belongs.
        paths: To which paths, as shell patterns.
    """

    description: str
    aspect: str = "answer"
    effect: str = "none"
    answer: str = "normal"
    retry_after: bool = False
    outcome: str = "work"
    seconds: float = 0.0
    methods: str = f"GET {WRITES}"
    paths: str = "*"


SCENARIOS: Mapping[str, Scenario] = {
    "throttle": Scenario("429 without Retry-After, nothing happens", answer="429"),
    "throttle_retry_after": Scenario(
        "429 with Retry-After (the fault's seconds), nothing happens", answer="429", retry_after=True, seconds=2
    ),
    "server_error": Scenario("500, nothing happens", answer="500"),
    "unavailable": Scenario("503, nothing happens", answer="503"),
    "gateway_page": Scenario("504 with an HTML page instead of JSON, nothing happens", answer="html"),
    "error_after_effect": Scenario("the call has its effect, then 500", effect="now", answer="500", methods=WRITES),
    "cut_after_effect": Scenario(
        "the call has its effect, then the connection is cut", effect="now", answer="cut", methods=WRITES
    ),
    "late_effect": Scenario(
        "504 at once, the effect comes some (simulated) seconds later",
        effect="late",
        answer="504",
        seconds=30,
        methods=WRITES,
    ),
    "cut_late_effect": Scenario(
        "the connection is cut at once, the effect comes some (simulated) seconds later",
        effect="late",
        answer="cut",
        seconds=30,
        methods=WRITES,
    ),
    "timeout": Scenario("no answer for some (real) seconds, then a cut; nothing happens", answer="silence", seconds=10),
    "timeout_after_effect": Scenario(
        "the call has its effect, but no answer for some (real) seconds, then a cut",
        effect="now",
        answer="silence",
        seconds=10,
        methods=WRITES,
    ),
    "slow_answer": Scenario("the answer comes some (real) seconds late", effect="now", answer="slow", seconds=2),
    "cut_connection": Scenario("the connection is cut before a byte is sent; nothing happens", answer="cut"),
    "cut_answer": Scenario("the answer breaks off in the middle of its body", effect="now", answer="cut_body"),
    "wrong_token": Scenario("401 DCD_7, as if the token were wrong", answer="401"),
    "forbidden": Scenario("403 AuthZ_2.0, as if a permission were missing", answer="403"),
    "refused_import": Scenario(
        "400 for an import, whatever it holds; nothing happens", answer="400", methods="POST", paths=IMPORTS
    ),
    "report_not_found": Scenario("404 for the report of an import", answer="404", methods="GET", paths=REPORTS),
    "slow_jobs": Scenario(
        "an import job takes some (simulated) seconds", aspect="job", seconds=60, methods="POST", paths=IMPORTS
    ),
    "failed_job": Scenario(
        "an import job ends as `failed`, with HTTP 200", aspect="job", outcome="failed", methods="POST", paths=IMPORTS
    ),
    "empty_job": Scenario(
        "an import job is complete with 0/0/0 and imports nothing",
        aspect="job",
        outcome="empty",
        methods="POST",
        paths=IMPORTS,
    ),
    "untold_row": Scenario(
        "an import job counts its last contact nowhere, and its report says DEFERRED of it",
        aspect="job",
        outcome="untold",
        methods="POST",
        paths=IMPORTS,
    ),
    "lagging_report": Scenario(
        "the report of an import names no contact yet", aspect="lagging_report", methods="GET", paths=REPORTS
    ),
    "short_report_pages": Scenario(
        "the report of an import has two contacts on a page", aspect="short_report_pages", methods="GET", paths=REPORTS
    ),
    "one_based_report": Scenario(
        "an import counts its contacts from 1, in `unprocessed` and in its report",
        aspect="one_based_report",
        methods="POST",
        paths=IMPORTS,
    ),
    "unknown_report_words": Scenario(
        "the report of an import has words and codes that nobody has seen",
        aspect="unknown_report_words",
        methods="POST",
        paths=IMPORTS,
    ),
    "unnamed_failures": Scenario(
        "an import does not name in `invalidEmails` whose addresses are none: only its report tells who failed",
        aspect="unnamed_failures",
        methods="POST",
        paths=IMPORTS,
    ),
    "unprocessed_addresses": Scenario(
        "an import names in `unprocessed` addresses, not positions",
        aspect="unprocessed_addresses",
        methods="POST",
        paths=IMPORTS,
    ),
    "lagging_lists": Scenario(
        "what a call creates is in listings only some (simulated) seconds later",
        aspect="listing",
        seconds=30,
        methods="POST",
        paths=CREATING,
    ),
}
"""Every scenario by its name."""

ASPECTS = tuple(dict.fromkeys(row.aspect for row in SCENARIOS.values()))
"""Every aspect, `answer` first."""

HARMLESS = Scenario("nothing goes wrong", effect="now")


@dataclass(slots=True)
class Fault:
    """A scenario, armed.

    Attributes:
        scenario: Its name.
        count: How many calls it still hits; None is all.
        skip: How many matching calls it lets pass first.
        chance: Share of the matching calls that it hits, 0 to 1, drawn from `seed`.
        seconds: How long; None is the scenario's own.
        method: Only this method; empty is the scenario's own.
        path: Only these paths below the API's root, as a shell pattern; empty is the scenario's own.
        seen: How many matching calls it has met.

    Raises:
        ValueError: There is no such scenario, or a number is out of bounds.
    """

    scenario: str
    count: int | None = 1
    skip: int = 0
    chance: float = 1.0
    seed: int = 0
    seconds: float | None = None
    method: str = ""
    path: str = ""
    seen: int = 0

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise ValueError(f"There is no scenario {self.scenario!r}. There are: {', '.join(SCENARIOS)}.")
        if (self.count is not None and self.count < 0) or self.skip < 0 or not 0 <= self.chance <= 1:
            raise ValueError("A fault's count and skip are not negative, and its chance is from 0 to 1.")
        if self.seconds is not None and not 0 <= self.seconds < float("inf"):
            raise ValueError("A fault's seconds are not negative.")

    @property
    def row(self) -> Scenario:
        """The scenario's row of the table."""
        return SCENARIOS[self.scenario]

    @property
    def duration_seconds(self) -> float:
        """How long."""
        return self.row.seconds if self.seconds is None else self.seconds

    def hits(self, method: str, path: str) -> bool:
        """Whether this call is hit; counts it."""
        if self.count == 0 or not self._matches(method, path):
            return False
        self.seen += 1
        drawn = random.Random(f"{self.seed}/{self.seen}").random() < self.chance
        if self.seen <= self.skip or not drawn:
            return False
        if self.count is not None:
            self.count -= 1
        return True

    def _matches(self, method: str, path: str) -> bool:
        methods = [self.method.upper()] if self.method else self.row.methods.split()
        paths = [self.path] if self.path else self.row.paths.split()
        return method in methods and any(fnmatchcase(path, pattern) for pattern in paths)


def take(faults: Sequence[Fault], method: str, path: str) -> dict[str, Fault]:
    """Return the faults that hit a call, by aspect: of each aspect, the first that was armed.

    A call that has no effect at once uses up no fault of its effect (job, listing).
    """
    answer = _first(faults, "answer", method, path)
    taken = {"answer": answer} if answer else {}
    if answer is None or answer.row.effect == "now":
        for aspect in ASPECTS[1:]:
            if fault := _first(faults, aspect, method, path):
                taken[aspect] = fault
    return taken


def _first(faults: Sequence[Fault], aspect: str, method: str, path: str) -> Fault | None:
    return next((fault for fault in faults if fault.row.aspect == aspect and fault.hits(method, path)), None)


def parse(text: str) -> Fault:
    """Read a fault as the command line writes it: `NAME` or `NAME:key=value,key=value`.

    Raises:
        ValueError: Name, key or value can't be read; says which are there.
    """
    name, _, settings = text.partition(":")
    given: dict[str, object] = {}
    for setting in filter(None, settings.split(",")):
        key, _, value = setting.partition("=")
        if key not in _READERS:
            raise ValueError(f"A scenario has no setting {key!r}. There are: {', '.join(_READERS)}.")
        try:
            given[key] = _READERS[key](value)
        except ValueError as exc:
            raise ValueError(f"The setting {key}={value} of {name} can't be read: a number is needed.") from exc
    return Fault(name, **given)  # type: ignore[arg-type]  # each reader gives its field's type


_READERS: Mapping[str, Callable[[str], object]] = {
    "count": lambda value: None if value == "all" else int(value),
    "skip": int,
    "chance": float,
    "seed": int,
    "seconds": float,
    "method": str,
    "path": str,
}
