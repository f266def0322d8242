"""Whatever the clock shows, at whichever of its readings, nothing is lost, and nobody waits for ever.

What `time.monotonic` does to a pool: it goes on between any two readings, which virtual time alone never does. It leaps
where a machine was suspended, a process stopped or a thread held up. It stands still where it is coarse, by 16 ms on
Windows, and so does not reach what a timer was set for: asyncio's timers there are early by as much, and uvloop's by
a millisecond. It never goes back.

This sweep is the project's own: the clock that is disturbed is the one that the pool reads, and nothing else does.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from instrumented_pool import _bus, _pool
from instrumented_pool.testing import FakeStrategy, Faults, RecordingObserver
from support.fakes import MakePool
from support.scenarios import SCENARIOS
from support.sweep import fail_everywhere
from support.virtual import CLOCK

TICK = 1e-5  # seconds from one reading to the next
TIMERS: dict[str, Any] = {"max_lifetime": 9.0, "idle_timeout": 5.0, "leak_after": 1.0}
PATIENT: dict[str, Any] = {"acquire_timeout": None}  # so that no time-out ends what would wait for ever


class Monotonic:
    """What the pool reads. Each reading may be the one from which on the clock does what it should not.

    Attributes:
        still: how many of the next readings show what the last one did, whatever has passed since: if a timer has
            fired, it was early.
    """

    def __init__(self, misbehave: Callable[["Monotonic"], None]) -> None:
        self.faults = Faults()
        self.still = 0
        self._misbehave = misbehave
        self._seconds = 0.0

    def start(self, faults: Faults) -> None:
        self.faults, self.still, self._seconds = faults, 0, CLOCK.seconds

    def __call__(self) -> float:
        if self.faults.silent:  # it is the invariant that looks, which must not make a difference
            return CLOCK.seconds
        CLOCK.seconds += TICK
        if self.faults.fails("monotonic"):
            self._misbehave(self)
        if self.still:
            self.still -= 1
        else:
            self._seconds = CLOCK.seconds
        return self._seconds


def leap(clock: Monotonic) -> None:
    """A lid was closed, and opened in the evening."""
    CLOCK.seconds += 36_000


def stand_still(clock: Monotonic) -> None:
    """Twice, so that time passes between two readings of which the first is early already."""
    clock.still = 2


@pytest.mark.parametrize("options", [TIMERS, PATIENT], ids=["timers", "patient"])
@pytest.mark.parametrize("misbehave", [leap, stand_still])
@pytest.mark.parametrize("name", SCENARIOS)
def test_clock_misbehaving_at_any_reading_leaves_the_pool_whole(
    name: str, misbehave: Callable[[Monotonic], None], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At worst somebody's time is up; see `may_be_raised`."""
    clock = Monotonic(misbehave)
    monkeypatch.setattr(_pool, "monotonic", clock)
    monkeypatch.setattr(_bus, "monotonic", clock)
    scenario = replace(SCENARIOS[name], options={**options, **SCENARIOS[name].options})
    readings = fail_everywhere(scenario, "nothing", observed=options is TIMERS, prepare=clock.start)
    assert readings > 3


async def test_what_follows_a_stale_connection_is_told_with_a_later_time(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """Also on the plainest path, which an observer of waits leaves as it is."""

    def close_in_a_second() -> Awaitable[None] | None:
        CLOCK.seconds += 1
        return None

    recorder = RecordingObserver()
    recorder.waits_only = True
    pool = make_pool(observers=[recorder])
    async with pool.get_connection():
        pass
    assert pool._at_hand is pool._idle
    strategy.created[0].dead = True
    strategy.closing = close_in_a_second  # type: ignore[assignment]  # it may close at once, as any strategy
    async with pool.get_connection():
        pass
    recorder.complete = False  # it was not told of any start
    times = [event.at for event in recorder.events]
    assert times == sorted(times)
    assert "acquire_queued" in recorder.names[recorder.names.index("closed") :]
