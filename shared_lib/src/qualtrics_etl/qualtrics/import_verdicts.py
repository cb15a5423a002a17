"""What became of each contact of an import, from all that Qualtrics says: counts, report, what it refused at once.

None of these is documented to the end: where the report begins to count, its words, whether it names all contacts,
what `unprocessed` holds. So nothing is believed that does not fit: a position counts when the address stands there;
what is not said of a contact follows from the counts only where they leave no choice. The rest stays open, with the
words that were said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import orjson

from qualtrics_etl.qualtrics.contact_imports import ImportProgress, ReportEntry, plain_word
from qualtrics_etl.qualtrics.statuses import presentable


class Told(Enum):
    """What is certain of a contact."""

    NEW = "new"
    KNOWN = "known"
    IN = "in"  # in the list; whether the directory knew it is not said
    REFUSED = "refused"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one contact.

    Attributes:
        field: At fault; empty where Qualtrics names none.
        words: Qualtrics' own, without personal data; empty where it said nothing.
    """

    told: Told
    field: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of all contacts of an import.

    Attributes:
        verdicts: One a contact, in the order in which they were sent.
        is_settled: Whether another look at the report can't say more.
    """

    verdicts: tuple[Verdict, ...]
    is_settled: bool


@dataclass(slots=True)
class _Case:
    """What is said of one contact."""

    email: str
    said: list[ReportEntry] = field(default_factory=list)
    is_invalid: bool = False
    is_unprocessed: bool = False


_NEW = frozenset({"added", "created", "new", "inserted"})
_KNOWN = frozenset({"updated", "merged", "existing"})
_IN = frozenset({"success", "succeeded", "successful", "complete", "completed", "done", "ok", "imported", "loaded"})
_REFUSED = frozenset({"failed", "failure", "error", "errored", "invalid", "rejected", "refused"})
_UNDER_WAY = frozenset({"inprogress", "pending", "queued", "running", "waiting", "processing", "started", "deferred"})


def refused_in_all(progress: ImportProgress, *, sent: int, unprocessed: int) -> int:
    """Return how many contacts were refused, at once or in the job.

    Whether `failed` counts those that were refused at once is not documented: where the sum leaves room for them, it
    does not.
    """
    fits = progress.added + progress.updated + progress.failed + unprocessed <= sent
    return progress.failed + (unprocessed if fits else 0)


def is_plain(progress: ImportProgress, *, sent: int, unprocessed: int) -> bool:
    """Whether the counts alone say of every contact that it came in."""
    return not unprocessed and progress.failed == 0 and progress.added + progress.updated == sent


def all_in(progress: ImportProgress, sent: int) -> tuple[Verdict, ...]:
    """Say of all contacts that they came in, and whether they are new, where all of them are or none is."""
    return tuple(_new_or_known([Verdict(Told.IN)] * sent, progress))


def judge(
    contacts: Sequence[Mapping[str, Any]],
    progress: ImportProgress,
    unprocessed: Sequence[int | str],
    entries: Sequence[ReportEntry],
) -> Judgement:
    """Say what became of each contact.

    Args:
        contacts: As they were sent.
        unprocessed: What was refused when the import began: positions or addresses.
        entries: Of the report, as far as it was read; none where it was not.
    """
    cases = [_Case(_folded(contact.get("email"))) for contact in contacts]
    at = _positions(cases)
    first = _place_entries(cases, at, entries)
    _mark_unprocessed(cases, at, unprocessed, first)
    invalid = {_folded(email) for email in progress.invalid_emails}
    for case in cases:
        case.is_invalid = case.email in invalid
    verdicts = [_verdict(case, contact) for case, contact in zip(cases, contacts, strict=True)]
    refused = refused_in_all(progress, sent=len(contacts), unprocessed=len(unprocessed))
    verdicts = _by_counts(verdicts, progress, refused)
    still_open = [case for case, verdict in zip(cases, verdicts, strict=True) if verdict.told is Told.OPEN]
    is_settled = all(case.said and not _is_under_way(case.said) for case in still_open)
    return Judgement(tuple(_new_or_known(verdicts, progress)), is_settled)


def _folded(email: object) -> str:
    return email.strip().casefold() if isinstance(email, str) else ""


def _positions(cases: Sequence[_Case]) -> Mapping[str, list[int]]:
    at: dict[str, list[int]] = defaultdict(list)
    for position, case in enumerate(cases):
        if case.email:
            at[case.email].append(position)
    return at


# --- the report -------------------------------------------------------------------------------------------------------


def _place_entries(cases: Sequence[_Case], at: Mapping[str, list[int]], entries: Sequence[ReportEntry]) -> int | None:
    """Put each entry to its contact; return what the report calls the first one, where that is certain.

    A position whose address is another's is not believed; an address alone is, where a single contact has it.
    """
    first = _first_number(cases, entries)
    for entry in entries:
        email = _folded(entry.email)
        position = None if entry.position is None or first is None else entry.position - first
        fits = position is not None and 0 <= position < len(cases) and email in ("", cases[position].email)
        found = [position] if fits else at.get(email, [])
        if len(found) == 1 and found[0] is not None:
            cases[found[0]].said.append(entry)
    return first


def _first_number(cases: Sequence[_Case], entries: Sequence[ReportEntry]) -> int | None:
    """Return whether the report counts from 0 or from 1; None where both fit as well, or neither does."""
    numbered = [(entry.position, _folded(entry.email)) for entry in entries if entry.position is not None]
    misses, hits = [0, 0], [0, 0]
    for number, email in numbered:
        for first in (0, 1):
            inside = 0 <= number - first < len(cases)
            fits = inside and email in ("", cases[number - first].email)
            misses[first] += not fits
            hits[first] += fits
    if misses[0] == misses[1]:
        return None
    best = 0 if misses[0] < misses[1] else 1
    return best if hits[best] > misses[best] else None


# --- what was refused at once -----------------------------------------------------------------------------------------


def _mark_unprocessed(
    cases: Sequence[_Case], at: Mapping[str, list[int]], unprocessed: Sequence[int | str], first: int | None
) -> None:
    """Mark what `unprocessed` names: addresses where a single contact has them, positions where one way fits."""
    for name in unprocessed:
        if isinstance(name, str) and len(found := at.get(_folded(name), [])) == 1:
            cases[found[0]].is_unprocessed = True
    numbers = {name for name in unprocessed if isinstance(name, int)}
    ways = [way for way in (0, 1) if numbers and _fits(cases, numbers, way)]
    if len(ways) == 2 and first is not None:
        ways = [first]  # both would do: it is taken to count as the report of the same job does
    if len(ways) == 1:
        for number in numbers:
            cases[number - ways[0]].is_unprocessed = True


def _fits(cases: Sequence[_Case], numbers: Iterable[int], first: int) -> bool:
    """Whether these positions, counted from `first`, are of contacts of which nothing better was said."""
    positions = [number - first for number in numbers]
    return all(0 <= each < len(cases) for each in positions) and not any(
        _read(entry) in (Told.NEW, Told.KNOWN, Told.IN) for each in positions for entry in cases[each].said
    )


# --- what it comes to -------------------------------------------------------------------------------------------------


def _verdict(case: _Case, contact: Mapping[str, Any]) -> Verdict:
    words = _words(case, contact)
    told = {_read(entry) for entry in case.said}
    if case.is_unprocessed or case.is_invalid:
        told.add(Told.REFUSED)
    told -= {Told.OPEN} if len(told) > 1 else set()
    if told <= {Told.NEW, Told.KNOWN, Told.IN} and told:
        return Verdict(told.pop() if len(told) == 1 else Told.IN)
    if told == {Told.REFUSED}:
        return Verdict(Told.REFUSED, "email" if case.is_invalid else "", words)
    return Verdict(Told.OPEN, "", words)


def _read(entry: ReportEntry) -> Told:
    """Read one entry of a report; what nobody has seen before says nothing."""
    status, listed = plain_word(entry.import_status), plain_word(entry.mailing_list_status)
    code = entry.import_status_code.strip()
    is_code = code.isascii() and code.isdigit() and len(code) == 3
    if _REFUSED & {status, listed}:
        return Told.OPEN if is_code and code[0] == "2" and listed not in _REFUSED else Told.REFUSED
    if is_code and code[0] in "45":
        return Told.REFUSED if code[0] == "4" and status not in _NEW | _KNOWN | _IN else Told.OPEN
    if status in _UNDER_WAY or listed in _UNDER_WAY:
        return Told.OPEN
    if status in _NEW or status in _KNOWN:
        return Told.NEW if status in _NEW else Told.KNOWN
    # Whoever has an id in the list is in it, whatever that is called.
    is_in = status in _IN or (is_code and code[0] == "2") or bool(entry.contact_id and entry.mailing_list_contact_id)
    return Told.IN if is_in else Told.OPEN


def _is_under_way(said: Iterable[ReportEntry]) -> bool:
    words = {plain_word(word) for entry in said for word in (entry.import_status, entry.mailing_list_status)}
    return bool(words & _UNDER_WAY)


def _words(case: _Case, contact: Mapping[str, Any]) -> str:
    """Return what Qualtrics said of a contact, without what the contact holds."""
    parts = ["unprocessed"] if case.is_unprocessed else []
    parts += ["invalidEmails"] if case.is_invalid else []
    for entry in case.said:
        named = {
            "importStatus": entry.import_status,
            "importStatusCode": entry.import_status_code,
            "contactListContactStatus": entry.mailing_list_status,
        }
        parts += [f"{name} {word}" for name, word in named.items() if word.strip()]
    if not parts:
        return ""
    return presentable(", ".join(dict.fromkeys(parts)), orjson.dumps(contact))


def _by_counts(verdicts: list[Verdict], progress: ImportProgress, refused: int) -> list[Verdict]:
    """Settle what is open where the counts leave no choice: all refusals are known, or all that came in are."""
    came_in = progress.added + progress.updated
    if came_in + refused != len(verdicts):
        return verdicts
    known_refused = sum(each.told is Told.REFUSED for each in verdicts)
    known_in = sum(each.told not in (Told.REFUSED, Told.OPEN) for each in verdicts)
    if known_refused == refused:
        told = Told.IN
    elif known_in == came_in:
        told = Told.REFUSED
    else:
        return verdicts
    return [replace(each, told=told) if each.told is Told.OPEN else each for each in verdicts]


def _new_or_known(verdicts: list[Verdict], progress: ImportProgress) -> list[Verdict]:
    """Tell new contacts from known ones where the counts leave no choice."""
    new = sum(each.told is Told.NEW for each in verdicts)
    known = sum(each.told is Told.KNOWN for each in verdicts)
    if progress.updated == known:
        told = Told.NEW
    elif progress.added == new:
        told = Told.KNOWN
    else:
        return verdicts
    return [replace(each, told=told) if each.told is Told.IN else each for each in verdicts]
