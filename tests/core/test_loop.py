"""Rule 11: a pool belongs to the event loop of its first use."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from instrumented_pool import ConnectionPool, PoolLoopError, PoolOpened, PoolStats
from instrumented_pool.testing import FakeConnection, FakeStrategy, RecordingObserver
from support.callers import callers
from support.fakes import MakePool
from support.virtual import VirtualLoop, steps


def in_a_thread(coroutine: Coroutine[Any, Any, None]) -> BaseException | None:
    """What `coroutine` raises on a loop of its own in a thread, while this thread is blocked."""
    raised: list[BaseException] = []

    def target() -> None:
        try:
            asyncio.run(coroutine)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def counts(stats: PoolStats) -> tuple[object, ...]:
    """What must not have changed."""
    return (stats.acquires, stats.acquired, stats.failed, stats.total, stats.idle, stats.in_use, stats.waiting)


def test_pool_is_built_without_a_loop() -> None:
    """As a module's global."""
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    pool.max_size = 2
    assert pool.stats().total == 0
    assert pool.holders() == ()


def test_pool_is_refused_outside_of_any_loop() -> None:
    """In plain words."""
    lease = ConnectionPool(strategy=FakeStrategy(), max_size=1, name="orders").get_connection()
    with pytest.raises(PoolLoopError, match="pool 'orders' is used from outside any event loop"):
        lease.__aenter__().send(None)


async def test_first_use_binds_the_pool_and_says_so(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """Once."""
    pool = make_pool(observers=[recorder])
    assert not recorder.events
    async with pool.get_connection():
        assert len(recorder.of(PoolOpened)) == 1
    await pool.open()
    assert len(recorder.of(PoolOpened)) == 1


def test_second_run_of_asyncio_is_told_that_the_pool_belongs_to_the_first() -> None:
    """Each `asyncio.run` has a loop of its own."""
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1, name="orders")

    async def borrow() -> None:
        async with pool.get_connection():
            pass

    asyncio.run(borrow())
    before = counts(pool.stats())
    with pytest.raises(PoolLoopError, match=r"pool 'orders' was first used on .*Build one pool per event loop"):
        asyncio.run(borrow())
    assert counts(pool.stats()) == before
    pool._closed = True  # its loop is gone, so nobody can close it any more: no warning is wanted here


@pytest.mark.parametrize("state", ["idle", "lent", "unobserved"])
async def test_other_loop_in_another_thread_is_refused_before_anything_changes(
    make_pool: MakePool, recorder: RecordingObserver, state: str
) -> None:
    """Even while a task of the first loop is the one that is blocked, so that it looks as if it were running."""
    pool = make_pool(observers=[] if state == "unobserved" else [recorder])
    lease = pool.get_connection()
    await lease.__aenter__()
    if state != "lent":
        await lease.__aexit__(None, None, None)
    before, told = counts(pool.stats()), len(recorder.events)

    async def borrow() -> None:
        async with pool.get_connection():
            pass

    assert isinstance(in_a_thread(borrow()), PoolLoopError)
    assert isinstance(in_a_thread(pool.open()), PoolLoopError)
    assert isinstance(in_a_thread(pool.close()), PoolLoopError)
    assert (counts(pool.stats()), len(recorder.events)) == (before, told)
    if state == "lent":
        await lease.__aexit__(None, None, None)


async def test_clear_and_limits_are_refused_from_another_thread(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """They close connections, which belong to the loop."""
    pool = make_pool(max_size=2)
    async with pool.get_connection():
        pass

    async def clear() -> None:
        pool.clear()

    async def resize() -> None:
        pool.max_size = 1

    assert isinstance(in_a_thread(clear()), PoolLoopError)
    assert isinstance(in_a_thread(resize()), PoolLoopError)
    assert pool.max_size == 2
    assert not strategy.closed


async def test_stats_and_holders_may_be_read_from_another_thread(make_pool: MakePool) -> None:
    """As an exporter does that collects in one of its own."""
    pool = make_pool()
    read: list[object] = []
    async with pool.get_connection():
        thread = threading.Thread(target=lambda: read.extend([pool.stats().in_use, len(pool.holders())]))
        thread.start()
        thread.join()
    assert read == [1, 1]


def destroy(main: Coroutine[Any, Any, None], order: int) -> list[str]:
    """Run `main`, close the loop over what it left behind, and destroy that; what asyncio complained of.

    Any `BaseException` but GeneratorExit that comes out of a coroutine fails the test.
    """
    loop = VirtualLoop()
    loop.set_exception_handler(loop.complain)
    loop.run_until_complete(main)
    left = sorted(asyncio.all_tasks(loop), key=lambda task: int(task.get_name().rpartition("-")[2].rpartition(" ")[2]))
    loop.close()
    for task in left[::order]:
        coroutine = task.get_coro()
        assert coroutine is not None
        coroutine.close()
    return [complaint for complaint in loop.complaints if "Task was destroyed" not in complaint]


IN_EITHER_ORDER = pytest.mark.parametrize("order", [1, -1])


@IN_EITHER_ORDER
@pytest.mark.parametrize("close_steps", [None, 2])
def test_body_destroyed_after_its_loop_was_closed_gives_its_connection_up(order: int, close_steps: int | None) -> None:
    """And raises nothing, whoever queued behind it and in whatever order all of that is collected."""
    strategy = FakeStrategy(close_steps=close_steps)
    pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=2)

    async def main() -> None:
        await callers(pool, 4)

    assert not destroy(main(), order)
    assert (pool.stats().total, pool.stats().waiting) == (0, 0)
    assert strategy.calls["close_connection"] == 2


@IN_EITHER_ORDER
@pytest.mark.parametrize("min_size", [0, 2])
def test_creation_destroyed_after_its_loop_was_closed_frees_its_slot(order: int, min_size: int) -> None:
    """Whether callers wait for it or `open()` does."""
    strategy = FakeStrategy()
    strategy.gate.clear()
    pool = ConnectionPool(strategy=strategy, max_size=2, min_size=min_size)

    async def main() -> None:
        opening.append(asyncio.ensure_future(pool.open()))
        await callers(pool, 2)

    opening: list[asyncio.Task[None]] = []
    assert not destroy(main(), order)
    assert (pool.stats().total, pool.stats().waiting) == (0, 0)


@IN_EITHER_ORDER
def test_body_destroyed_under_a_close_that_waits_for_it_raises_nothing(order: int) -> None:
    """Nobody is there any more to be told that the pool is empty."""
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)

    async def main() -> None:
        await callers(pool, 1)
        closing.append(asyncio.ensure_future(pool.close()))
        await steps()

    closing: list[asyncio.Task[None]] = []
    assert not destroy(main(), order)
    assert pool.stats().total == 0


@IN_EITHER_ORDER
def test_opening_destroyed_after_its_loop_was_closed_awaits_nothing(order: int) -> None:
    """`async with pool` must not begin to close when there is no loop any more to close on."""
    strategy = FakeStrategy()
    strategy.gate.clear()
    pool = ConnectionPool(strategy=strategy, max_size=1, min_size=1)

    async def main() -> None:
        opening.append(asyncio.ensure_future(pool.__aenter__()))
        await steps()

    opening: list[asyncio.Task[Any]] = []
    assert not destroy(main(), order)
    assert pool.stats().total == 0


async def test_async_generator_collected_while_the_loop_runs_gives_its_connection_up(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """The loop's hook closes it."""
    pool = make_pool()

    async def rows() -> AsyncIterator[FakeConnection]:
        async with pool.get_connection() as conn:
            yield conn
            yield conn

    async for _ in rows():
        break
    gc.collect()
    await steps()
    assert pool.stats().total == 0
    assert len(strategy.closed) == 1
