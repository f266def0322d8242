"""The pool under what asyncio offers: time-outs, groups, generators, shutdown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from instrumented_pool import PoolError, PoolTimeoutError
from instrumented_pool.testing import FakeConnection, FakeStrategy
from support.callers import callers, leave_all
from support.fakes import MakePool
from support.virtual import steps
from support.whole import assert_whole


async def test_task_group_that_fails_gives_every_connection_back(make_pool: MakePool) -> None:
    """Its other tasks are cancelled, in the queue and in their bodies."""
    pool = make_pool(max_size=2)

    async def work(number: int) -> None:
        async with pool.get_connection():
            await asyncio.sleep(number)
            raise ValueError(number)

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(1, 6):
                tasks.create_task(work(number))

    with pytest.raises(ExceptionGroup):
        await group()
    await steps()
    assert (pool.stats().in_use, pool.stats().waiting) == (0, 0)


async def test_time_out_within_the_body_closes_the_connection(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """`asyncio.timeout` cancels the body in the middle of a command."""
    pool = make_pool()

    async def query() -> None:
        async with asyncio.timeout(1.0), pool.get_connection():
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await query()
    assert len(strategy.closed) == 1


async def test_time_out_caught_within_the_body_keeps_the_connection(make_pool: MakePool) -> None:
    """Whoever handles it inside knows what state the connection is in."""
    pool = make_pool()

    async def query() -> None:
        async with asyncio.timeout(1.0):
            await asyncio.sleep(10)

    async with pool.get_connection():
        with pytest.raises(TimeoutError):
            await query()
    assert pool.stats().idle == 1


async def test_two_time_outs_at_one_moment_end_the_wait_once(make_pool: MakePool) -> None:
    """The pool's own and asyncio's: one of them is raised, and nothing is lost."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)

    async def ask() -> None:
        async with asyncio.timeout(1.0), pool.get_connection(timeout=1.0):
            pass

    with pytest.raises(TimeoutError):
        await ask()
    assert sum(pool.stats().failed.values()) == 1
    await holder.leave()
    assert pool.stats().idle == 1


async def test_hand_off_at_the_moment_of_the_time_out_loses_nothing(make_pool: MakePool) -> None:
    """Whichever comes first, the connection has one owner."""
    pool = make_pool()
    for early in (True, False):
        (holder,) = await callers(pool, 1)
        loop = asyncio.get_running_loop()
        if early:
            loop.call_later(1.0, holder.let_go)
        (caller,) = await callers(pool, 1, timeout=1.0)
        if not early:
            loop.call_later(1.0, holder.let_go)
        await asyncio.sleep(2.0)
        await leave_all(caller)
        error = None if caller.task.exception() is None else type(caller.task.exception())
        assert (caller.conn is None) == (error is PoolTimeoutError)
        assert_whole(pool)
        assert pool.stats().idle == 1


async def test_lease_within_an_async_context_manager_of_the_callers(make_pool: MakePool) -> None:
    """As dependency injection does it."""
    pool = make_pool()

    @asynccontextmanager
    async def connection() -> AsyncIterator[FakeConnection]:
        async with pool.get_connection() as conn:
            yield conn

    async with connection() as conn:
        assert conn.number == 1
    assert pool.stats().idle == 1


async def test_shutdown_that_cancels_every_task_leaves_the_pool_usable(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """The pool's own tasks included, as `asyncio.run` does it at its end."""
    strategy.create_steps = strategy.close_steps = 5
    pool = make_pool(max_size=2, burst_limit=3)
    made = await callers(pool, 5)
    await steps(3)
    me = asyncio.current_task()
    for task in asyncio.all_tasks():
        if task is not me:
            task.cancel()
    for caller in made:
        assert isinstance(await caller.error(), asyncio.CancelledError | PoolError)
    await steps(30)
    assert_whole(pool)
    assert (pool.stats().in_use, pool.stats().waiting, pool.stats().creating) == (0, 0, 0)
