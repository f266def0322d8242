"""Rule 3: the pool grows only while callers queue, up to `max_size`, then up to `burst_limit`."""

import asyncio

import pytest

from instrumented_pool import AcquireQueued, CreateStarted, PoolQueueFullError
from instrumented_pool.testing import FakeStrategy, RecordingObserver
from support.callers import Caller, callers, leave_all
from support.fakes import MakePool
from support.virtual import steps


async def test_one_caller_after_the_other_shares_one_connection(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """What is idle is used before anything is made."""
    pool = make_pool(max_size=5)
    for _ in range(10):
        async with pool.get_connection():
            await asyncio.sleep(0)
    assert len(strategy.created) == 1


async def test_pool_grows_to_max_size_and_then_as_burst_to_the_limit(
    make_pool: MakePool, recorder: RecordingObserver
) -> None:
    """Those above `max_size` are made as burst connections."""
    pool = make_pool(max_size=2, burst_limit=4, observers=[recorder])
    made = await callers(pool, 6)
    assert [event.burst for event in recorder.of(CreateStarted)] == [False, False, True, True]
    assert (pool.stats().in_use, pool.stats().waiting) == (4, 2)
    await leave_all(*made)


async def test_without_a_burst_limit_max_size_is_the_hard_one(make_pool: MakePool) -> None:
    """Nothing is made above it, however many queue."""
    pool = make_pool(max_size=2)
    made = await callers(pool, 6)
    assert pool.stats().total == pool.stats().limit == 2
    await leave_all(*made)


async def test_at_most_max_connecting_connections_are_made_at_a_time(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """The next creation begins when one ends."""
    strategy.gate.clear()
    pool = make_pool(max_size=5, max_connecting=2)
    made = await callers(pool, 5)
    assert (pool.stats().creating, strategy.calls["create_connection"]) == (2, 2)
    strategy.gate.set()
    await steps()
    assert all(caller.conn for caller in made)
    assert len(strategy.created) == 5
    await leave_all(*made)


async def test_caller_takes_a_returned_connection_while_its_own_is_being_made(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """Whatever comes first; the new one goes idle when it comes."""
    pool = make_pool(max_size=2)
    (holder,) = await callers(pool, 1)
    strategy.gate.clear()
    (asker,) = await callers(pool, 1)
    assert pool.stats().creating == 1
    await holder.leave()
    await steps()
    assert asker.conn is strategy.created[0]
    strategy.gate.set()
    await steps()
    assert pool.stats().idle == 1
    await asker.leave()


async def test_creation_whose_caller_was_served_goes_to_the_next_in_the_queue(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """No second connection is made for that one as long as this one is on its way."""
    pool = make_pool(max_size=2)
    (holder,) = await callers(pool, 1)
    strategy.gate.clear()
    asker, late = await callers(pool, 2)
    await holder.leave()
    await steps()
    assert asker.conn
    assert late.waits
    strategy.gate.set()
    await steps()
    assert late.conn is strategy.created[1]
    await leave_all(asker, late)


async def test_no_more_connections_are_made_than_callers_queue(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """A caller whose creation outlived it leaves that creation to the next."""
    strategy.gate.clear()
    pool = make_pool(max_size=9)
    (first,) = await callers(pool, 1)
    await first.cancel()
    (second,) = await callers(pool, 1)
    assert strategy.calls["create_connection"] == 1
    strategy.gate.set()
    await second.leave()


async def test_limit_holds_under_a_crowd(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """A hundred tasks on five connections: never a sixth."""
    strategy.create_steps = 2
    pool = make_pool(max_size=3, burst_limit=5)
    most = 0

    async def borrow() -> None:
        nonlocal most
        async with pool.get_connection():
            most = max(most, pool.stats().in_use)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(borrow() for _ in range(100)))
    assert most == 5
    assert pool.stats().total <= 3


async def test_queued_event_says_whether_a_connection_is_being_made(
    make_pool: MakePool, recorder: RecordingObserver
) -> None:
    """`creating` is what tells a wait for a connection of one's own from a wait for another's."""
    pool = make_pool(max_size=1, observers=[recorder])
    made = await callers(pool, 2)
    assert [(e.waiting, e.creating) for e in recorder.of(AcquireQueued)] == [(1, True), (2, False)]
    await leave_all(*made)


@pytest.mark.parametrize("allowed", [0, 2])
async def test_caller_beyond_max_waiting_is_refused_at_once(make_pool: MakePool, allowed: int) -> None:
    """It learns it without waiting, with the numbers, and the queue is as before."""
    pool = make_pool(name="orders", max_waiting=allowed)
    made = await callers(pool, 1 + allowed)
    with pytest.raises(PoolQueueFullError, match=f"pool 'orders': max_waiting={allowed} callers .*waiting={allowed}"):
        await pool.get_connection().__aenter__()
    assert pool.stats().failed["queue_full"] == 1
    assert pool.stats().waiting == allowed
    await leave_all(*made)


async def test_callers_for_whom_a_connection_is_made_do_not_count_as_waiting(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """With `max_waiting=0` every place in the pool can still be asked for at once."""
    strategy.gate.clear()
    pool = make_pool(max_size=3, max_waiting=0)
    made = await callers(pool, 3)
    assert all(caller.waits for caller in made)
    assert isinstance(await Caller(pool).error(), PoolQueueFullError)
    strategy.gate.set()
    await steps()
    await leave_all(*made)
