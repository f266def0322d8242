"""The timer of one pool, which neither keeps it alive nor outlives it."""

import asyncio
from collections.abc import Callable
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
        self._pool = ref(pool, lambda _: self.stop())
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
            self.stop()
            self._loop = loop
            # An empty context: that of the caller who happens to be first would be kept for as long as the pool lives.
            self._handle = loop.call_soon(self._tick, loop, context=Context())

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        pool = self._pool()
        if pool is not None:
            self._handle = loop.call_later(self._every, self._tick, loop)
            self._report(pool.stats())
