"""`clear()` replaces every connection; the limits may be changed while the pool works."""

import asyncio

import pytest

from instrumented_pool import BurstEnded, BurstStarted, Closed, PoolCleared, Shrink
from instrumented_pool.testing import FakeStrategy, RecordingObserver
from support.callers import callers, leave_all
from support.fakes import MakePool
from support.virtual import steps


async def test_clear_closes_what_is_idle_at_once(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """The next caller gets a new connection."""
    pool = make_pool()
    async with pool.get_connection() as old:
        pass
    pool.clear()
    assert strategy.closed == [old]
    async with pool.get_connection() as new:
        assert new is not old


async def test_clear_closes_what_is_lent_when_it_comes_back(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver
) -> None:
    """Its holder does not notice."""
    pool = make_pool(observers=[recorder])
    (holder,) = await callers(pool, 1)
    pool.clear()
    assert not strategy.closed
    await holder.leave()
    assert await holder.error() is None
    assert recorder.one(Closed).reason == "cleared"


async def test_cleared_connection_is_not_handed_over(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Those who wait get a new one."""
    pool = make_pool()
    holder, queued = await callers(pool, 2)
    pool.clear()
    await holder.leave()
    await steps()
    assert queued.conn is strategy.created[1]
    await queued.leave()


async def test_connection_being_made_during_clear_is_made_again(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """It may have reached the old server; the caller waits a little longer and gets the next."""
    strategy.gate.clear()
    pool = make_pool()
    (caller,) = await callers(pool, 1)
    pool.clear()
    strategy.gate.set()
    await steps()
    assert caller.conn is strategy.created[1]
    await caller.leave()


async def test_clear_of_an_empty_or_a_closed_pool_tells_nothing(
    make_pool: MakePool, recorder: RecordingObserver
) -> None:
    """G6: nothing changed."""
    pool = make_pool(observers=[recorder])
    pool.clear()
    await pool.close()
    pool.clear()
    assert not recorder.of(PoolCleared)


async def test_clear_of_what_is_cleared_already_tells_nothing(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """G6 again: all that is lent is to be replaced already."""
    pool = make_pool(observers=[recorder])
    (holder,) = await callers(pool, 1)
    pool.clear()
    pool.clear()
    assert len(recorder.of(PoolCleared)) == 1
    await holder.leave()


async def test_raised_max_size_serves_the_queue(make_pool: MakePool) -> None:
    """At once."""
    pool = make_pool()
    made = await callers(pool, 3)
    pool.max_size = 3
    await steps()
    assert all(caller.conn for caller in made)
    await leave_all(*made)
    assert pool.stats().idle == 3


async def test_lowered_max_size_closes_what_lies_idle_above_it(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver
) -> None:
    """Those idle for longest go first."""
    pool = make_pool(max_size=3, observers=[recorder])
    made = await callers(pool, 3)
    for caller in made:
        await caller.leave()
    pool.max_size = 1
    assert strategy.closed == [made[0].conn, made[1].conn]
    assert len(recorder.of(Shrink)) == 2
    assert pool.stats().idle == 1


async def test_lowered_max_size_lets_what_is_lent_return_first(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Then it is closed."""
    pool = make_pool(max_size=3)
    first, second, third = await callers(pool, 3)
    pool.max_size = 1
    await first.leave()
    await second.leave()
    await third.leave()
    assert strategy.closed == [first.conn, second.conn]
    assert pool.stats().idle == 1


async def test_lowered_hard_limit_is_reached_although_callers_wait(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """What returns above it is closed, not handed over: under steady load it would otherwise never be reached."""
    pool = make_pool(max_size=3)
    first, second, third, *queue = await callers(pool, 6)
    pool.max_size = 1
    await first.leave()
    await second.leave()
    await steps()
    assert strategy.closed == [first.conn, second.conn]
    assert all(caller.waits for caller in queue)
    await third.leave()
    await steps()
    assert queue[0].conn is third.conn
    await leave_all(*queue)


async def test_burst_begins_and_ends_with_the_limit(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """A total above a lowered `max_size` is a burst; raising it again is its end."""
    pool = make_pool(max_size=2, observers=[recorder])
    made = await callers(pool, 2)
    pool.max_size = 1
    assert recorder.one(BurstStarted).total == 2
    pool.max_size = 2
    assert recorder.one(BurstEnded).peak == 2
    await leave_all(*made)


async def test_limits_may_be_changed_before_the_first_use(make_pool: MakePool) -> None:
    """Without a loop having been seen."""
    pool = make_pool()
    pool.max_size = 2
    pool.burst_limit = 3
    made = await callers(pool, 4)
    assert pool.stats().in_use == 3
    await leave_all(*made)


async def test_burst_limit_may_be_taken_away(make_pool: MakePool) -> None:
    """None means `max_size` again."""
    pool = make_pool(burst_limit=3)
    pool.burst_limit = None
    made = await callers(pool, 3)
    assert pool.stats().in_use == 1
    await leave_all(*made)


async def test_refused_limits_change_nothing(make_pool: MakePool) -> None:
    """Neither of the two."""
    pool = make_pool(max_size=2, burst_limit=4)
    with pytest.raises(ValueError, match="burst_limit must be greater than or equal to max_size"):
        pool.max_size = 5
    with pytest.raises(ValueError, match="burst_limit=1 and max_size=2"):
        pool.burst_limit = 1
    assert (pool.max_size, pool.burst_limit, pool.stats().limit) == (2, 4, 4)


async def test_observer_may_raise_the_limit_from_within_a_hook(
    make_pool: MakePool, recorder: RecordingObserver
) -> None:
    """An auto-tuner that reacts to a caller having to queue."""

    class Tuner(type(recorder)):  # type: ignore[misc]  # the recorder's own class, by its fixture
        def on_acquire_queued(self, event: object) -> None:
            pool.max_size = 3

    pool = make_pool(observers=[Tuner()])
    made = await callers(pool, 3)
    assert all(caller.conn for caller in made)
    assert pool.stats().observer_errors == 0
    await leave_all(*made)
    await asyncio.sleep(0)
