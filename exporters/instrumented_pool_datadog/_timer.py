"""The timer of one pool, which neither keeps it alive nor outlives it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import Any
from weakref import ref

from instrumented_pool import ConnectionPool, PoolStats


class Timer:
    """Calls `report` at the loop's next turn and every `every` seconds from then on, until stopped or the pool is gone.

    Args:
        pool: whose stats are reported; held weakly.
        every: seconds between two reports.
        report: called with the pool's stats.
    """

    def __init__(self, pool: ConnectionPool[Any], every: float, report: Callable[[PoolStats], None]) -> None:
        self._pool = ref(pool, self._stop_from_anywhere)
        self._every = every
        self._report = report
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.Handle | None = None

    def start(self) -> None:
        """Run on the running event loop, if there is one and it is not the one already run on."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # built before the loop runs: the pool's first use starts it
            return
        if loop is not self._loop:
            self._stop_from_anywhere()
            self._loop = loop
            # An empty context: that of the caller who happens to be first would be kept for as long as the pool lives.
            self._handle = loop.call_soon(self._tick, loop, context=Context())

    def stop(self) -> None:
        """Stop at once. Called on the loop."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _stop_from_anywhere(self, _: object = None) -> None:
        # A handle may be cancelled in its loop's own thread only, and this may be another: that of a loop that the pool
        # is used on instead, or whichever collects the pool as garbage.
        handle, self._handle = self._handle, None
        if handle is not None and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and runs no timer
                self._loop.call_soon_threadsafe(handle.cancel)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        pool = self._pool()
        if pool is not None and loop is self._loop:
            self._handle = loop.call_later(self._every, self._tick, loop)
            self._report(pool.stats())
