"""The emulator of AWS comes and goes without a trace."""

from __future__ import annotations

import os

import pytest


def test_emulator_leaves_no_process_and_no_file(run_emulator) -> None:
    """After the tests nothing runs any more and nothing lies around, even when a test failed."""
    seen = []

    def fail_while_it_runs() -> None:
        with run_emulator() as running:
            seen.append(running)
            raise RuntimeError("a test failed")

    with pytest.raises(RuntimeError, match="a test failed"):
        fail_while_it_runs()

    with pytest.raises(ProcessLookupError):
        os.kill(seen[0].process_id, 0)
    assert not seen[0].folder.exists()
