"""What a strategy does in its own time, each in a task of the pool's, and for so long and no longer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ._bus import Bus

Then: TypeAlias = Callable[[BaseException | None], object]


class Errands:
    """The errands that are under way.

    Args:
        owner: begins the message of one that takes too long.
        patience: seconds that each may take.
        bus: keeps what must not be swallowed.
    """

    __slots__ = ("_bus", "_owner", "_patience", "_under_way")

    def __init__(self, owner: str, patience: float, bus: Bus) -> None:
        self._owner, self._patience, self._bus = owner, patience, bus
        # Each by an object of its own, for two may await one future. None: it has been given up, and has yet to end.
        self._under_way: dict[object, Then | None] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def start(
        self, pending: Awaitable[None], loop: asyncio.AbstractEventLoop, what: str, then: Then
    ) -> "asyncio.Future[None]":
        """Have a task await `pending`, and call `then`, once: with how that ended, or that it took too long."""
        key, errand = object(), asyncio.ensure_future(pending, loop=loop)
        timer = loop.call_later(self._patience, self._overran, key, errand, what)
        self._under_way[key] = then
        errand.add_done_callback(lambda _: self._ended(key, errand, timer))
        return errand

    def _overran(self, key: object, errand: "asyncio.Future[None]", what: str) -> None:
        then = self._under_way[key]
        self._under_way[key] = None
        errand.cancel()
        assert then is not None
        then(TimeoutError(f"{self._owner}: {what} took more than {self._patience:.3f} s"))
        self._bus.raise_into_loop()

    def _ended(self, key: object, errand: "asyncio.Future[None]", timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        error = asyncio.CancelledError() if errand.cancelled() else errand.exception()
        then = self._under_way.pop(key)
        if then is not None:
            then(error)
            self._bus.raise_into_loop()
