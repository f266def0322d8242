"""Rule 13 and `stats()`: counts read from the slots, and distributions kept once somebody asks."""

import asyncio
import math

import pytest

from instrumented_pool import BOUNDS, Closed, Distribution, PoolTimeoutError
from instrumented_pool.testing import FakeStrategy, RecordingObserver
from support.callers import Caller, callers, leave_all
from support.fakes import MakePool
from support.virtual import steps


async def test_total_is_the_sum_of_the_states(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Creating, idle, in use, closing."""
    strategy.close_steps = 50
    pool = make_pool(max_size=4)
    first, second, third = await callers(pool, 3)
    await first.leave()
    await second.cancel()
    strategy.gate.clear()
    fourth, fifth = await callers(pool, 2)
    stats = pool.stats()
    assert (stats.creating, stats.idle, stats.in_use, stats.closing) == (1, 0, 2, 1)
    assert (stats.total, stats.limit, stats.bursting) == (4, 4, False)
    strategy.gate.set()
    await leave_all(third, fourth, fifth)


@pytest.mark.parametrize("observed", [True, False])
async def test_each_acquire_is_counted_once_by_its_source(make_pool: MakePool, observed: bool) -> None:
    """Whether it went through the plainest path or not."""
    pool = make_pool()
    if observed:
        pool.keep_distributions()
    holder, queued = await callers(pool, 2)
    await holder.leave()
    await queued.leave()
    for _ in range(3):
        async with pool.get_connection():
            pass
    assert pool.stats().acquired == {"new": 1, "handoff": 1, "idle": 3}
    assert pool.stats().acquires == 5


async def test_acquire_that_finds_its_connection_dead_is_not_counted_as_idle(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """Not even if an observer asks for the counts just then."""
    recorder = RecordingObserver()
    recorder.waits_only = True
    pool = make_pool(observers=[recorder])
    for conn in (1, 2):
        async with pool.get_connection():
            strategy.created[conn - 1].dead = True
    assert recorder.at(Closed).acquired["idle"] == 0
    assert pool.stats().acquired == {"idle": 0, "new": 2, "handoff": 0}
    recorder.clear()  # it was told of no start


async def test_each_failed_acquire_is_counted_by_its_reason(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """All but the deadlock, which has tests of its own."""
    pool = make_pool(max_waiting=1)
    strategy.create_errors.append(OSError())
    await Caller(pool).error()
    (holder,) = await callers(pool, 1)
    assert isinstance(await Caller(pool, timeout=1.0).error(), PoolTimeoutError)
    (queued,) = await callers(pool, 1)
    await Caller(pool).error()
    await queued.cancel()
    await holder.leave()
    await pool.close()
    await Caller(pool).error()
    reasons = ("timeout", "cancelled", "create_error", "pool_closed", "queue_full")
    assert pool.stats().failed == {**dict.fromkeys(reasons, 1), "deadlock": 0}


async def test_snapshot_does_not_change_with_the_pool(make_pool: MakePool) -> None:
    """It is what was."""
    pool = make_pool()
    before = pool.stats()
    async with pool.get_connection():
        pass
    assert (before.total, before.acquires, sum(before.acquired.values())) == (0, 0, 0)


async def test_oldest_hold_is_that_of_the_present_holders(make_pool: MakePool) -> None:
    """Zero where nothing is lent."""
    pool = make_pool(max_size=2)
    assert pool.stats().oldest_hold == 0
    (first,) = await callers(pool, 1)
    await asyncio.sleep(3)
    (second,) = await callers(pool, 1)
    await asyncio.sleep(2)
    assert pool.stats().oldest_hold == 5.0
    await first.leave()
    assert pool.stats().oldest_hold == 2.0
    await second.leave()
    assert pool.stats().oldest_hold == 0


async def test_distributions_are_none_until_somebody_asks(make_pool: MakePool) -> None:
    """And then the same ones for all who ask."""
    pool = make_pool()
    async with pool.get_connection():
        pass
    assert (pool.stats().wait, pool.stats().use, pool.stats().create) == (None, None, None)
    pool.keep_distributions()
    async with pool.get_connection():
        pass
    pool.keep_distributions()
    wait = pool.stats().wait
    assert wait is not None
    assert wait.count == 1


async def test_distributions_hold_the_seconds_of_wait_use_and_create(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """Each acquire, each use and each creation once."""
    pool = make_pool()
    pool.keep_distributions()
    strategy.gate.clear()
    asyncio.get_running_loop().call_later(0.75, strategy.gate.set)
    async with pool.get_connection():
        await asyncio.sleep(2.0)
    async with pool.get_connection():
        await asyncio.sleep(0.25)
    stats = pool.stats()
    assert stats.wait is not None
    assert stats.use is not None
    assert stats.create is not None
    assert (stats.wait.count, stats.wait.sum) == (2, 0.75)
    assert (stats.use.count, stats.use.sum) == (2, 2.25)
    assert (stats.create.count, stats.create.sum) == (1, 0.75)
    assert stats.use.counts[BOUNDS.index(0.25)] == 1
    assert stats.use.counts[BOUNDS.index(2.5)] == 1


async def test_use_that_began_before_somebody_asked_is_counted_too(make_pool: MakePool) -> None:
    """It ends after."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    pool.keep_distributions()
    await asyncio.sleep(1)
    await holder.leave()
    use = pool.stats().use
    assert use is not None
    assert use.sum == 1.0


async def test_failed_acquires_and_creations_are_not_in_the_distributions(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """They have their counters."""
    pool = make_pool()
    pool.keep_distributions()
    strategy.create_errors.append(OSError())
    await Caller(pool).error()
    stats = pool.stats()
    assert stats.wait is not None
    assert stats.create is not None
    assert (stats.wait.count, stats.create.count) == (0, 0)
    await steps()


def test_quantile_is_interpolated_within_its_bucket() -> None:
    """As Prometheus does, so that all who draw it draw the same."""
    spread = Distribution((1.0, 2.0, 4.0), (2, 2, 0, 1), 11.0)
    assert spread.count == 5
    assert spread.quantile(0.2) == 0.5
    assert spread.quantile(0.6) == 1.5
    assert spread.quantile(0.8) == 2.0
    assert spread.quantile(1.0) == 4.0
    assert math.isnan(Distribution((1.0,), (0, 0), 0.0).quantile(0.5))
    with pytest.raises(ValueError, match=r"q must be between 0 and 1, got 1\.5"):
        spread.quantile(1.5)
