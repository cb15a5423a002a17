"""The crash matrix of the repository in the current folder, from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from qualtrics_etl.errors import ConfigurationError
from qualtrics_etl.testing.crashes import ROWS, ROWS_PER_BATCH, CrashMatrix


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all cases, or those that are named, in the repository that is the current folder.

    Returns:
        0 when every case ends well, 1 when one does not, 2 when they can't be run.
    """
    parser = argparse.ArgumentParser(prog="python -m qualtrics_etl.testing", description=__doc__)
    parser.add_argument("file", help="the client's file, for example tests/data/contacts.csv")
    parser.add_argument("cases", nargs="*", help="cases to run, for example import_contacts/3/killed_after")
    parser.add_argument("--rows", type=int, default=ROWS, help="how many rows of the file are used")
    parser.add_argument("--rows-per-batch", type=int, default=ROWS_PER_BATCH, help="how many make a batch")
    parser.add_argument("--no-deduplication", action="store_true", help="the directory knows nobody again")
    told = parser.parse_args(arguments)
    try:
        return _run(told)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _run(told: argparse.Namespace) -> int:
    matrix = CrashMatrix(
        Path.cwd(),
        told.file,
        rows=told.rows,
        rows_per_batch=told.rows_per_batch,
        deduplicates=not told.no_deduplication,
    )
    with matrix:
        report = matrix.run_cases(map(matrix.case, told.cases)) if told.cases else matrix.run()
        if len(told.cases) == 1:
            sys.stdout.write("\n".join([*matrix.trace(), "", ""]))
    sys.stdout.write(f"{report}\n")
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
