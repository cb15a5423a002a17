"""Which runs there are, and what each began with: read from the entries of files and POSTs, and from what they sent."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice

from qualtrics_etl.ledger import Held, Ledger
from qualtrics_etl.messages import MESSAGE_LIFETIME, FileFetched, Message
from qualtrics_etl.payloads import content_key, content_run, post_key, post_run
from qualtrics_etl.ports import ObjectStore
from qualtrics_etl.summary import LONG_AGO
from qualtrics_etl.workflow import Workflow

PAGE = 1000
"""Keys of a run after which a listing of runs jumps to the next run. Source: Amazon S3 API reference, ListObjectsV2."""

_FILES = re.compile(r"files/(?:(\w+)/)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class RunInput:
    """What a run began with.

    Attributes:
        services: Those it begins with: of a POST or a tick the one that takes it in, of a fetched file those behind.
        at: When it was stored.
        file: The file that was fetched; None of a POST and of a tick.
        sent: What the services behind the intake were told of a fetched file, as it is recorded.
    """

    services: tuple[str, ...]
    at: datetime
    file: FileFetched | None = None
    sent: tuple[Message, ...] = ()


def input_of(workflow: Workflow, objects: ObjectStore, run: str) -> RunInput | None:
    """Return what a run began with, whether any service has written something down or not; None where it is not there.

    Raises:
        PermanentError: An entry can't be read.
    """
    held = _file_entry(workflow, objects, run)
    if held is not None and isinstance(held.entry.fact, FileFetched):
        sent = tuple(_sent_by_fetching(objects, held.entry.fact, run))
        told = tuple(dict.fromkeys(each.service for each in sent if each.service in workflow.services))
        return RunInput(told if sent else _behind_intake(workflow, run), held.written_at, held.entry.fact, sent)
    for name in workflow.starts():
        for each in islice(objects.list(f"payloads/{run}/{name}/"), 1):
            return RunInput((name,), each.last_modified)
    return None


def recent_runs(
    workflow: Workflow, objects: ObjectStore, limit: int, now: datetime, lettered: Collection[str] = ()
) -> list[str]:
    """Return the runs that went on last, the latest first; ticks of a schedule are none.

    A run that has no ledger yet counts from when its file or POST was taken.

    Args:
        limit: How many. As many others of which only letters tell, ticks too, come before them.
        lettered: The runs that dead letters tell of.
    """
    found = _written_runs(workflow, objects)
    told = sorted(set(lettered) - found.keys(), reverse=True)[:limit]
    for run, at in _taken(workflow, objects):
        # What is older may have had a ledger, which has expired since.
        if run not in found and run not in told and at > now - MESSAGE_LIFETIME:
            found[run] = at
    return told + sorted(found, key=lambda name: found[name], reverse=True)[:limit]


def posted_entry(workflow: Workflow, objects: ObjectStore, service: str, run: str) -> Held | None:
    """Return the entry of the client's key that a run stands for; looks through those of all POSTs."""
    here = post_key(service, "")
    for each in objects.list(here):
        if post_run(workflow.name, service, each.key.removeprefix(here)) == run:
            return Ledger(objects).read(each.key)
    return None


def _file_entry(workflow: Workflow, objects: ObjectStore, run: str) -> Held | None:
    found = re.fullmatch(rf"{re.escape(workflow.name)}-([0-9a-f]{{12}})(?:-(\w+))?", run)
    if found is None:
        return None
    for each in islice(objects.list(content_key(found[1], found[2] or "")), 1):
        return Ledger(objects).read(each.key)
    return None


def _sent_by_fetching(objects: ObjectStore, file: FileFetched, run: str) -> Iterator[Message]:
    """Yield what the service that fetched a file recorded; nothing while it has not."""
    held = Ledger(objects).read(f"ledger/{file.key.removeprefix('payloads/')}")
    return (message for _, message in held.entry.sent() if message.run == run) if held else iter(())


def _behind_intake(workflow: Workflow, run: str) -> tuple[str, ...]:
    starts = workflow.starts()  # the first one's runs have no name of an intake behind their hash
    return workflow.next_of(next((name for name in starts if run.endswith(f"-{name}")), starts[0]))


def _written_runs(workflow: Workflow, objects: ObjectStore) -> dict[str, datetime]:
    """Return when the ledger of each run of an input last changed."""
    prefix, after, found = f"ledger/{workflow.name}-", "", dict[str, datetime]()
    while True:
        run, keys = "", 0
        for each in objects.list(prefix, start_after=after):
            name = each.key.split("/")[1]
            run, keys = name, keys + 1 if name == run else 1
            found[name] = max(found.get(name, LONG_AGO), each.last_modified)
            if keys == PAGE:
                break
        if keys < PAGE:
            return found
        after = f"ledger/{run}0"  # the character behind the slash: what lies below this run is passed over


def _taken(workflow: Workflow, objects: ObjectStore) -> Iterator[tuple[str, datetime]]:
    """Yield the run of each file and POST that was taken, and when."""
    # Those of the first intake lie by their hash, and not in a folder: beside them `files/seen/` may hold far more.
    by_hash = (f"files/{digit}" for digit in "0123456789abcdef")
    by_intake = (content_key("", name) for name in workflow.starts())
    for each in chain.from_iterable(map(objects.list, (*by_hash, *by_intake))):
        if found := _FILES.fullmatch(each.key):
            yield content_run(workflow.name, found[2], found[1] or ""), each.last_modified
    for name in workflow.starts():
        here = post_key(name, "")
        for each in objects.list(here):
            yield post_run(workflow.name, name, each.key.removeprefix(here)), each.last_modified
