"""What messages and facts can be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from hypothesis import strategies as st

from qualtrics_etl.messages import FACTS, Fact, Message

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


def outcome(act: Callable[[], T], expected: type[E]) -> T | E:
    """Return what came of it, or the error of the expected kind that it was refused with."""
    try:
        return act()
    except expected as error:
        return error


counts = st.integers(min_value=0, max_value=2**53)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_OF_TYPE = {"str": texts, "int": counts, "bool": st.booleans()}


def _fact(kind: type[Fact]) -> st.SearchStrategy[Fact]:
    return st.builds(kind, **{field.name: _OF_TYPE[str(field.type)] for field in dataclasses.fields(kind)})


facts = st.one_of([_fact(kind) for kind in FACTS.values()])
"""Every fact there is, also those that are added later."""
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,40}", fullmatch=True)
services = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
batches = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
    lambda time: time.replace(microsecond=0, tzinfo=UTC)
)
messages = st.builds(
    Message,
    workflow=names,
    run=names,
    service=services,
    batch=batches,
    expires_at=times,
    generation=st.integers(0, 1000),
    looks=st.integers(0, 1000),
    context=st.lists(facts, unique_by=type, max_size=4).map(tuple),
)
json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
