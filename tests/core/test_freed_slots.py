"""Rule 8: every freed slot wakes somebody."""

from instrumented_pool.testing import FakeStrategy
from support.callers import callers, leave_all
from support.fakes import MakePool
from support.virtual import steps


async def test_failed_creation_wakes_the_next(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """The slot that it leaves is used for the next caller."""
    strategy.create_errors.append(OSError("refused"))
    pool = make_pool()
    first, second = await callers(pool, 2)
    assert isinstance(await first.error(), OSError)
    await steps()
    assert second.conn is not None
    await second.leave()


async def test_finished_close_wakes_the_next(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """As long as the old connection is closing it counts; then a new one is made."""
    strategy.close_steps = 30
    pool = make_pool()
    holder, queued = await callers(pool, 2)
    holder.task.cancel()
    await steps()
    assert (pool.stats().closing, pool.stats().creating, pool.stats().total) == (1, 0, 1)
    await steps(40)
    assert queued.conn is strategy.created[1]
    await queued.leave()


async def test_discarded_connection_wakes_the_next(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """A connection that comes back dead is not handed over; one is made in its place."""
    pool = make_pool()
    holder, queued = await callers(pool, 2)
    strategy.created[0].dead = True
    await holder.leave()
    await steps()
    assert queued.conn is strategy.created[1]
    await queued.leave()


async def test_larger_limit_wakes_the_next(make_pool: MakePool) -> None:
    """Room made by hand is room."""
    pool = make_pool()
    holder, first, second = await callers(pool, 3)
    pool.max_size = 2
    await steps()
    assert first.conn
    assert second.waits
    pool.burst_limit = 3
    await steps()
    assert second.conn
    await leave_all(holder, first, second)
