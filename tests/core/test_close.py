"""Rule 10: closing the pool."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from instrumented_pool import ConnectionPool, CreateFailed, PoolClosedError, PoolTimeoutError
from instrumented_pool.testing import FakeConnection, FakeStrategy, RecordingObserver
from support.callers import Caller, callers
from support.fakes import MakePool
from support.virtual import CLOCK, START, steps


async def test_closed_pool_refuses_callers(make_pool: MakePool) -> None:
    """By name."""
    pool = make_pool(name="orders")
    await pool.close()
    with pytest.raises(PoolClosedError, match="pool 'orders' is closed"):
        await pool.get_connection().__aenter__()
    with pytest.raises(PoolClosedError):
        await pool.open()
    assert pool.stats().failed["pool_closed"] == 1


async def test_queued_callers_are_woken_with_pool_closed_error(make_pool: MakePool) -> None:
    """They do not wait for what will never come."""
    pool = make_pool()
    holder, *queued = await callers(pool, 3)
    closing = asyncio.ensure_future(pool.close())
    for caller in queued:
        assert isinstance(await caller.error(), PoolClosedError)
    await holder.leave()
    await closing


async def test_idle_connections_are_closed(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """All of them, once."""
    pool = make_pool(max_size=3)
    async with pool.get_connection(), pool.get_connection(), pool.get_connection():
        pass
    await pool.close()
    assert len(strategy.closed) == 3
    assert pool.stats().closed["pool_closed"] == 3


async def test_close_waits_for_what_is_lent(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """The body ends in peace; then its connection is closed."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    closing = asyncio.ensure_future(pool.close())
    await steps()
    assert not closing.done()
    await holder.leave()
    await closing
    assert strategy.closed == [holder.conn]
    assert await holder.error() is None


async def test_deadline_passed_names_who_still_holds(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """The pool is closed all the same, and what comes back late is closed as it comes."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    holder.task.set_name("the-forgetful")
    with pytest.raises(PoolTimeoutError, match=r"came back within 3\.000 s of close") as caught:
        await pool.close(timeout=3.0)
    assert [name.task for name in caught.value.holders] == ["the-forgetful"]
    assert "the-forgetful has held connection 1" in str(caught.value)
    assert CLOCK.now() - START == 3.0
    await holder.leave()
    assert strategy.closed == [holder.conn]
    await pool.close()


async def test_creation_under_way_is_cancelled(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver
) -> None:
    """Nobody will use what it makes."""
    strategy.gate.clear()
    pool = make_pool(observers=[recorder])
    (caller,) = await callers(pool, 1)
    await pool.close()
    assert isinstance(await caller.error(), PoolClosedError)
    assert isinstance(recorder.one(CreateFailed).error, asyncio.CancelledError)


async def test_creation_that_swallows_its_cancellation_is_closed_on_arrival(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """`close()` waits for it."""
    pool = make_pool()
    create = strategy.create_connection

    async def stubborn() -> object:
        try:
            await asyncio.sleep(1.0)
        except asyncio.CancelledError:
            await asyncio.sleep(1.0)
        return await create()

    strategy.create_connection = stubborn  # type: ignore[method-assign,assignment]  # a driver that swallows cancellations
    await callers(pool, 1)
    await pool.close()
    assert strategy.closed == strategy.created
    assert len(strategy.closed) == 1


async def test_closing_again_is_harmless(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """G6: the second time changes nothing and tells nothing."""
    pool = make_pool(observers=[recorder])
    async with pool.get_connection():
        pass
    await pool.close()
    told = len(recorder.events)
    await pool.close()
    assert len(recorder.events) == told


async def test_two_may_close_at_once(make_pool: MakePool) -> None:
    """Both wait."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    both = [asyncio.ensure_future(pool.close()) for _ in range(2)]
    await steps()
    assert not any(closing.done() for closing in both)
    await holder.leave()
    await asyncio.gather(*both)


async def test_cancelled_close_can_be_repeated(make_pool: MakePool) -> None:
    """What it has begun goes on, and a second call waits for the rest."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    closing = asyncio.ensure_future(pool.close())
    await steps()
    closing.cancel()
    await steps()
    assert closing.cancelled()
    await holder.leave()
    await pool.close()
    assert pool.stats().total == 0


async def test_error_while_closing_idle_connections_does_not_stop_the_close(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """The others are closed, and the error is counted."""
    pool = make_pool(max_size=3)
    async with pool.get_connection(), pool.get_connection(), pool.get_connection():
        pass
    strategy.close_errors.append(OSError("broken pipe"))
    await pool.close()
    assert pool.stats().close_errors == 1
    assert len(strategy.closed) == 2


async def test_pool_as_a_context_manager_is_opened_and_closed(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """With `min_size` connections in between."""
    async with make_pool(max_size=2, min_size=2) as pool:
        assert pool.stats().idle == 2
    assert len(strategy.closed) == 2


async def test_context_manager_never_masks_the_bodys_exception(make_pool: MakePool) -> None:
    """That not everything came back in time is a note on it."""
    held: list[Caller] = []

    async def body() -> None:
        async with make_pool() as pool:
            held.extend(await callers(pool, 1))
            raise ValueError("of the application")

    with pytest.raises(ValueError, match="of the application") as caught:
        await body()
    assert "not all connections came back" in caught.value.__notes__[0]
    await held[0].leave()


async def test_context_manager_that_cannot_open_leaves_nothing_behind(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """One connection was made, the other was not."""
    strategy.create_errors += [None, OSError("refused")]
    pool = make_pool(max_size=2, min_size=2)
    with pytest.raises(Exception, match=r"opened . of min_size=2 connections: OSError: refused"):
        await pool.__aenter__()
    assert pool.stats().total == 0


async def test_pool_never_used_can_be_closed(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """And nothing is made for it."""
    pool = make_pool(observers=[recorder])
    await pool.close()
    assert pool.stats().total == 0


async def test_close_from_its_own_borrower_ends_at_its_deadline(make_pool: MakePool) -> None:
    """A task that waits for itself is told so by name."""
    pool = make_pool()
    async with pool.get_connection():
        with pytest.raises(PoolTimeoutError, match="test_close_from_its_own_borrower"):
            await pool.close(timeout=1.0)


async def abandon(**options: Any) -> "weakref.ref[ConnectionPool[FakeConnection]]":
    """Build a pool, use it, and forget it."""
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, **options)
    async with pool.get_connection():
        pass
    await steps()
    return weakref.ref(pool)


@pytest.mark.parametrize("options", [{}, {"idle_timeout": 60.0}, {"max_lifetime": 60.0}, {"leak_after": 60.0}])
async def test_abandoned_pool_is_collected(options: dict[str, float]) -> None:
    """No timer and no task of ours keeps it alive; its `__del__` warns and does nothing else."""
    with pytest.warns(ResourceWarning, match="was never closed"):
        reference = await abandon(**options)
    gc.collect()
    assert reference() is None
    await asyncio.sleep(200)


async def test_timer_of_a_queue_that_is_gone_does_not_keep_the_pool_alive() -> None:
    """A deadline of an hour is no reason to live for an hour."""
    with pytest.warns(ResourceWarning, match="was never closed"):
        reference = await abandon(acquire_timeout=3600)
    gc.collect()
    assert reference() is None


async def test_closed_pool_is_collected_without_a_warning(strategy: FakeStrategy) -> None:
    """There is nothing to warn of."""
    pool = ConnectionPool(strategy=strategy, max_size=1)
    async with pool.get_connection():
        pass
    await pool.close()
    reference = weakref.ref(pool)
    await steps()
    del pool
    gc.collect()
    assert reference() is None
