"""The real look at connections that have lain idle for long: in the background, and no acquire waits for it."""

import asyncio
from typing import Any
from unittest.mock import patch

import pytest

from instrumented_pool import Acquired, Closed, _pool
from instrumented_pool.testing import RecordingObserver
from support.callers import callers, leave_all
from support.fakes import CarefulStrategy, MakePool
from support.virtual import CLOCK, steps


@pytest.fixture
def strategy() -> CarefulStrategy:
    """Looks at what has been idle for ten seconds."""
    strategy = CarefulStrategy(check_after=10.0)
    strategy.left_behind = False
    return strategy


async def test_connection_is_looked_at_each_time_it_has_been_idle_for_so_long(
    make_pool: MakePool, strategy: CarefulStrategy
) -> None:
    """Again and again, counted from its return or the last look."""
    pool = make_pool()
    async with pool.get_connection() as conn:
        await asyncio.sleep(7)
    await asyncio.sleep(9.5)
    assert strategy.looked_at == []
    await asyncio.sleep(1)
    assert strategy.looked_at == [conn]
    await asyncio.sleep(30)
    assert strategy.looked_at == [conn] * 4
    assert pool.stats().idle == 1


async def test_connection_in_use_is_not_looked_at(make_pool: MakePool, strategy: CarefulStrategy) -> None:
    """It is its borrower's."""
    pool = make_pool()
    async with pool.get_connection():
        await asyncio.sleep(100)
    assert strategy.looked_at == []


async def test_connection_that_does_not_answer_is_replaced(
    make_pool: MakePool, strategy: CarefulStrategy, recorder: RecordingObserver
) -> None:
    """Closed as stale, before anybody is given it."""
    pool = make_pool(min_size=1, observers=[recorder])
    await pool.open()
    strategy.gone.add(strategy.created[0])
    await asyncio.sleep(11)
    assert strategy.closed == strategy.created[:1]
    assert recorder.one(Closed).reason == "stale"
    async with pool.get_connection() as conn:
        assert conn is strategy.created[1]


async def test_look_that_hangs_is_given_up(make_pool: MakePool, strategy: CarefulStrategy) -> None:
    """After `close_timeout`, as a server that was stopped makes it hang."""
    pool = make_pool(close_timeout=2.0)
    await leave_all(*await callers(pool, 1))
    strategy.check_gate.clear()
    await asyncio.sleep(11)
    assert (pool.stats().in_use, strategy.closed) == (1, [])
    await asyncio.sleep(2)
    assert strategy.closed == strategy.created


async def test_caller_that_comes_during_a_look_has_the_connection_after_it(
    make_pool: MakePool, strategy: CarefulStrategy, recorder: RecordingObserver
) -> None:
    """It queues, for the pool is full; as it would for anybody else's use."""
    pool = make_pool(observers=[recorder])
    await leave_all(*await callers(pool, 1))
    strategy.check_gate.clear()
    await asyncio.sleep(10.5)
    (caller,) = await callers(pool, 1)
    assert caller.waits
    strategy.check_gate.set()
    await steps()
    assert caller.conn is strategy.created[0]
    assert recorder.of(Acquired)[-1].source == "idle"
    await caller.leave()


async def test_acquire_never_waits_for_a_look_that_is_due(make_pool: MakePool, strategy: CarefulStrategy) -> None:
    """Rule 1: with a connection idle, entering does not yield, even if the loop was too busy for the timer."""
    pool = make_pool()
    await leave_all(*await callers(pool, 1))
    CLOCK.seconds += 60
    lease = pool.get_connection()
    with pytest.raises(StopIteration):
        lease.__aenter__().send(None)
    await lease.__aexit__(None, None, None)
    assert strategy.looked_at == []


async def test_callers_find_connections_while_others_are_looked_at(
    make_pool: MakePool, strategy: CarefulStrategy
) -> None:
    """Half of what is idle is looked at, and then the other half: nobody dials for what will be back in a moment."""
    pool = make_pool(max_size=6, burst_limit=12)
    await leave_all(*await callers(pool, 6))
    strategy.check_gate.clear()
    await asyncio.sleep(10.5)
    assert strategy.looked_at == strategy.created[:3]
    (caller,) = await callers(pool, 1)
    assert caller.conn is strategy.created[5]
    strategy.check_gate.set()
    await asyncio.sleep(0.01)
    assert strategy.looked_at == strategy.created[:5]
    await caller.leave()
    assert len(strategy.created) == 6


async def test_look_does_not_make_a_connection_any_younger(make_pool: MakePool, strategy: CarefulStrategy) -> None:
    """`idle_timeout` counts from its return, and the one used last is lent first, as before."""
    pool = make_pool(max_size=3, idle_timeout=25.0)
    await leave_all(*await callers(pool, 2))
    async with pool.get_connection() as used_last:
        await asyncio.sleep(1)
    await asyncio.sleep(11)
    assert len(strategy.looked_at) == 2
    async with pool.get_connection() as conn:
        assert conn is used_last
        await asyncio.sleep(14)
    assert len(strategy.closed) == 1


async def test_closing_pool_does_not_wait_for_a_look(make_pool: MakePool, strategy: CarefulStrategy) -> None:
    """It is cancelled, and its connection closed."""
    pool = make_pool(close_timeout=60.0)
    await leave_all(*await callers(pool, 1))
    strategy.check_gate.clear()
    await asyncio.sleep(11)
    await pool.close(timeout=0.1)
    assert strategy.closed == strategy.created


async def test_cleared_pool_closes_what_is_looked_at_when_that_is_over(
    make_pool: MakePool, strategy: CarefulStrategy, recorder: RecordingObserver
) -> None:
    """As what is lent."""
    pool = make_pool(observers=[recorder])
    await leave_all(*await callers(pool, 1))
    strategy.check_gate.clear()
    await asyncio.sleep(11)
    pool.clear()
    assert strategy.closed == []
    strategy.check_gate.set()
    await steps()
    assert recorder.one(Closed).reason == "cleared"


async def test_without_check_after_there_is_no_timer(make_pool: MakePool, strategy: CarefulStrategy) -> None:
    """It exists only while it is needed."""
    strategy.check_after = None
    pool = make_pool(acquire_timeout=None)
    await leave_all(*await callers(pool, 1))
    assert pool._timer is None


@pytest.mark.parametrize("options", [{}, {"idle_timeout": 12.0}, {"max_lifetime": 12.0}], ids=str)
async def test_timer_does_not_spin_while_a_look_hangs(
    make_pool: MakePool, strategy: CarefulStrategy, options: dict[str, Any]
) -> None:
    """The connection's times may pass meanwhile; nothing can be done about them before the look is over."""
    pool = make_pool(close_timeout=60.0, **options)
    await leave_all(*await callers(pool, 1))
    strategy.check_gate.clear()
    await asyncio.sleep(10.5)
    with patch.object(_pool, "_tick") as tick:
        pool._on_time()
        await asyncio.sleep(40)
    assert not tick.called
    strategy.check_gate.set()


@pytest.mark.parametrize(
    ("options", "reason"), [({"idle_timeout": 12.0}, "idle"), ({"max_lifetime": 12.0}, "lifetime")], ids=str
)
async def test_connection_whose_time_passes_during_a_look_is_closed_after_it(
    make_pool: MakePool,
    strategy: CarefulStrategy,
    recorder: RecordingObserver,
    options: dict[str, Any],
    reason: str,
) -> None:
    """At once, although nothing else happens."""
    pool = make_pool(close_timeout=60.0, observers=[recorder], **options)
    await leave_all(*await callers(pool, 1))
    strategy.check_gate.clear()
    await asyncio.sleep(15)
    assert recorder.of(Closed) == []
    strategy.check_gate.set()
    await asyncio.sleep(0.001)
    assert recorder.one(Closed).reason == reason
