"""How the benchmarks measure: side by side in one run, medians, and peak memory in processes of their own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

MIB = 1024 * 1024
MB = 1_000_000


def medians(contestants: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Return each contestant's median processor seconds.

    They take turns, so that whatever else the machine does falls on all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_memory_in_child(script: str, *arguments: str) -> float:
    """Run a script that ends by printing what `peak_above` answered; return that, in MiB."""
    done = subprocess.run([sys.executable, script, *arguments], check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def peak_above(run: Callable[[], object]) -> float:
    """Return how far the process's memory rises while this runs, in MiB. Linux only."""
    # Resets the high-water mark, which the imports may have pushed up.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / MIB


def peak_of_process() -> float:
    """Return the most memory that this process ever held, interpreter and imports included, in MB. Linux only."""
    return _status("VmHWM") / MB


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)
