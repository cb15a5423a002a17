"""Coroutines run in a thread, for synchronous callers."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from qualtrics_etl.channels.loop_thread import LoopThread


async def answer() -> int:
    """Give a result."""
    return 42


async def fail() -> int:
    """Give an error."""
    raise LookupError("not there")


def test_result_and_error_reach_the_caller() -> None:
    """What the coroutine returns is returned, what it raises is raised."""
    thread = LoopThread("test")
    thread.start()
    assert thread.call(answer()) == 42
    with pytest.raises(LookupError, match=r"^not there$"):
        thread.call(fail())
    thread.stop()


def test_stop_cancels_what_still_runs() -> None:
    """Nothing goes on after the end, and who waits for it hears so."""
    begun = threading.Event()

    async def never_end() -> None:
        begun.set()
        await asyncio.Event().wait()

    thread = LoopThread("test")
    thread.start()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(thread.call, never_end())
        begun.wait()
        thread.stop()
        assert isinstance(waiting.exception(), CancelledError)
