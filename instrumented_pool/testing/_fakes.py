"""A connection and a strategy that do what a test tells them."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import ClassVar

from .._strategy import ConnectionStrategy


class FakeConnection:
    """A connection to nothing. Its repr holds a password, so that a test can see that nobody prints it.

    Attributes:
        number: counted from 1, in the order of creation.
        dead: set it, and the strategy says that the connection is closed.
    """

    password: ClassVar[str] = "hunter2"

    def __init__(self, number: int) -> None:
        self.number = number
        self.dead = False

    def __repr__(self) -> str:
        return f"<FakeConnection {self.number} password={self.password}>"


class FakeStrategy(ConnectionStrategy[FakeConnection]):
    """Makes `FakeConnection`s, and can be told at any time what the next calls shall do.

    Args:
        create_steps: initial value of the attribute.
        close_steps: initial value of the attribute.

    Attributes:
        create_steps: loop steps that `create_connection` takes.
        close_steps: loop steps that `close_connection` takes; None makes it a plain function.
        create_errors: raised by the next creations, one each; None among them is a creation that succeeds.
        check_errors: the same for checks.
        close_errors: the same for closes.
        arrive_dead: how many of the next connections are closed when they arrive.
        closing: what `close_connection` returns instead.
        gate: while it is clear, `create_connection` waits.
        created: every connection that was made, in order.
        given_up: those that `close_connection` was called with, in order.
        closed: those whose close succeeded, in order.
        calls: how often each method was called.
    """

    def __init__(self, *, create_steps: int = 0, close_steps: int | None = None) -> None:
        self.create_steps = create_steps
        self.close_steps = close_steps
        self.create_errors: deque[BaseException | None] = deque()
        self.check_errors: deque[BaseException | None] = deque()
        self.close_errors: deque[BaseException | None] = deque()
        self.arrive_dead = 0
        self.closing: Callable[[], Awaitable[None]] | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.created: list[FakeConnection] = []
        self.given_up: list[FakeConnection] = []
        self.closed: list[FakeConnection] = []
        self.calls: Counter[str] = Counter()

    @property
    def open(self) -> list[FakeConnection]:
        """The connections that were made and not given to `close_connection` yet, in order."""
        return [conn for conn in self.created if conn not in self.given_up]

    async def create_connection(self) -> FakeConnection:
        """Make the next connection, after `create_steps` and when the `gate` is open.

        Raises:
            BaseException: the next of `create_errors`.
        """
        self.calls["create_connection"] += 1
        for _ in range(self.create_steps):
            await asyncio.sleep(0)
        await self.gate.wait()
        _raise_next(self.create_errors)
        conn = FakeConnection(len(self.created) + 1)
        if self.arrive_dead:
            self.arrive_dead -= 1
            conn.dead = True
        self.created.append(conn)
        return conn

    def connection_is_closed(self, conn: FakeConnection) -> bool:
        """Say whether it is `dead`.

        Raises:
            BaseException: the next of `check_errors`.
        """
        self.calls["connection_is_closed"] += 1
        _raise_next(self.check_errors)
        return conn.dead

    def close_connection(self, conn: FakeConnection) -> Awaitable[None] | None:
        """Close it, at once or in `close_steps`.

        Raises:
            BaseException: the next of `close_errors`.
        """
        self.given_up.append(conn)
        self.calls["close_connection"] += 1
        if self.closing is not None:
            return self.closing()
        if self.close_steps is not None:
            return self._close_slowly(conn, self.close_steps)
        self._close(conn)
        return None

    def connection_is_reusable(self, conn: FakeConnection, error: BaseException) -> bool:
        """Say what any strategy says that does not know better."""
        self.calls["connection_is_reusable"] += 1
        return super().connection_is_reusable(conn, error)

    async def _close_slowly(self, conn: FakeConnection, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)
        self._close(conn)

    def _close(self, conn: FakeConnection) -> None:
        _raise_next(self.close_errors)
        self.closed.append(conn)


def _raise_next(errors: deque[BaseException | None]) -> None:
    error = errors.popleft() if errors else None
    if error is not None:
        raise error
