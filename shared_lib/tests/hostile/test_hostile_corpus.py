"""The corpus: everything hostile ends in a clear error, or costs the one row, name or message that is at fault."""

from __future__ import annotations

import pytest

from qualtrics_etl.errors import InputError, RequestRefusedError

from . import (
    api_answers,
    csv_files,
    lambda_events,
    packed_files,
    posts,
    queue_messages,
    remote_files,
    response_events,
    settings_files,
    stored_objects,
    xml_files,
)
from .case import Arena, Case

MODULES = (
    api_answers,
    csv_files,
    lambda_events,
    packed_files,
    posts,
    queue_messages,
    remote_files,
    response_events,
    settings_files,
    stored_objects,
    xml_files,
)
CASES = [case for module in MODULES for case in module.CASES]
LONGEST_TEXT = 1_000


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_hostile_is_refused_clearly_or_survived(case: Case, request: pytest.FixtureRequest) -> None:
    """The error is of the expected class, names the fault, its place and a remedy, and is short whatever came in."""
    arena = Arena(request)
    if case.error is None:
        outcome = case.act(arena)
        text = str(outcome)
        if not case.says:
            assert outcome == case.gives
    else:
        with pytest.raises(case.error) as caught:
            case.act(arena)
        assert type(caught.value) is case.error
        assert bool(caught.value.remedy) or not case.needs_remedy
        is_of_a_file = isinstance(caught.value, InputError) and not isinstance(caught.value, RequestRefusedError)
        assert not is_of_a_file or caught.value.file
        text = str(caught.value)
    assert [piece for piece in case.says if piece not in text] == []
    assert not case.says or len(text) <= LONGEST_TEXT


def test_corpus_is_as_large_as_promised() -> None:
    """At least 60 files and payloads, each of its own name."""
    assert len({case.name for case in CASES}) == len(CASES) >= 60
