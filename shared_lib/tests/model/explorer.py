"""Breadth-first over every order in which things can happen; the first broken promise is told by its shortest story."""

from __future__ import annotations

import re
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from .world import Broken, Rules, World


@dataclass
class Found:
    """What an exploration came to.

    Attributes:
        worlds: Every world that can be reached.
        steps: How many actions lead from one to another.
        histories: How many histories of workers the code was run for.
        seconds: How long it took.
        broken: The promise that does not hold, or None.
        story: The shortest way to it, a line an action.
        ends: How many worlds are ends, by how.
    """

    worlds: int
    steps: int
    histories: int
    seconds: float
    broken: str | None = None
    story: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        ends = ", ".join(f"{count:,} {name}" for name, count in sorted(self.ends.items()))
        return (
            f"{self.worlds:,} worlds, {self.steps:,} steps, {self.histories:,} histories of workers,"
            f" {self.seconds:.1f} s; ends: {ends}"
        )

    def tell(self) -> str:
        """Return the story, numbered."""
        lines = [f"{number:3} {line}" for number, line in enumerate(self.story, 1)]
        return "\n".join([f"Broken: {self.broken}.", *lines])


class Exploration:
    """All worlds that can be reached from one."""

    def __init__(self, rules: Rules, first: World) -> None:
        self._rules = rules
        self._worlds: list[World] = [first]
        self._numbers: dict[World, int] = {first: 0}
        self._parents = array("i", [-1])
        self._sources = array("i")
        self._targets = array("i")
        self._names: dict[int, str] = {}

    def run(self) -> Found:
        """Visit every world; stop at the first promise that is broken."""
        began = time.process_time()
        broken = self._visit()
        if broken is None:
            broken = self._stuck("from everywhere an end can be reached", self._rules.is_end)
        found = Found(
            len(self._worlds), len(self._targets), self._rules.automaton.histories, time.process_time() - began
        )
        if broken is not None:
            found.broken, found.story = broken
        found.ends.update(self._how(world) for world in self._worlds if self._rules.is_end(world))
        return found

    def worlds(self) -> list[World]:
        """Return every world, in the order in which they were found."""
        return self._worlds

    def _visit(self) -> tuple[str, list[str]] | None:
        number = 0
        while number < len(self._worlds):
            for words, after in self._rules.after(self._worlds[number]):
                if isinstance(after, Broken):
                    story = self.story_of(number)
                    here = self._worlds[number]
                    return after.promise, [*story, _with_names(words, here, here, self._names)]
                target = self._numbers.get(after)
                if target is None:
                    target = self._numbers[after] = len(self._worlds)
                    self._worlds.append(after)
                    self._parents.append(number)
                self._sources.append(number)
                self._targets.append(target)
            number += 1
        return None

    def _stuck(self, promise: str, is_goal: Callable[[World], bool]) -> tuple[str, list[str]] | None:
        """Return the shortest story after which no goal can be reached any more."""
        before: dict[int, list[int]] = {}
        for source, target in zip(self._sources, self._targets, strict=True):
            before.setdefault(target, []).append(source)
        reached = bytearray(len(self._worlds))
        waiting = [number for number, world in enumerate(self._worlds) if is_goal(world)]
        for number in waiting:
            reached[number] = 1
        while waiting:
            for source in before.get(waiting.pop(), ()):
                if not reached[source]:
                    reached[source] = 1
                    waiting.append(source)
        stuck = reached.find(0)
        return None if stuck < 0 else (promise, self.story_of(stuck))

    def story_of(self, number: int) -> list[str]:
        """Return the shortest way to a world, a line an action, each worker under one letter."""
        way = [number]
        while (parent := self._parents[way[-1]]) >= 0:
            way.append(parent)
        lines: list[str] = []
        names: dict[int, str] = {}
        for before, after in pairwise(self._worlds[each] for each in reversed(way)):
            words = next(words for words, world in self._rules.after(before) if world == after)
            lines.append(_with_names(words, before, after, names))
        self._names = names
        return lines

    def _how(self, world: World) -> str:
        entry = self._rules.entry(world)
        if self._rules.is_done(world) and entry is not None:
            return entry.state.value
        errors = {letter.error for letter in world.letters}
        return "outcome unknown" if "OutcomeUnknownError" in errors else "failed"


def _with_names(words: tuple[str, ...], before: World, after: World, names: dict[int, str]) -> str:
    """Return an action in words, its worker under the letter that it keeps; `names` is brought along."""
    gone = Counter(worker.node for worker in before.workers) - Counter(worker.node for worker in after.workers)
    come = Counter(worker.node for worker in after.workers) - Counter(worker.node for worker in before.workers)
    text = " ".join(words)
    for node, name in names.items():
        text = re.sub(rf"worker {node}\b", f"worker {name}", text)
    left = [names.pop(node) for node in gone if node in names]
    for node in come:
        free = next(letter for letter in "ABCDEFGH" if letter not in names.values())
        names[node] = left.pop() if left else free
        if not gone:
            text = text.replace(" is delivered", f" is delivered to worker {names[node]}")
    return text
