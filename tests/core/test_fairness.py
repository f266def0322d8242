"""Rule 2: first in, first out, and a freed connection is handed over directly."""

import asyncio

from instrumented_pool import Observer
from instrumented_pool.testing import FakeConnection
from support.callers import callers, leave_all
from support.fakes import MakePool
from support.virtual import steps


async def test_callers_are_served_in_the_order_of_their_asking(make_pool: MakePool) -> None:
    """However many queue, each return serves the one who has waited longest."""
    pool = make_pool()
    holder, *queue = await callers(pool, 5)
    order = []
    for caller in [holder, *queue]:
        assert [c for c in queue if c.conn and not c.task.done()] == ([] if caller is holder else [caller])
        order.append(caller.conn)
        await caller.leave()
        await steps()
    assert len(order) == 5
    assert all(conn is order[0] for conn in order)


async def test_newcomer_never_overtakes_a_caller_that_was_just_woken(make_pool: MakePool) -> None:
    """Between the return and the step in which the woken caller runs, the connection is his already."""
    pool = make_pool()
    holder, first = await callers(pool, 2)
    overtook: list[FakeConnection] = []

    async def newcomer() -> None:
        async with pool.get_connection() as conn:
            overtook.append(conn)
            assert first.task.done()

    holder.let_go()
    late = asyncio.ensure_future(newcomer())  # asks right after the return, before the woken caller could run
    await steps()
    assert first.conn is not None
    assert not overtook
    await first.leave()
    await late
    assert overtook


async def test_one_who_asks_again_and_again_does_not_starve_the_others(make_pool: MakePool) -> None:
    """Eight tasks that borrow in a tight loop get the same share, give or take one."""
    pool = make_pool(max_size=2)
    served = [0] * 8
    tasks: list[asyncio.Task[None]] = []

    async def greedy(me: int) -> None:
        while sum(served) < 800:
            async with pool.get_connection():
                served[me] += 1
                await asyncio.sleep(0)

    tasks = [asyncio.ensure_future(greedy(me)) for me in range(8)]
    await asyncio.wait(tasks)
    assert max(served) - min(served) <= 1


async def test_caller_cancelled_as_it_is_woken_passes_its_connection_on(make_pool: MakePool) -> None:
    """The connection was his already; the next in the queue gets it, and it is no other one."""
    pool = make_pool()
    holder, first, second = await callers(pool, 3)
    conn = holder.conn
    holder.let_go()
    await asyncio.sleep(0)
    while pool.holders()[0].acquire_id != 2:
        await asyncio.sleep(0)
    assert first.conn is None
    first.task.cancel()
    await steps()
    assert second.conn is conn
    await leave_all(first, second)


async def test_last_caller_cancelled_as_it_is_woken_leaves_the_connection_idle(make_pool: MakePool) -> None:
    """Nobody queues behind it, and nothing of the connection was used."""
    pool = make_pool()
    holder, first = await callers(pool, 2)
    holder.let_go()
    while pool.holders()[0].acquire_id != 2:
        await asyncio.sleep(0)
    await first.cancel()
    assert (pool.stats().idle, pool.stats().closed["dirty"]) == (1, 0)


async def test_cancelled_waiter_does_not_lose_its_turn_to_nobody(make_pool: MakePool) -> None:
    """One in the middle of the queue goes away; the others move up."""
    pool = make_pool()
    holder, first, second, third = await callers(pool, 4)
    await second.cancel()
    assert pool.stats().waiting == 2
    await holder.leave()
    await steps()
    await first.leave()
    await steps()
    assert third.conn is not None
    await third.leave()


async def test_caller_cancelled_in_the_step_of_the_return_is_passed_over(make_pool: MakePool) -> None:
    """Cancelled before the connection came back and not yet run since: it is no longer in the queue."""
    pool = make_pool()
    holder, first, second = await callers(pool, 3)
    owners: list[int] = []
    watching = Observer()
    watching.on_released = lambda event: owners.append(pool.holders()[0].acquire_id)  # type: ignore[method-assign]
    pool.add_observer(watching)
    holder.let_go()
    first.task.cancel()
    await steps()
    assert first.task.cancelled()
    assert owners == [3]
    assert second.conn is not None
    await second.leave()
