"""What goes wrong, and at which call: a function of a seed and nothing else, so that a seed means its faults again.

A call is known by who makes it, what it asks for, of which object or queue, and how many of the same were made before.
Runs differ in which calls they make, since workers race; the same call always meets the same fault.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qualtrics_etl.simulator import Fault

ALL_ATTEMPTS = 3
"""As often as boto3 tries a call."""

_MOMENT = re.compile(r"\d{8}T\d{4}(\d\d)?Z")


@dataclass(frozen=True, slots=True)
class Mishap:
    """What happens to one call to AWS.

    Attributes:
        kind: Its name in the table of what was injected.
        weight: How often it comes, compared with the others.
        has_effect: Whether AWS does what it is asked for.
        answer: What the caller sees: `normal`, `error` (500), `throttled`, `cut` (no byte), `half` (of the body).
        attempts: How many of boto3's tries at the call it hits.
        kills: Whether the worker that called is killed, instead of being answered.
    """

    kind: str
    weight: float
    has_effect: bool = False
    answer: str = "normal"
    attempts: int = 1
    kills: bool = False

    @property
    def is_hard(self) -> bool:
        """Whether the step hears of it; the others are mended by boto3."""
        return self.kills or self.attempts >= ALL_ATTEMPTS


MISHAPS = (
    Mishap("error", 20, answer="error"),
    Mishap("error after the effect", 20, has_effect=True, answer="error"),
    Mishap("throttled", 15, answer="throttled"),
    Mishap("cut before the effect", 12, answer="cut"),
    Mishap("cut after the effect", 12, has_effect=True, answer="cut"),
    Mishap("half an answer", 8, has_effect=True, answer="half"),
    Mishap("error at each attempt", 4, answer="error", attempts=ALL_ATTEMPTS),
    Mishap("effect, and error at each attempt", 4, has_effect=True, answer="error", attempts=ALL_ATTEMPTS),
    Mishap("worker killed before the call", 1.5, kills=True),
    Mishap("worker killed after the call", 1.5, has_effect=True, kills=True),
)
"""What can happen to any call that a function makes to S3, SQS or SSM."""

SENT_TWICE = "message sent twice"
TO_ITSELF = 0.2
"""Factor on that chance where a service sends to its own queue."""
MOST_HARD_CALLS = 6
"""From the seventh call of the same identity on, nothing happens to it that boto3 does not mend: chaos is bounded."""


@dataclass(frozen=True, slots=True)
class AwsCall:
    """A call that a function makes, without what differs from run to run.

    Attributes:
        service: Whose function calls.
        api: `s3`, `sqs` or `ssm`.
        operation: For example `PutObject`.
        target: The key, or the queue's name; moments are left out of it.
        number: From 1: how many of the same there were, this one included.
    """

    service: str
    api: str
    operation: str
    target: str
    number: int = 1


def stable_target(target: str) -> str:
    """Return a key or a queue's name without the moments in it: ticks and minutes are others in each run."""
    return _MOMENT.sub("*", target)


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """Which faults are injected.

    Attributes:
        seed: What everything is drawn from.
        chance: Share of the calls to AWS that something happens to.
        chance_twice: Share of the calls that send messages whose messages are sent twice.
        hard: Factor on the weight of what boto3 does not mend: workers killed, errors at each attempt.
        intensity: Factor on how many faults Qualtrics has.
    """

    seed: int
    chance: float = 0.3
    chance_twice: float = 0.3
    hard: float = 1.0
    intensity: float = 1.0

    def mishap(self, call: AwsCall) -> Mishap | None:
        """Return what happens to a call; None where nothing does."""
        drawn = self._draw(call, "mishap")
        if drawn.random() >= self.chance:
            return None
        weights = [each.weight * (self.hard if each.is_hard else 1) for each in MISHAPS]
        (chosen,) = drawn.choices(MISHAPS, weights)
        return None if chosen.is_hard and call.number > MOST_HARD_CALLS else chosen

    def is_sent_twice(self, call: AwsCall) -> bool:
        """Whether the messages of a call that sends some arrive twice."""
        # What a service sends to itself, it sends again and again: there each copy would have copies of its own.
        to_itself = call.target.removesuffix(".fifo").endswith(call.service.replace("_", "-"))
        chance = self.chance_twice * (TO_ITSELF if to_itself else 1)
        return call.operation.startswith("SendMessage") and self._draw(call, "twice").random() < chance

    def qualtrics_faults(self) -> list[Fault]:
        """Return what goes wrong at Qualtrics, in the order in which it is armed: of two that fit, the first hits."""
        numbers = random.Random(f"{self.seed}/qualtrics")  # noqa: S311 - a plan, no secret
        return [
            Fault(
                name,
                count=round(fault.get("count", 1) * self.intensity) or 1,
                skip=numbers.randrange(fault.get("skip", 1)),
                chance=fault.get("chance", 1.0),
                seed=numbers.randrange(1_000_000),
                seconds=fault.get("seconds"),
                method=fault.get("method", ""),
                path=fault.get("path", ""),
            )
            for name, fault in _QUALTRICS
        ]

    def _draw(self, call: AwsCall, what: str) -> random.Random:
        identity = (self.seed, call.service, call.api, call.operation, call.target, call.number, what)
        return random.Random("/".join(map(str, identity)))  # noqa: S311 - a plan, no secret


_QUALTRICS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    # Bursts: so many calls in a row.
    ("throttle_retry_after", {"count": 4, "skip": 12, "seconds": 3, "path": "*/transactioncontacts"}),
    ("throttle_retry_after", {"count": 6, "skip": 40, "seconds": 2, "method": "GET"}),
    ("throttle", {"count": 2, "skip": 2, "path": "/distributions*"}),
    # Single calls, here and there.
    ("server_error", {"count": 20, "chance": 0.01}),
    ("unavailable", {"count": 4, "chance": 0.03}),
    ("gateway_page", {"count": 3, "chance": 0.03}),
    ("timeout", {"count": 3, "chance": 0.03, "seconds": 2}),
    ("timeout_after_effect", {"count": 3, "chance": 0.08, "seconds": 2}),
    ("cut_connection", {"count": 5, "chance": 0.04}),
    ("cut_after_effect", {"count": 4, "chance": 0.1}),
    ("error_after_effect", {"count": 4, "chance": 0.1}),
    ("late_effect", {"count": 2, "chance": 0.08, "seconds": 2}),
    ("cut_late_effect", {"count": 2, "chance": 0.08, "seconds": 2}),
    ("cut_answer", {"count": 5, "chance": 0.04}),
    ("slow_answer", {"count": 6, "chance": 0.05, "seconds": 1}),
    ("slow_jobs", {"count": 4, "chance": 0.2, "seconds": 3}),
    ("failed_job", {"count": 2, "chance": 0.1}),
    ("empty_job", {"count": 2, "chance": 0.1}),
    ("lagging_lists", {"count": 3, "chance": 0.5, "seconds": 3}),
)
"""Scenarios of the simulator, with bounds. Seconds are the machine's; what lists and effects lag is well within the
settle time, on the store's clock."""
