"""Names for what the tests make most, and a strategy that does more for its connections than it must."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from instrumented_pool import ConnectionPool
from instrumented_pool.testing import FakeConnection, FakeStrategy
from instrumented_pool.testing._fakes import _raise_next

from .virtual import steps

Pool: TypeAlias = ConnectionPool[FakeConnection]
MakePool: TypeAlias = Callable[..., Pool]


class CarefulStrategy(FakeStrategy):
    """A `FakeStrategy` that resets what comes back, and looks at what lies idle for `check_after` seconds.

    Attributes:
        left_behind: whether there is something to reset.
        reset_steps: loop steps that a reset takes then; None makes it a plain function.
        reset_errors: raised by the next resets, one each; None among them is one that succeeds.
        reset_gate: while it is clear, resets that take steps wait.
        check_steps: loop steps that a look takes.
        check_gate: while it is clear, looks wait.
        gone: connections whose other side has gone without a word, which only a look can tell.
        reset: every connection that was reset, in order.
        looked_at: every connection that was looked at, in order.
    """

    def __init__(
        self, *, check_after: float | None = None, reset_steps: int | None = 2, close_steps: int | None = None
    ) -> None:
        super().__init__(close_steps=close_steps)
        self.check_after = check_after
        self.left_behind = True
        self.reset_steps = reset_steps
        self.reset_errors: deque[BaseException | None] = deque()
        self.reset_gate, self.check_gate = asyncio.Event(), asyncio.Event()
        self.reset_gate.set()
        self.check_gate.set()
        self.check_steps = 2
        self.gone: set[FakeConnection] = set()
        self.reset: list[FakeConnection] = []
        self.looked_at: list[FakeConnection] = []

    def reset_connection(self, conn: FakeConnection) -> Awaitable[None] | None:
        """Reset it, if there is something to reset."""
        if not self.left_behind:
            return None
        if self.reset_steps is not None:
            return self._reset_slowly(conn, self.reset_steps)
        self._reset(conn)
        return None

    async def check_connection(self, conn: FakeConnection) -> None:
        """Fail if it is among the `gone`."""
        self.looked_at.append(conn)
        await steps(self.check_steps)
        await self.check_gate.wait()
        if conn in self.gone:
            raise ConnectionError("nobody answers")

    async def _reset_slowly(self, conn: FakeConnection, count: int) -> None:
        await steps(count)
        await self.reset_gate.wait()
        self._reset(conn)

    def _reset(self, conn: FakeConnection) -> None:
        _raise_next(self.reset_errors)
        self.reset.append(conn)
