"""An event loop in a thread of its own: asynchronous libraries behind synchronous calls.

Work goes on between two calls (read-ahead, keep-alives), which a loop that only runs during a call can't do.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

STOP_SECONDS = 5.0  # a name look-up that hangs may outlive its loop; the thread is a daemon and is left behind


class LoopThread:
    """Runs coroutines for callers of any thread, from `start` to `stop`."""

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stopped: asyncio.Event

    def start(self) -> None:
        """Start the thread; returns when the loop takes work."""
        self._thread.start()
        self._ready.wait()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return what it returns, or raise what it raises."""
        pending = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return pending.result()
        finally:
            pending.cancel()  # after Ctrl-C nothing goes on unseen; without effect on what is done

    def stop(self) -> None:
        """Cancel what still runs and end the thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(STOP_SECONDS)

    def _serve(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._stopped = asyncio.Event()
            self._ready.set()
            runner.run(self._stopped.wait())
