"""Callers that do what a test tells them, one step at a time."""

import asyncio
from typing import Any

from instrumented_pool.testing import FakeConnection

from .fakes import Pool
from .virtual import steps

_in_hand: set[FakeConnection] = set()


class Caller:
    """A task that asks for a connection and keeps it until told to give it back.

    Attributes:
        conn: the connection, once it has one.
    """

    def __init__(self, pool: Pool, **options: Any) -> None:
        self.conn: FakeConnection | None = None
        self._pool, self._options = pool, options
        self._end = asyncio.Event()
        self._raises: BaseException | None = None
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        async with self._pool.get_connection(**self._options) as self.conn:
            assert self.conn not in _in_hand, f"{self.conn} is in two hands"
            _in_hand.add(self.conn)
            try:
                await self._end.wait()
                if self._raises is not None:
                    raise self._raises
            finally:
                _in_hand.remove(self.conn)

    @property
    def waits(self) -> bool:
        """Whether it is still asking."""
        return self.conn is None and not self.task.done()

    async def leave(self, error: BaseException | None = None) -> None:
        """Give the connection back, with `error` raised in the body, and wait until the exit is over."""
        self.let_go(error)
        await asyncio.wait({self.task})

    def let_go(self, error: BaseException | None = None) -> None:
        """The same without waiting."""
        self._raises = error
        self._end.set()

    async def cancel(self) -> None:
        """Cancel it and wait until it is gone."""
        self.task.cancel()
        await asyncio.wait({self.task})

    async def error(self) -> BaseException | None:
        """What it ended with."""
        await asyncio.wait({self.task})
        return asyncio.CancelledError() if self.task.cancelled() else self.task.exception()


async def callers(pool: Pool, count: int, **options: Any) -> list[Caller]:
    """So many callers, which have taken the steps that they can take."""
    made = [Caller(pool, **options) for _ in range(count)]
    await steps()
    return made


async def leave_all(*those: Caller) -> None:
    """Let everybody go who has not gone."""
    for caller in those:
        if not caller._end.is_set():
            caller.let_go()
    pending = {caller.task for caller in those}
    if pending:
        await asyncio.wait(pending)
    for caller in those:
        if not caller.task.cancelled():
            caller.task.exception()
