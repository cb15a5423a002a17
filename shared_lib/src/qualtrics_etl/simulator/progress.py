"""How far a slow job moves on, as the test or the local run wants it: at once, after n looks, after n seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobProgress:
    """When a job is finished: both conditions must hold; both zero is at once.

    Attributes:
        looks: How often its status has to be asked for.
        seconds: How long it has to run, on the simulator's clock.
    """

    looks: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if type(self.looks) is not int or self.looks < 0 or not 0 <= self.seconds < float("inf"):
            raise ValueError("A job's looks are a whole number and its seconds a number, neither negative.")

    def percent(self, *, looks: int, seconds: float) -> float:
        """Return how much is done after so many looks and seconds: 0.0 to 99.0 until it is finished."""
        shares = [looks / self.looks] if self.looks else []
        shares += [seconds / self.seconds] if self.seconds else []
        return round(min([1.0, *shares]) * 99.0, 1)
