"""How long `qetl status` takes for a run of many batches: its ledger on an S3 on this machine, and in memory.

The ledger is what the steps' own records and marks are: every batch but one is done, that one is dead-lettered. What
the emulator itself takes is most of the time there, since it serves one request at a time; in memory it is our own
share. Needs the emulator: `make emulator`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from qualtrics_etl.aws.account import AwsAccess
from qualtrics_etl.aws.objects import S3Objects
from qualtrics_etl.catalogue import KINDS
from qualtrics_etl.ledger import Cause, Entry, How, Output, State, entry_key
from qualtrics_etl.local.clock import VirtualClock
from qualtrics_etl.local.emulator import ACCESS_KEY, running_emulator
from qualtrics_etl.local.objects import MemoryObjects
from qualtrics_etl.messages import ContactsImported, FileParsed, MailingListCreated, Message
from qualtrics_etl.payloads import batch_name
from qualtrics_etl.ports import ObjectStore
from qualtrics_etl.status import READERS, Letters, RunState, RunStatus, status_of
from qualtrics_etl.workflow import Service, Workflow

REGION = "eu-west-1"
RUN = "acme-etl-0123456789ab"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
EMULATOR = Path(__file__).parents[1] / ".venv-emulator" / "bin" / "python"
GOAL_SECONDS = 30


def main() -> None:
    """Measure and print; exit code 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=2_000, help="of the run")
    options = parser.parse_args()
    memory = MemoryObjects(VirtualClock(NOW))
    write_ledger(memory, options.batches)
    keys = [each.key for each in memory.list("")]
    print(f"{options.batches:,} batches, {len(keys):,} objects in the ledger, {READERS} reads at once")
    seconds(memory, "in memory")
    with tempfile.TemporaryDirectory() as folder, running_emulator(EMULATOR, Path(folder), REGION) as emulator:
        client = AwsAccess(REGION, emulator.url, (ACCESS_KEY, ACCESS_KEY)).client("s3")
        client.create_bucket(Bucket="acme", CreateBucketConfiguration={"LocationConstraint": REGION})
        stored = S3Objects("acme", client)
        with ThreadPoolExecutor(READERS) as writers:
            list(writers.map(lambda key: stored.put(key, body_of(memory, key)), keys))
        took = seconds(stored, "on the emulator")
    sys.exit(0 if took <= GOAL_SECONDS else 1)


def seconds(objects: ObjectStore, where: str) -> float:
    """Ask for the run's status; print and return how long that took."""
    began, ours = time.perf_counter(), time.process_time()
    found = status_of(workflow(), objects, RUN, Letters())
    took = time.perf_counter() - began
    check(found)
    print(f"{where}: {took:.1f} s, of which {time.process_time() - ours:.1f} s on our processor")
    return took


def check(found: RunStatus | None) -> None:
    """Fail where it is not what was written."""
    assert found is not None
    assert found.state is RunState.DEAD_LETTERED
    assert [(each.service, each.batches) for each in found.waits] == [("schedule_distribution", (batch_name(0),))]


def workflow() -> Workflow:
    """Return the default flow."""
    usual = {"timeout_seconds": 60, "memory_mb": 256, "concurrency": 2, "batch_size": 1, "max_receive_count": 3}
    services = {name: Service.model_validate({"kind": name, **usual}) for name in KINDS}
    following = dict(zip(KINDS, [(name,) for name in list(KINDS)[1:]] + [()], strict=True))
    return Workflow("acme-etl", {"contacts": tuple(KINDS)}, services, following)


def write_ledger(objects: ObjectStore, batches: int) -> None:
    """Write what the steps leave of a run whose first batch has failed."""
    parsed = FileParsed(batches, f"payloads/{RUN}/parse_file/batches", batches, batches, 0)
    made = MailingListCreated("CG_000000000000001", "contacts")
    message = Message("acme-etl", RUN, "parse_file", "all", NOW + timedelta(days=30))
    listed = message.after("create_mailing_list", parsed)
    imported = listed.after("import_contacts", made)
    put(objects, "parse_file", "all", Entry(State.DONE, fact=parsed, outputs=(Output(How.SEND, listed.encode()),)))
    fan_out = Output(How.EACH_BATCH, imported.encode(), waiting=("schedule_distribution",))
    put(objects, "create_mailing_list", "all", Entry(State.DONE, fact=made, outputs=(fan_out,)))
    failed = Entry(State.FAILED, cause=Cause("The job has failed.", "Look at it."))
    put(objects, "import_contacts", batch_name(0), failed)
    for number in range(1, batches):
        batch = batch_name(number)
        fact = ContactsImported(f"PGRS_{number}", 1, 0, 0, 0, 0)
        arrival = Output(How.ARRIVE, imported.after("schedule_distribution", fact, batch=batch).encode())
        put(objects, "import_contacts", batch, Entry(State.DONE, job_id=fact.import_id, fact=fact, outputs=(arrival,)))
        objects.put(f"ledger/{RUN}/schedule_distribution/arrived/{number // 100:05}/{batch}", b"")


def put(objects: ObjectStore, service: str, batch: str, entry: Entry) -> None:
    """Write an entry."""
    objects.put(entry_key(RUN, service, batch), entry.encode())


def body_of(objects: ObjectStore, key: str) -> bytes:
    """Return what lies under a key."""
    found = objects.get(key)
    assert found is not None
    return found.body


if __name__ == "__main__":
    main()
