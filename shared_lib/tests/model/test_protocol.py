"""The protocol keeps its promises in every order of what can happen, within bounds.

A model check whose transitions are the code's own: each worker is the real `handle` of a real step, with the real
ledger and outbox, stopped at each thing that it asks of the world. What it is answered is explored breadth-first:

- two workers at once, any message delivered at any time, a second delivery while the first is being worked on;
- a worker killed between any two actions, or by its time-out, and never at work after it;
- reads and puts of the entry, sends and acknowledgements without answer, with or without effect;
- a call that is refused, throttled, never connected, or whose answer is lost, with or without effect;
- an effect that lists do not show (or that lands) until the settle time after the call has passed;
- a search, a look at a job or a check that goes unanswered or is refused; a job that ends badly;
- dead letters sent back by a person, in any order, as they are;
- the work given up by a person, whose command may die before it has told anybody.

Bounds: `faults` is how many of these mishaps there are in one story, of whatever kinds; `copies` how many second
deliveries; `redrives` how many dead letters are sent back; `waivers` how often the work is given up. A message is
received twice at most. Time moves by minutes: a function may run for one, lease and settle time are two. One message,
so no fan-in and no splits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from qualtrics_etl.ledger import Held, State
from qualtrics_etl.steps.base import Step

from .automaton import Automaton, Importing, Repeating, Searching, silence
from .explorer import Exploration
from .mutants import MUTANTS, TWICE, Mutant
from .real import ContactsOfAttempt, InvitationOfAttempt, ListOfAttempt, ReminderOfAttempt, real
from .world import SETTLE, Rules, World, beginning


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    speak_again = silence()
    yield
    speak_again()


def bounds(step: type[Step], faults: int, copies: int, redrives: int, *, safe: bool = False, waivers: int = 0) -> Any:
    """Return the parameters of an exploration, with a name that says them."""
    name = f"{step.__name__}{'-safe' * safe}-{faults}-{copies}-{redrives}{'-waived' * waivers}"
    first = beginning(faults=faults, copies=copies, redrives=redrives, waivers=waivers)
    return pytest.param(step, safe, first, id=name)


BOUNDS = (
    bounds(Searching, 2, 0, 0),
    bounds(Searching, 1, 1, 0),
    bounds(Searching, 1, 0, 1),
    bounds(Importing, 1, 0, 1, safe=True),
    bounds(Importing, 1, 0, 1),
    bounds(Repeating, 1, 1, 1, safe=True),
    bounds(Searching, 1, 0, 1, waivers=1),
    bounds(Importing, 1, 0, 0, waivers=1),
    bounds(Repeating, 1, 1, 1, safe=True, waivers=1),
)
LARGER_BOUNDS = (
    bounds(Searching, 1, 1, 1),
    bounds(Searching, 2, 0, 1),
    bounds(Importing, 1, 1, 1, safe=True),
    bounds(Importing, 1, 1, 1),
    bounds(Importing, 2, 0, 0),
    bounds(Repeating, 2, 1, 1, safe=True),
    bounds(Searching, 1, 1, 1, waivers=1),
    bounds(Importing, 1, 0, 1, waivers=1),
    bounds(Importing, 1, 1, 1, safe=True, waivers=1),
)


def check(step: type[Step], safe: bool, first: World) -> None:
    """Explore, say how much there was, and fail with the shortest story of a broken promise."""
    found = Exploration(Rules(Automaton(step), repeats_harmlessly=safe), first).run()
    print(f"\n{step.__name__}: {found}")  # noqa: T201 - what was covered belongs to the result
    assert found.broken is None, found.tell()
    assert found.ends["done"]
    assert bool(found.ends["waived"]) is bool(first.waivers)


@pytest.mark.parametrize(("step", "safe", "first"), BOUNDS)
def test_promises_hold_in_every_order(step: type[Step], safe: bool, first: World) -> None:
    """No effect twice, nothing lost, never two live leases, sent on is what was recorded; an end is always in reach."""
    check(step, safe, first)


@pytest.mark.nightly
@pytest.mark.parametrize(("step", "safe", "first"), LARGER_BOUNDS)
def test_promises_hold_within_larger_bounds(step: type[Step], safe: bool, first: World) -> None:
    """The same, with more mishaps in one story."""
    check(step, safe, first)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.step.__name__)
def test_each_rule_is_needed(mutant: Mutant) -> None:
    """Without any one of the protocol's rules a promise breaks, and a short story tells how."""
    first = beginning(faults=mutant.faults, copies=mutant.copies, redrives=mutant.redrives, waivers=mutant.waivers)
    found = Exploration(Rules(Automaton(mutant.step)), first).run()
    print(f"\n{mutant.step.__name__}: {found.tell()}")  # noqa: T201 - the story is the result
    assert found.broken == mutant.broken
    assert len(found.story) <= 13


def test_waiver_needs_the_look_at_the_entry() -> None:
    """Without the look at state and lease, what is done is given up, or what a worker is about to call for."""
    rules = Rules(Automaton(Searching), refuse=lambda held, batch: "")
    found = Exploration(rules, beginning(faults=0, copies=0, redrives=0, waivers=1)).run()
    assert found.broken in ("a call is made under a live lease, by who holds it", "what is done stays done")
    only_done = Rules(Automaton(Searching), refuse=lambda held, batch: "done" if _is_done(held) else "")
    found = Exploration(only_done, beginning(faults=0, copies=0, redrives=0, waivers=1)).run()
    assert found.broken == "a call is made under a live lease, by who holds it", found.tell()


def _is_done(held: Held | None) -> bool:
    return held is not None and held.entry.state is State.DONE


def test_effect_that_shows_too_late_comes_twice() -> None:
    """What can't be promised: an effect that lists show only after the settle time and both looks is made again."""
    rules = Rules(Automaton(Searching), settle=3 * SETTLE)
    found = Exploration(rules, beginning(faults=1, copies=0, redrives=0)).run()
    assert found.broken == TWICE, found.tell()


def outline(rules: Rules, world: World) -> object:
    """Return what of a world does not depend on the names and ids in a step's requests."""
    entry, stored = rules.entry(world), world.entry
    ledger = entry and (
        entry.state,
        entry.generation,
        entry.lease_seconds,
        entry.failures,
        entry.call_possible,
        entry.absent_looks,
        entry.job_id is not None,
        entry.cause and entry.cause.error,
    )
    workers = sorted((type(rules.automaton.nodes[each.node].op).__name__, each.age) for each in world.workers)
    effects = tuple((effect.hidden, effect.job) for effect in world.effects)
    times = stored and (stored.quiet, stored.age)
    plain = world._replace(entry=None, workers=(), effects=())
    return ledger, times, tuple(workers), effects, plain


def outlines(automaton: Automaton, *, safe: bool) -> set[object]:
    """Return the outlines of all worlds that a step's automaton can reach."""
    rules = Rules(automaton, repeats_harmlessly=safe)
    exploration = Exploration(rules, beginning(faults=1, copies=0, redrives=1))
    found = exploration.run()
    assert found.broken is None, found.tell()
    return {outline(rules, world) for world in exploration.worlds()}


@pytest.mark.parametrize(
    ("model", "step", "safe"),
    [
        (Searching, ListOfAttempt, False),
        (Searching, InvitationOfAttempt, False),
        (Searching, ReminderOfAttempt, False),
        (Importing, ContactsOfAttempt, True),
        (Importing, ContactsOfAttempt, False),
    ],
)
def test_steps_of_the_library_do_what_the_model_does(model: type[Step], step: type[Step], safe: bool) -> None:
    """Each calling step, with requests, answers and hooks that change, reaches the worlds of the model and no other."""
    with_requests, plain = outlines(real(step), safe=safe), outlines(Automaton(model), safe=safe)
    assert with_requests == plain
