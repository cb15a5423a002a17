"""The inspection page: what the simulator holds, as plain HTML for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Protocol

from qualtrics_etl.simulator.clock import iso
from qualtrics_etl.simulator.faults import SCENARIOS
from qualtrics_etl.simulator.inspection.models import mailing_lists_of, mailings_of, summary_of

if TYPE_CHECKING:
    from qualtrics_etl.simulator.simulator import Simulator

_ROWS = 50  # of each table: the page is for a look, the API for all
_STYLE = "body{font:15px sans-serif;margin:2em}table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left}"


class Address(Protocol):
    """One inspection address, as far as the page shows it."""

    @property
    def method(self) -> str: ...  # noqa: D102 - said by the class
    @property
    def pattern(self) -> str: ...  # noqa: D102
    @property
    def description(self) -> str: ...  # noqa: D102


def render_page(simulator: Simulator, addresses: Iterable[Address]) -> str:
    """Return the page; everything that a client sent is escaped."""
    with simulator.lock:
        now = simulator.run_due()
        state = simulator.state
        mailings = mailings_of(state, now)
        parts = [
            _table("State", ["what", "how much"], summary_of(state, now).items()),
            _records("Mailing lists", mailing_lists_of(state)),
            _records("Scheduled", mailings["scheduled"]),
            _table("Mailed", ["who", "how often", "by"], (_mailed(person) for person in mailings["sent"])),
            _table("Import jobs", ["job", "list", "status", "done"], _jobs(simulator, now)),
            _table("Calls", ["endpoint", "status: count"], ((name, _counts(c)) for name, c in state.calls.items())),
            _table("Armed faults", ["scenario", "left"], ((fault.scenario, fault.count) for fault in state.faults)),
        ]
    parts.append(_table("Scenarios", ["name", "what happens"], ((n, s.description) for n, s in SCENARIOS.items())))
    parts.append(_table("Addresses", ["address", "what for"], (_address(each) for each in addresses)))
    head = f"<meta charset=utf-8><title>Qualtrics simulator</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body><h1>Qualtrics simulator</h1>{''.join(parts)}</body>"


def _records(title: str, records: Sequence[Mapping[str, object]]) -> str:
    columns = list(records[0]) if records else []
    return _table(title, columns, (list(record.values()) for record in records))


def _table(title: str, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    shown = list(rows)
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in shown[-_ROWS:])
    more = f"<p>The last {_ROWS} of {len(shown)}.</p>" if len(shown) > _ROWS else ""
    content = f"<table><tr>{head}</tr>{body}</table>" if shown else "<p>None.</p>"
    return f"<h2>{escape(title)}</h2>{content}{more}"


def _cells(row: Iterable[object]) -> str:
    return "".join(f"<td>{escape(str(cell))}</td>" for cell in row)


def _mailed(person: Mapping[str, object]) -> tuple[object, ...]:
    by = person["by"]
    assert isinstance(by, list)
    return person["email"], person["count"], ", ".join(f"{mail['kind']} {mail['sentAt']}" for mail in by)


def _jobs(simulator: Simulator, now: float) -> Iterable[tuple[object, ...]]:
    for job in simulator.state.imports.jobs.values():
        done = f"{job.percent_complete(now)} % since {iso(job.accepted_at)}"
        yield job.import_id, job.mailing_list_id, job.status, done


def _counts(statuses: Mapping[str, int]) -> str:
    return ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))


def _address(each: Address) -> tuple[str, str]:
    return f"{each.method} {each.pattern}", each.description
