"""Goal 4 for XML, and gzip: the rows of `parse_csv.py` in other forms, against the same floor, and their memory."""

from __future__ import annotations

import argparse
import gzip
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from crm_file import CrmRow, write_crm_file, write_crm_xml
from measuring import medians, peak_above, peak_memory_in_child
from parse_csv import floor

from qualtrics_etl.formats.batch_reader import Limits
from qualtrics_etl.formats.batches import encode_batch, encode_rejects
from qualtrics_etl.formats.content import PackSpec, unpack
from qualtrics_etl.formats.rows import RowModel
from qualtrics_etl.formats.tables import TableSpec, read_table

GOAL_XML_TIME = 2.5
MEMORY_ROWS = (10_000, 100_000, 1_000_000)


def ours(path: Path) -> int:
    """Read a file of any form into batches and rejects as they are stored; return the bytes made."""
    made = 0
    with path.open("rb") as file:
        content = unpack(file, PackSpec(max_unpacked_mb=10_000), name=path.name)
        for batch in read_table(content, TableSpec(), RowModel(CrmRow), Limits()):
            made += len(encode_batch(batch)) + len(encode_rejects(batch.rejects))
    return made


def pack(path: Path) -> Path:
    """Pack a file with gzip; return the packed one."""
    packed = path.with_name(f"{path.name}.gz")
    with path.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as target:
        shutil.copyfileobj(source, target)
    return packed


def write_forms(folder: Path, rows: int) -> dict[str, Path]:
    """Write the file in each form."""
    forms = {"csv": folder / "crm.csv", "xml": folder / "crm.xml"}
    write_crm_file(forms["csv"], rows)
    write_crm_xml(forms["xml"], rows)
    return {**forms, "csv.gz": pack(forms["csv"]), "xml.gz": pack(forms["xml"])}


def main() -> None:
    """Measure and print one line a goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the files that are timed")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is timed; the median counts")
    parser.add_argument("--memory-rows", type=int, nargs="*", default=MEMORY_ROWS, help="rows of the others")
    parser.add_argument("--peak", metavar="FILE", help="only print the peak memory of one file, in MiB")
    options = parser.parse_args()
    if options.peak:
        print(peak_above(partial(ours, Path(options.peak))))
        return
    with tempfile.TemporaryDirectory() as folder:
        report_time(write_forms(Path(folder), options.rows), options.rows, options.rounds)
        for rows in options.memory_rows:
            report_memory(write_forms(Path(folder), rows), rows)


def report_time(forms: dict[str, Path], rows: int, rounds: int) -> None:
    """Print each form's time as a multiple of the floor's."""
    runs: dict[str, Callable[[], object]] = {"floor": partial(floor, forms["csv"])}
    seconds = medians(runs | {form: partial(ours, path) for form, path in forms.items()}, rounds=rounds)
    each = ", ".join(f"{form} {seconds[form] / seconds['floor']:.2f} x" for form in forms)
    print(
        f"time     {rows:>9,} rows: {each} (goal for xml {GOAL_XML_TIME}); floor {1e6 * seconds['floor'] / rows:.2f} us"
    )


def report_memory(forms: dict[str, Path], rows: int) -> None:
    """Print each form's peak memory."""
    each = ", ".join(
        f"{form} {peak_memory_in_child(__file__, '--peak', str(path)):.1f}" for form, path in forms.items()
    )
    print(f"memory   {rows:>9,} rows: {each} MiB above the imports", flush=True)


if __name__ == "__main__":
    main()
