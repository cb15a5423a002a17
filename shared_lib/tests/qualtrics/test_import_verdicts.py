"""What Qualtrics says of an import's contacts is believed where it fits, and no further."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.qualtrics.contact_imports import ImportProgress, ReportEntry
from qualtrics_etl.qualtrics.import_verdicts import Judgement, Told, judge

CONTACTS = [{"email": f"p{number}@client.example", "firstName": "Ann"} for number in range(4)]


def counted(added: int = 0, updated: int = 0, failed: int = 0, *invalid: str) -> ImportProgress:
    """Return the counts of a job that has ended."""
    return ImportProgress(100.0, "complete", added, updated, failed, True, invalid)


def entry(
    position: int | None, number: int | None, status: str = "SUCCESS", code: str = "", ids: str = ""
) -> ReportEntry:
    """Return a line of a report about the contact of a number; without one it names no address."""
    email = "" if number is None else f"P{number}@client.example"
    return ReportEntry(position, email, ids or None, status, code, ids or None, "")


def told(
    progress: ImportProgress, *entries: ReportEntry, unprocessed: Sequence[int | str] = (), sent: int = 4
) -> list[Told]:
    """Return what is certain of each contact."""
    return [each.told for each in judge(CONTACTS[:sent], progress, unprocessed, entries).verdicts]


NEW, KNOWN, IN, REFUSED, OPEN = Told.NEW, Told.KNOWN, Told.IN, Told.REFUSED, Told.OPEN


@pytest.mark.parametrize("first", [0, 1])
def test_positions_are_those_that_fit_the_addresses(first: int) -> None:
    """Whether it counts from 0 or 1 is told by the addresses, whatever their case."""
    entries = [entry(number + first, number, "FAILURE" if number == 2 else "SUCCESS") for number in range(4)]
    assert told(counted(3, 0, 1), *entries) == [NEW, NEW, REFUSED, NEW]


@pytest.mark.parametrize(("positions", "refused"), [((0, 2), [0, 2]), ((2, 4), [1, 3])])
def test_positions_without_addresses_are_told_by_their_bounds(positions: tuple[int, ...], refused: list[int]) -> None:
    """A position 0 can only be counted from 0, and one as high as the contacts only from 1."""
    entries = [entry(position, None, "FAILURE") for position in positions]
    assert told(counted(2, 0, 2), *entries) == [REFUSED if number in refused else NEW for number in range(4)]


def test_positions_that_fit_both_ways_say_nothing() -> None:
    """Where nothing tells from where it counts, no row is rejected by it."""
    assert told(counted(3, 0, 1), entry(2, None, "FAILURE")) == [OPEN] * 4


def test_position_of_another_is_not_believed() -> None:
    """An entry whose position is another's is placed by its address."""
    entries = [entry(0, 0), entry(1, 1), entry(2, 3, "FAILURE"), entry(3, 2)]
    assert told(counted(3, 0, 1), *entries) == [NEW, NEW, NEW, REFUSED]


def test_address_of_several_contacts_places_nothing() -> None:
    """An address alone tells no contact where two have it."""
    twins = [{"email": "a@b.c"}, {"email": "a@b.c"}]
    judgement = judge(twins, counted(1, 0, 1), (), [ReportEntry(None, "a@b.c", None, "FAILURE", "", None, "")])
    assert [each.told for each in judgement.verdicts] == [OPEN, OPEN]


def test_report_of_failures_alone_is_enough() -> None:
    """As many failures as were counted: all others came in."""
    assert told(counted(3, 0, 1), entry(0, 0, "FAILURE")) == [REFUSED, NEW, NEW, NEW]


def test_report_of_successes_alone_is_enough() -> None:
    """As many successes as were counted: all others were refused."""
    assert told(counted(3, 0, 1), *(entry(number, number) for number in range(3))) == [NEW, NEW, NEW, REFUSED]


def test_counts_that_do_not_add_up_settle_nothing() -> None:
    """What the counts leave out may be anything: only what is said of a contact counts."""
    assert told(counted(2, 0, 1), entry(0, 0), entry(1, 1, "FAILURE")) == [NEW, REFUSED, OPEN, OPEN]


@pytest.mark.parametrize(
    ("status", "code", "ids", "read"),
    [
        ("Created", "", "", NEW),
        ("UPDATED", "", "", KNOWN),
        ("success", "200", "", IN),
        ("", "201", "", IN),
        ("", "400", "", REFUSED),
        ("Invalid", "", "", REFUSED),
        ("STATE_7", "", "CID_1", IN),
        ("STATE_7", "X1", "", OPEN),
        ("", "", "", OPEN),
        ("IN_PROGRESS", "", "CID_1", OPEN),
        ("SUCCESS", "400", "", OPEN),
        ("FAILED", "200", "", OPEN),
        ("", "503", "", OPEN),
    ],
)
def test_words_are_read_where_they_are_plain(status: str, code: str, ids: str, read: Told) -> None:
    """Plain words, HTTP codes and ids in the list are understood; what is new, or contradicts itself, is not."""
    entries = [entry(0, 0, status, code, ids), entry(1, 1, "created"), entry(2, 2, "updated")]
    assert told(counted(9, 9, 9), *entries)[0] == read


def test_contradicting_entries_leave_a_contact_open() -> None:
    """One says so, the other so: nothing is certain."""
    assert told(counted(9, 9, 9), entry(0, 0, "SUCCESS"), entry(0, 0, "FAILURE"), sent=2)[0] == OPEN


@pytest.mark.parametrize("unprocessed", [[1, 3], ["P1@client.example", "p3@client.example"]])
def test_what_was_refused_at_once_is_refused(unprocessed: list[int | str]) -> None:
    """Positions that the report leaves out, or addresses."""
    assert told(counted(2), entry(0, 0), entry(2, 2), unprocessed=unprocessed) == [NEW, REFUSED, NEW, REFUSED]


def test_position_of_one_that_came_in_is_not_refused() -> None:
    """A position that could be two contacts' is that of which nothing better was said."""
    entries = [entry(None, 0), entry(None, 2), entry(None, 3)]
    assert told(counted(3), *entries, unprocessed=[2]) == [NEW, REFUSED, NEW, NEW]


def test_invalid_address_is_refused_and_names_its_field() -> None:
    """What the job itself calls no address needs no report; the field at fault is the address."""
    judgement = judge(CONTACTS, counted(3, 0, 1, "P2@client.example"), (), ())
    assert [each.told for each in judgement.verdicts] == [NEW, NEW, REFUSED, NEW]
    assert (judgement.verdicts[2].field, judgement.verdicts[2].words) == ("email", "invalidEmails")


def test_new_and_known_follow_from_the_counts_where_they_can() -> None:
    """With as many new ones named as counted, the rest was known; what words and counts leave open stays so."""
    named = [entry(0, 0, "created"), *(entry(number, number) for number in range(1, 4))]
    assert told(counted(1, 3), *named) == [NEW, KNOWN, KNOWN, KNOWN]
    assert told(counted(2, 2), *named) == [NEW, IN, IN, IN]


def test_words_hold_nothing_of_the_contact() -> None:
    """Qualtrics' words may echo what was sent: that is taken out."""
    said = ReportEntry(0, "p0@client.example", None, "FAILED: Ann, p0@client.example", "E7", None, "")
    (verdict, *_) = judge(CONTACTS, counted(3, 0, 1), (), [said]).verdicts
    assert verdict.words == "importStatus FAILED: <removed>, <removed>, importStatusCode E7"


def settled(judgement: Judgement) -> bool:
    """Whether another look would be useless."""
    return judgement.is_settled


def test_another_look_is_worth_it_only_where_something_may_come() -> None:
    """Who is not in the report yet, or under way, may be told later; a word that nobody knows will not change."""
    known = [entry(number, number) for number in range(3)]
    assert not settled(judge(CONTACTS, counted(2), (), known[:2]))
    assert not settled(judge(CONTACTS, counted(3), (), [*known, entry(3, 3, "pending")]))
    assert settled(judge(CONTACTS, counted(3), (), [*known, entry(3, 3, "STATE_7")]))
    assert settled(judge(CONTACTS, counted(3, 0, 1), (), known))


statuses = st.sampled_from(["SUCCESS", "FAILURE", "created", "updated", "pending", "STATE_7", "", "Error"])


@given(
    sent=st.integers(1, 4),
    counts=st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)),
    said=st.lists(st.tuples(st.none() | st.integers(0, 6), st.none() | st.integers(0, 6), statuses), max_size=8),
    unprocessed=st.lists(st.integers(0, 6) | st.sampled_from(["", "p1@client.example", "?"]), max_size=3),
)
def test_any_answer_gives_one_verdict_a_contact(
    sent: int,
    counts: tuple[int, int, int],
    said: list[tuple[int | None, int | None, str]],
    unprocessed: list[int | str],
) -> None:
    """Whatever Qualtrics answers, each contact has one verdict, and nothing breaks."""
    entries = [entry(position, number, status) for position, number, status in said]
    assert len(told(counted(*counts), *entries, unprocessed=unprocessed, sent=sent)) == sent
