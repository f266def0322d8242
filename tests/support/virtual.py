"""An event loop whose time is a number, so that hours pass in no time and always in the same way."""

import asyncio
import selectors

from instrumented_pool.testing import SteppedLoop

START = 1000.0
_STUCK = 10.0  # real seconds in which another thread may still wake a loop that has nothing to do


class Clock:
    """The time of every virtual loop, in seconds; `now` is what the pool sees as `monotonic()`."""

    def __init__(self) -> None:
        self.seconds = START

    def now(self) -> float:
        return self.seconds


CLOCK = Clock()


class _Selector(selectors.DefaultSelector):
    """Instead of waiting until the next timer, moves the clock there."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            found = super().select(_STUCK)
            if not found:
                raise RuntimeError("deadlock: no task of this loop will ever run again")
            return found
        found = super().select(0)
        if not found and timeout > 0:
            self.loop.skip_to_next_timer()
        return found


class VirtualLoop(SteppedLoop):
    """A loop on virtual time, in which every step of every task can be looked at."""

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        self._clock_resolution = 1e-6  # after a year of seconds the usual one is lost in rounding

    def time(self) -> float:
        return CLOCK.now()

    def skip_to_next_timer(self) -> None:
        CLOCK.seconds = max(CLOCK.seconds, self._scheduled[0].when())


async def steps(count: int = 10) -> None:
    """Let every other task run `count` steps."""
    for _ in range(count):
        await asyncio.sleep(0)
