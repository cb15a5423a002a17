"""A name of a remote folder is taken, left out, or refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.file_names import RefusedName, keep_name, refuse_name


@pytest.mark.parametrize(
    ("name", "shown", "reason"),
    [
        ("../passwd.csv", "../passwd.csv", "holds a path separator"),
        ("..\\passwd.csv", r"..\\passwd.csv", "holds a path separator"),
        ("a\nb.csv", r"a\nb.csv", "holds control characters"),
        ("a\x00.csv", r"a\x00.csv", "holds control characters"),
        ("a\u2028.csv", r"a\u2028.csv", "holds control characters"),
        ("a\u202evsc.exe.csv", r"a\u202evsc.exe.csv", "holds characters that turn the direction of text"),
        ("m\udcfcller.csv", r"m\udcfcller.csv", "is not UTF-8"),
        ("ü" * 126 + ".csv", r"\xfc" * 75, "is longer than 255 bytes"),
    ],
)
def test_hostile_name_is_refused_with_its_reason(name: str, shown: str, reason: str) -> None:
    """A name that could lead elsewhere, mislead a reader or break a log is refused, and shown safely."""
    assert refuse_name(name) == RefusedName(shown, reason)


@pytest.mark.parametrize(
    "name", ["contacts.csv", "kontakte märz 2026.csv", "連絡先.csv", "a'b;c&d$(e).csv", "ü" * 125 + ".csv"]
)
def test_unusual_but_harmless_name_is_accepted(name: str) -> None:
    """Spaces, other scripts and shell characters are no reason to refuse a client's file."""
    assert refuse_name(name) is None


@given(st.text(st.characters(), max_size=300))
def test_accepted_name_is_one_printable_path_segment(name: str) -> None:
    """Whatever a server claims, what is accepted fits a path segment and can be stored as UTF-8."""
    if refuse_name(name) is None:
        assert "/" not in name
        assert "\\" not in name
        assert len(name.encode()) <= 255
        assert len(name.splitlines()) <= 1


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a.csv", True),
        ("A.CSV", False),
        ("a.csv.done", False),
        (".a.csv", False),
        (".", False),
        ("..", False),
        ("", False),
        ("../a.csv", True),
    ],
)
def test_pattern_markers_and_hidden_names_decide_what_is_kept(name: str, kept: bool) -> None:
    """Names that fit are kept; hidden and marker files are not; a name that traverses stays, to be refused."""
    assert keep_name(name, "*.csv*" if name.endswith(".done") else "*.csv", marker_suffix=".done") is kept
