"""Two hundred callers, each with a token of its own in every question."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from random import Random
from typing import Any, ClassVar

from instrumented_pool import ConnectionPool, PoolTimeoutError
from instrumented_pool.redaction import describe_error

from .subjects import Subject


class Crowd:
    """Ask, wait, ask again, until told to stop; what went wrong is theirs to tell.

    Attributes:
        asked: how many times one of them wanted a connection.
        errors: of those, how many ended in which clear error.
        wrong: whatever no caller should ever see, in words.
        served: when the last success of each began.
        last_failure: when it was.
    """

    SIZE: ClassVar[int] = 200
    THINKS: ClassVar[float] = 0.4  # seconds at most between two questions
    WORKS: ClassVar[float] = 0.005  # seconds at most between two commands
    PATIENCE: ClassVar[float] = 0.3  # seconds for a connection, and as many for what is done with it

    def __init__(self, subject: Subject, pool: ConnectionPool[Any], random: Random) -> None:
        self._subject = subject
        self._pool = pool
        self._random = random
        self._numbers = count()
        self._open = asyncio.Event()
        self._open.set()
        self._over = asyncio.Event()
        self.asked = 0
        self.errors: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.served = [0.0] * self.SIZE
        self.last_failure = 0.0
        self._now = asyncio.get_running_loop().time
        self._tasks = [asyncio.create_task(self._call(number), name=f"caller-{number}") for number in range(self.SIZE)]

    async def go_home(self, within: float) -> None:
        """Let each finish what it is doing."""
        self._over.set()
        self._open.set()
        _, late = await asyncio.wait(self._tasks, timeout=within)
        if late:
            self.wrong[f"a caller did not end within {within:g} s"] += len(late)
        await self.dismiss()

    async def dismiss(self) -> None:
        """Stop, whatever they are doing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    @asynccontextmanager
    async def at_rest(self) -> AsyncIterator[None]:
        """Nobody has a connection, or asks for one."""
        self._open.clear()
        while (stats := self._pool.stats()).in_use or stats.waiting or stats.creating or stats.closing:
            await asyncio.sleep(0.001)
        try:
            yield
        finally:
            self._open.set()

    async def _call(self, number: int) -> None:
        while not await self._thinks():
            await self._open.wait()
            began = self._now()
            self.asked += 1
            try:
                await self._use_a_connection(number)
            except self._subject.expected as error:
                self.errors[_kind(error)] += 1
                self.last_failure = self._now()
            except Exception as error:
                self.wrong[f"no clear error: {type(error).__name__}: {describe_error(error)}"] += 1
            else:
                self.served[number] = began

    async def _thinks(self) -> bool:
        """Take a moment, and say whether it is time to go home."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._random.uniform(0, self.THINKS)):
                await self._over.wait()
        return self._over.is_set()

    async def _use_a_connection(self, number: int) -> None:
        async with self._pool.get_connection(timeout=self.PATIENCE) as conn, asyncio.timeout(self.PATIENCE):
            for _ in range(2):
                token = f"caller-{number}-{next(self._numbers)}"
                reply = await self._subject.ask(conn, token)
                if reply != token:
                    self.wrong["a reply to somebody else"] += 1
                await asyncio.sleep(self._random.uniform(0, self.WORKS))


def _kind(error: Exception) -> str:
    if isinstance(error, PoolTimeoutError):
        return "no connection in time"
    return "no reply in time" if isinstance(error, TimeoutError) else type(error).__name__
