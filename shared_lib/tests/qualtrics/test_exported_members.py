"""The package's face: sorted, true, and light to import."""

from __future__ import annotations

import subprocess
import sys

from qualtrics_etl import qualtrics


def test_exported_names_exist_and_are_sorted() -> None:
    """What is promised can be imported, in the order in which people look."""
    names = qualtrics.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name.islower(), name))
    assert [name for name in names if not hasattr(qualtrics, name)] == []


def test_import_stays_light() -> None:
    """What takes long to load waits until a call is made."""
    heavy = (
        "print(sorted({'requests', 'urllib3', 'pydantic', 'boto3', 'ssl', 'socket'} & set(__import__('sys').modules)))"
    )
    command = [sys.executable, "-c", f"import qualtrics_etl.qualtrics; {heavy}"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"
