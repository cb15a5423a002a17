"""Peak memory of a whole `parse_file` step: file from the store; batches, rejects, ledger and messages back.

Each run is a process of its own, in which the real step handles a real message; store and queues are those of a local
run. One more run gets a short time-out, hands over several times, and must cut the same batches: of plain CSV, which
alone can be entered in its middle. XML, and what is packed, is read again from its beginning, so that a large file is
refused where its time-out is short.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from crm_file import CrmRow, write_crm_file, write_crm_xml
from measuring import peak_of_process

from qualtrics_etl import ParseFile
from qualtrics_etl.clock import SystemClock
from qualtrics_etl.local.objects import FolderObjects
from qualtrics_etl.local.queues import LocalQueues, QueueSettings
from qualtrics_etl.local.secrets import FixedSecrets
from qualtrics_etl.messages import MESSAGE_LIFETIME, WHOLE_RUN, FileFetched, FileParsed, Message
from qualtrics_etl.ports import ObjectStore, Outgoing, Queues
from qualtrics_etl.settings import StageConfig
from qualtrics_etl.steps.base import Delivery, Wiring
from qualtrics_etl.workflow import Workflow, check_workflow
from qualtrics_etl.yaml_lines import YamlFile

GOAL_MB = 120.0
GOAL_FLAT = 1.1
"""What a larger file may take, as a multiple of what one of `FLAT_FROM_ROWS` takes."""
FLAT_FROM_ROWS = 100_000
ROWS = (10_000, 100_000, 1_000_000)
AMPLE_SECONDS = 300
SHORT_SECONDS = 1

RUN = "bench-0123456789ab"
SERVICE = "parse_file"
NEXT = "create_mailing_list"
FILE_KEY = f"payloads/{RUN}/fetch_sftp_file/f0123456789abcdef.0"
RESULTS = (f"payloads/{RUN}/{SERVICE}/", f"rejects/{RUN}/{SERVICE}/")


class ParseCrmFile(ParseFile):
    """What a client writes: the row, and nothing else."""

    row_model = CrmRow


@dataclass(frozen=True)
class Measured:
    """What one process says of itself.

    Attributes:
        rows: Rows of the file, as the next service was told.
        batches: How many they were cut into.
        invocations: Messages that the step handled: the first, and a continuation each.
        seconds: On the clock, first message to last.
        peak_mb: Most memory that the process ever held, in MB of 10**6 bytes; interpreter and imports included.
    """

    rows: int
    batches: int
    invocations: int
    seconds: float
    peak_mb: float


def main() -> None:
    """Measure and print one line a run; exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="rows of the files")
    parser.add_argument(
        "--short-seconds",
        type=int,
        default=SHORT_SECONDS,
        help="time-out of the run with continuations, last file, plain CSV alone",
    )
    parser.add_argument("--in-child", nargs=2, metavar=("FOLDER", "SECONDS"), help="only run the step in that folder")
    parser.add_argument("--form", choices=("csv", "xml"), default="csv", help="what the files are")
    parser.add_argument("--packed", action="store_true", help="pack the files with gzip")
    options = parser.parse_args()
    if options.in_child:
        folder, seconds = options.in_child
        print(json.dumps(asdict(run_step(Path(folder), int(seconds)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write = partial(write_file, form=options.form, packed=options.packed)
        can_be_entered = options.form == "csv" and not options.packed
        short_seconds = options.short_seconds if can_be_entered else None
        sys.exit(0 if report(Path(folder), options.rows, short_seconds, write) else 1)


def write_file(path: Path, rows: int, *, form: str, packed: bool) -> None:
    """Write the file in one of its forms."""
    (write_crm_xml if form == "xml" else write_crm_file)(path, rows)
    if packed:
        with path.open("rb") as source, gzip.open(path.with_suffix(".gz"), "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target)
        path.with_suffix(".gz").replace(path)


def report(folder: Path, sizes: Iterable[int], short_seconds: int | None, write: Callable[[Path, int], None]) -> bool:
    """Print a line for each size and one for the run in parts; return whether the goals are met.

    Args:
        short_seconds: Time-out of the run in parts; None where there is none.
    """
    print(f"goal: peak memory under {GOAL_MB:.0f} MB, flat (x {GOAL_FLAT}) from {FLAT_FROM_ROWS:,} rows on")
    peaks, digest = {}, ""
    for rows in sorted(sizes):
        write(folder / "crm.csv", rows)
        peaks[rows] = measure(folder / "crm.csv", folder / f"ample-{rows}", AMPLE_SECONDS).peak_mb
        digest = digest_of_results(folder / f"ample-{rows}")
    large = [peak for rows, peak in peaks.items() if rows >= FLAT_FROM_ROWS] or [0.0]
    is_small = max(peaks.values()) < GOAL_MB and max(large) <= GOAL_FLAT * large[0]
    if short_seconds is None:
        print("no run in parts: such a file is read again from its beginning, and refused where that takes too long")
        return is_small
    parts = measure(folder / "crm.csv", folder / "short", short_seconds)
    is_same = digest_of_results(folder / "short") == digest
    print(f"the run in {parts.invocations} invocations gives {'the same' if is_same else 'OTHER'} batches and rejects")
    return is_small and parts.peak_mb < GOAL_MB and is_same and parts.invocations > 1


def measure(file: Path, store: Path, timeout_seconds: int) -> Measured:
    """Put the file into a new store, run the step on it in a process of its own, and print what that says."""
    with file.open("rb") as stream:
        objects_in(store).put_stream(FILE_KEY, iter(lambda: stream.read(1 << 20), b""))
    command = [sys.executable, __file__, "--in-child", str(store), str(timeout_seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured = Measured(**json.loads(done.stdout))
    print(
        f"{measured.rows:>9,} rows  {measured.batches:>3} batches  {measured.invocations} invocations of at most"
        f" {timeout_seconds} s  {measured.seconds:>5.1f} s  peak {measured.peak_mb:.1f} MB",
        flush=True,
    )
    return measured


def digest_of_results(store: Path) -> str:
    """Return one hash of everything that the step stored beside its ledger: keys and bytes."""
    objects, digest = objects_in(store), hashlib.sha256()
    for summary in (each for prefix in RESULTS for each in objects.list(prefix)):
        digest.update(f"{summary.key} {summary.etag}\n".encode())
    return digest.hexdigest()


def objects_in(store: Path) -> FolderObjects:
    """Return the store that lies in a folder."""
    return FolderObjects(store, SystemClock())


# --- in the child ---------------------------------------------------------------------------------------------------


def run_step(store: Path, timeout_seconds: int) -> Measured:
    """Handle the message of a fetched file, and its continuations, until the next service is told.

    Raises:
        RuntimeError: Nothing reached the next service.
    """
    objects, workflow = objects_in(store), workflow_with(timeout_seconds)
    queues = LocalQueues({name: QueueSettings(6 * timeout_seconds, 3) for name in workflow.services}, SystemClock())
    queues.of(SERVICE).send([Outgoing(first_message(objects).encode())])
    start = time.perf_counter()
    invocations = sum(1 for _ in invoke(workflow, objects, queues, timeout_seconds))
    seconds = time.perf_counter() - start
    for received in queues.of(NEXT).receive():
        parsed = Message.decode(received.body).fact(FileParsed)
        return Measured(parsed.rows, parsed.batches, invocations, seconds, peak_of_process())
    raise RuntimeError(f"{NEXT} was told nothing; dead letters: {queues.dead_letters_of(SERVICE).receive()}")


def invoke(workflow: Workflow, objects: ObjectStore, queues: Queues, timeout_seconds: int) -> Iterator[None]:
    """Handle what waits, a new worker each time as after a cold start, with that much time on the clock each."""
    while received := queues.of(SERVICE).receive(max_messages=1):
        step = ParseCrmFile(Wiring(workflow, SERVICE, CONFIG, objects, queues, FixedSecrets({}), SystemClock()))
        if step.handle(Delivery(received[0], time_left(timeout_seconds))):
            queues.of(SERVICE).delete(received[0].receipt)
        yield


def time_left(seconds: int) -> Callable[[], float]:
    """Return what tells how much is left of that many seconds from now on."""
    ends_at = time.monotonic() + seconds
    return lambda: ends_at - time.monotonic()


def first_message(objects: ObjectStore) -> Message:
    """Return what `fetch_sftp_file` says of the file in the store."""
    (summary,) = objects.list(FILE_KEY)
    fetched = FileFetched("crm.csv", FILE_KEY, summary.size, sha256="0" * 64)
    return Message("bench", RUN, SERVICE, WHOLE_RUN, SystemClock().now() + MESSAGE_LIFETIME, context=(fetched,))


def workflow_with(timeout_seconds: int) -> Workflow:
    """Return a workflow that has the step, and one on each side of it."""
    chain = ["fetch_sftp_file", SERVICE, NEXT]
    sizes = {"memory_mb": 256, "concurrency": 2, "batch_size": 1, "max_receive_count": 3}
    services = {name: {"kind": name, "timeout_seconds": timeout_seconds, **sizes} for name in chain}
    services["fetch_sftp_file"]["schedule"] = "rate(15 minutes)"
    return check_workflow(
        YamlFile(Path("workflow.yml"), {"name": "bench", "chains": {"crm": chain}, "services": services}, {})
    )


CONFIG = StageConfig.model_validate(
    {
        "stage": "local",
        "aws_account_id": "111122223333",
        "aws_region": "eu-west-1",
        "alarm_email": "on-call@client.example",
        "qualtrics": {"datacenter": "fra1", "directory_id": "POOL_000000000000000"},
    }
)


if __name__ == "__main__":
    main()
