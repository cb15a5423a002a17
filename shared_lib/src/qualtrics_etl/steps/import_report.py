"""How an import's own report is read, over several calls of the function if need be, and what rows make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import orjson

from qualtrics_etl.errors import PermanentError, RetryableError
from qualtrics_etl.formats.outcomes import Fate, RowOutcome
from qualtrics_etl.ports import ObjectStore
from qualtrics_etl.qualtrics.contact_imports import ImportProgress, ReportEntry, ReportPage
from qualtrics_etl.qualtrics.import_verdicts import Told, Verdict

REPORT_TRIES = 5
"""How often a report is asked for that does not come, or does not tell; then its rows are pending."""
MAX_REPORT_PAGES = 1_000
"""More pages than that are taken for a report without an end: an import has 10,000 contacts at most."""


def read_report(
    objects: ObjectStore, kept_at: str, fetch: Callable[[str], ReportPage], check_time: Callable[[], None]
) -> tuple[list[ReportEntry], str]:
    """Read a report as far as it can be read; return its entries, and what kept it from being read to its end.

    Each page that is not the last is kept, with the token of the next: whoever comes next goes on behind it.

    Args:
        kept_at: Where the pages are kept: a prefix that ends in a slash.
        fetch: Reads the page of a token.
        check_time: Raises NotYetError when too little time is left.

    Raises:
        NotYetError: Too little time is left, or the minute has no request left: go on later.
        RetryableError: The store failed.
    """
    pages = [_page(body) for body in _bodies(objects, kept_at)]
    trouble = ""
    while not trouble and (not pages or pages[-1].next_token):
        check_time()
        try:
            page = fetch(pages[-1].next_token if pages else "")
        except (RetryableError, PermanentError) as error:
            trouble = error.what
            break
        if page.next_token in {each.next_token for each in pages} - {""} or len(pages) >= MAX_REPORT_PAGES:
            trouble = "The report of the import has no end."
        pages.append(page)
        if page.next_token and not trouble:
            objects.put(f"{kept_at}{len(pages):05}", orjson.dumps(page))
    return [entry for page in pages for entry in page.entries], trouble


def _bodies(objects: ObjectStore, kept_at: str) -> Iterator[bytes]:
    for summary in objects.list(kept_at):
        if found := objects.get(summary.key):
            yield found.body


def _page(body: bytes) -> ReportPage:
    raw = orjson.loads(body)
    return ReportPage(tuple(ReportEntry(**entry) for entry in raw["entries"]), raw["next_token"])


def settle(
    rows: Sequence[RowOutcome], verdicts: Sequence[Verdict], progress: ImportProgress, trouble: str = ""
) -> list[RowOutcome]:
    """Say what became of each row that was sent; the others have ended already.

    Args:
        verdicts: One for each row that was sent, in their order.
        trouble: What kept the report from being read.
    """
    left = iter(verdicts)
    return [_settled(row, next(left), progress, trouble) if row.fate is Fate.SENT else row for row in rows]


def _settled(row: RowOutcome, verdict: Verdict, progress: ImportProgress, trouble: str) -> RowOutcome:
    match verdict.told:
        case Told.NEW:
            return replace(row, fate=Fate.LOADED)
        case Told.KNOWN:
            return replace(row, fate=Fate.UPDATED)
        case Told.IN:
            return replace(row, fate=Fate.LOADED, reason=_new_or_known(progress))
        case Told.REFUSED:
            return replace(row, fate=Fate.REJECTED, field=verdict.field, reason=_refused(verdict))
        case Told.OPEN:
            return replace(row, fate=Fate.PENDING, reason=_open(verdict, progress, trouble))


def _new_or_known(progress: ImportProgress) -> str:
    return f"New or known: of this import, {progress.added:,} are new and {progress.updated:,} were known."


def _refused(verdict: Verdict) -> str:
    return f"Qualtrics refused it: {verdict.words}" if verdict.words else "Qualtrics refused it, and does not say why."


def _open(verdict: Verdict, progress: ImportProgress, trouble: str) -> str:
    said = verdict.words or "not in the report of the import"
    counts = f"added {progress.added:,}, updated {progress.updated:,}, failed {progress.failed:,}"
    return " ".join(filter(None, (f"Qualtrics says nothing definite: {said} ({counts}).", trouble)))
