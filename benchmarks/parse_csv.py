"""Goals 1 and 3: CSV bytes to validated JSON batches, against the floor, and the memory that it takes.

The floor is what anybody would write without validation: `csv.reader`, a dict a row, `json.dumps` of 1,000 rows.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from crm_file import CrmRow, write_crm_file
from measuring import medians, peak_above, peak_memory_in_child

from qualtrics_etl.formats.batches import encode_batch, encode_rejects
from qualtrics_etl.formats.csv_file import read_batches
from qualtrics_etl.formats.csv_header import CsvSpec
from qualtrics_etl.formats.rows import RowModel

GOAL_TIME = 0.8
GOAL_MEMORY_MIB = 15.0
MEMORY_ROWS = (10_000, 100_000, 1_000_000)


def floor(path: Path) -> int:
    """Parse without validating; return the bytes made."""
    made, batch = 0, []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        for row in reader:
            batch.append(dict(zip(header, row, strict=False)))
            if len(batch) == 1_000:
                made += len(json.dumps(batch).encode())
                batch = []
    return made + len(json.dumps(batch).encode())


def ours(path: Path) -> int:
    """Parse, validate, and make batches and rejects as they are stored; return the bytes made."""
    made = 0
    with path.open("rb") as file:
        for batch in read_batches(file, CsvSpec(), RowModel(CrmRow), file=path.name):
            made += len(encode_batch(batch)) + len(encode_rejects(batch.rejects))
    return made


CONTESTANTS: dict[str, Callable[[Path], int]] = {"floor": floor, "ours": ours}


def main() -> None:
    """Measure and print one line a goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the file that is timed")
    parser.add_argument("--rounds", type=int, default=9, help="how often each is timed; the median counts")
    parser.add_argument(
        "--peak", nargs=2, metavar=("WHO", "FILE"), help="only print the peak memory of one run, in MiB"
    )
    options = parser.parse_args()
    if options.peak:
        name, file = options.peak
        print(peak_above(partial(CONTESTANTS[name], Path(file))))
        return
    with tempfile.TemporaryDirectory() as folder:
        report_time(Path(folder), options.rows, options.rounds)
        report_memory(Path(folder))


def report_time(folder: Path, rows: int, rounds: int) -> None:
    """Print goal 1."""
    path = folder / "timed.csv"
    write_crm_file(path, rows)
    seconds = medians({name: partial(run, path) for name, run in CONTESTANTS.items()}, rounds=rounds)
    ratio = seconds["ours"] / seconds["floor"]
    each = ", ".join(f"{name} {1e6 * value / rows:.2f} us a row" for name, value in seconds.items())
    print(f"goal 1  time     {ratio:.2f} x floor (goal {GOAL_TIME})  {rows:,} rows: {each}")


def report_memory(folder: Path) -> None:
    """Print goal 3."""
    for rows in MEMORY_ROWS:
        path = folder / f"{rows}.csv"
        write_crm_file(path, rows)
        peaks = {name: peak_memory_in_child(__file__, "--peak", name, str(path)) for name in CONTESTANTS}
        path.unlink()
        each = f"ours {peaks['ours']:.1f} MiB (goal {GOAL_MEMORY_MIB:.0f}), floor {peaks['floor']:.1f} MiB"
        print(f"goal 3  memory   {rows:>9,} rows: {each}")


if __name__ == "__main__":
    main()
