"""The ledger and the keys of a run, for any entry, any bytes and any ids."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_etl.errors import PermanentError
from qualtrics_etl.ledger import Cause, Entry, How, Ledger, Output, State, entry_key
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.objects import MemoryObjects
from qualtrics_etl.payloads import (
    batch_name,
    batches_prefix,
    checked_key,
    content_key,
    content_run,
    half_key,
    put_request,
    reject_key,
    sighting_key,
)

from .strategies import batches, counts, facts, json_values, names, outcome, services, texts, times

outputs = st.builds(Output, st.sampled_from(How), texts, counts, st.lists(services, max_size=2).map(tuple))
entries = st.builds(
    Entry,
    state=st.sampled_from(State),
    generation=counts,
    attempt=counts,
    nonce=texts,
    lease_seconds=counts,
    failures=counts,
    call_possible=st.booleans(),
    quiet_since=st.none() | times,
    absent_looks=counts,
    request_key=st.none() | texts,
    request_sha256=st.none() | texts,
    rows_key=st.none() | texts,
    notes=st.dictionaries(texts, counts, max_size=3),
    job_id=st.none() | texts,
    fact=st.none() | facts,
    skipped=st.none() | texts,
    outputs=st.lists(outputs, max_size=3).map(tuple),
    cause=st.none() | st.builds(Cause, texts, texts, st.none() | texts, texts),
)
identities = st.tuples(names, services, batches)
shas = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
KEY = entry_key("run", "service", "all")


def book(body: bytes) -> Ledger:
    """Return a ledger in whose store this lies."""
    objects = MemoryObjects(VirtualClock(datetime(2026, 11, 22, tzinfo=UTC)))
    objects.put(KEY, body)
    return Ledger(objects)


def read(body: bytes) -> Entry | None:
    """Read what lies there; None where it is refused as it should be."""
    held = outcome(lambda: book(body).read(KEY), PermanentError)
    assert held is not None
    if not isinstance(held, PermanentError):
        return held.entry
    assert KEY in held.what
    assert held.remedy
    return None


@given(entries)
def test_any_entry_reads_back(entry: Entry) -> None:
    """Written and read back it is the same entry, and the same bytes."""
    assert Entry.decode(entry.encode()) == entry
    assert Entry.decode(entry.encode()).encode() == entry.encode()


@given(st.binary(max_size=200) | json_values.map(orjson.dumps))
def test_any_bytes_are_refused(body: bytes) -> None:
    """What is no entry is a permanent failure that names the object."""
    assert read(body) is None


@given(entries, st.data(), json_values)
def test_entry_with_another_value_is_refused_or_still_one(entry: Entry, data: st.DataObject, value: object) -> None:
    """A field that was changed by hand is refused, or read as exactly what it says."""
    raw = orjson.loads(entry.encode())
    raw[data.draw(st.sampled_from(sorted(raw)))] = value
    found = read(orjson.dumps(raw))
    assert found is None or read(found.encode()) == found


@given(entries, st.data())
def test_entry_that_is_cut_off_is_refused(entry: Entry, data: st.DataObject) -> None:
    """Nothing that is missing passes for something that was never written."""
    body = entry.encode()
    assert read(body[: data.draw(st.integers(0, len(body) - 1))]) is None


@given(identities, identities)
def test_distinct_ids_have_distinct_keys_below_their_prefix(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    """Two messages share a ledger object only if run, service and batch are the same."""
    assert (entry_key(*one) == entry_key(*other)) == (one == other)
    assert entry_key(*one).split("/") == ["ledger", *one]


@given(identities, st.binary(max_size=20))
def test_what_a_run_stores_stays_below_its_own_prefix(identity: tuple[str, str, str], body: bytes) -> None:
    """Batches, halves, requests and rejects lie where their run's things lie, and nowhere else."""
    run, service, batch = identity
    objects = MemoryObjects(VirtualClock(datetime(2026, 11, 22, tzinfo=UTC)))
    put_request(objects, run, service, batch, body)
    keys = [summary.key for summary in objects.list("")]
    for key in (*keys, half_key(run, batch), f"{batches_prefix(f'{run}/{service}')}/{batch}"):
        assert checked_key(key, below=f"payloads/{run}/") == key
    assert checked_key(reject_key(f"{run}/{service}", batch), below=f"rejects/{run}/{service}/")


@given(st.text(max_size=60), names)
def test_key_that_leads_elsewhere_is_refused(key: str, run: str) -> None:
    """Only what lies below the prefix is taken, however the rest is written."""
    for tried in (key, f"payloads/{run}/{key}", f"payloads/{run}/../{key}", f"payloads/{run}x/{key}"):
        taken = outcome(lambda key=tried: checked_key(key, below=f"payloads/{run}/"), PermanentError)  # type: ignore[misc]
        if isinstance(taken, PermanentError):
            assert taken.remedy
        else:
            assert taken == tried
            assert taken.startswith(f"payloads/{run}/")
            assert not {"", ".", ".."} & set(taken.split("/"))


@given(names, st.tuples(shas, services | st.just("")), st.tuples(shas, services | st.just("")))
def test_distinct_contents_are_distinct_runs(workflow: str, one: tuple[str, str], other: tuple[str, str]) -> None:
    """Two contents, or one content in two intakes, have each its own mark and its own run."""
    assert (content_key(*one) == content_key(*other)) == (one == other)
    assert (content_run(workflow, *one) == content_run(workflow, *other)) == (
        (one[0][:12], one[1]) == (other[0][:12], other[1])
    )
    assert content_key(*one) != sighting_key(one[1] or "x", one[0][:16])


@given(st.lists(st.integers(0, 99_999), max_size=20))
def test_batches_list_in_the_order_of_their_numbers(numbers: list[int]) -> None:
    """The last name in a listing is the last batch: parsing goes on behind it."""
    assert sorted(map(batch_name, numbers)) == [batch_name(number) for number in sorted(numbers)]
