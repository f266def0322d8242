"""The faults of asyncio-connection-pool 1.1.1, each reproduced there: this pool has none of them.

Its Datadog class has two more, a timer that nothing ends and a statsd client that fails the user's request; the tests
of our exporter are about those.
"""

import asyncio
import random
import sys
from types import FrameType
from typing import Any

from instrumented_pool import ConnectionPool, PoolError, PoolTimeoutError
from instrumented_pool.testing import FakeStrategy
from support.callers import Caller, callers, leave_all
from support.fakes import MakePool
from support.virtual import steps


async def test_ordinary_time_outs_kill_no_slots(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """There, time-outs of 1 to 20 ms killed each of 20 slots within some 8,000 requests."""
    chance = random.Random(1)
    create = strategy.create_connection

    async def slow() -> Any:
        await asyncio.sleep(chance.uniform(0.001, 0.02))
        return await create()

    strategy.create_connection = slow  # type: ignore[method-assign]  # as a network is
    pool = make_pool(max_size=10, burst_limit=20)

    async def request() -> None:
        try:
            async with asyncio.timeout(chance.uniform(0.001, 0.02)), pool.get_connection():
                await asyncio.sleep(chance.uniform(0.0, 0.02))
        except TimeoutError:
            pass

    for _ in range(80):
        await asyncio.gather(*(request() for _ in range(100)))
    made = [Caller(pool) for _ in range(20)]
    await asyncio.sleep(1)
    assert all(caller.conn for caller in made)
    await leave_all(*made)


async def test_nobody_hangs_on_an_empty_pool_after_a_failed_creation(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """There, those who waited behind the failure waited for ever."""
    strategy.create_errors.append(OSError("refused"))
    pool = make_pool(acquire_timeout=None)
    first, second = await callers(pool, 2)
    assert isinstance(await first.error(), OSError)
    assert second.conn
    await second.leave()


async def test_raising_check_is_not_raised_to_the_caller(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """There it was, against the README."""
    pool = make_pool()
    async with pool.get_connection():
        pass
    strategy.check_errors.append(RuntimeError("cannot tell"))
    async with pool.get_connection() as conn:
        assert conn.number == 2


async def test_close_error_does_not_hide_the_bodys_exception(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """There, the caller learned of a broken pipe in place of its own error."""
    pool = make_pool(burst_limit=2)
    first, second = await callers(pool, 2)
    strategy.close_errors.append(OSError("broken pipe"))
    await second.leave(KeyError("of the application"))
    assert isinstance(await second.error(), KeyError)
    await first.leave()


async def test_nobody_barges(make_pool: MakePool) -> None:
    """There, one task acquired 1,303 times while another was never served."""
    pool = make_pool()
    served = 0
    (holder,) = await callers(pool, 1)
    (patient,) = await callers(pool, 1)

    async def greedy() -> None:
        nonlocal served
        while not patient.conn:
            async with pool.get_connection():
                served += 1

    task = asyncio.ensure_future(greedy())
    await holder.leave()
    await steps()
    assert patient.conn
    assert served == 0
    await patient.leave()
    await task


async def test_burst_connections_are_not_closed_while_tasks_wait(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """There they were, to be made anew for those."""
    pool = make_pool(burst_limit=3)

    async def request() -> None:
        async with pool.get_connection():
            await asyncio.sleep(0.01)

    await asyncio.gather(*(request() for _ in range(30)))
    assert len(strategy.created) == 3


async def test_no_warm_connection_is_closed_under_callers_that_are_connecting(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """There, the one that came back was closed, and the caller had to wait for its own."""
    pool = make_pool(burst_limit=2)
    (holder,) = await callers(pool, 1)
    strategy.gate.clear()
    (connecting,) = await callers(pool, 1)
    await holder.leave()
    await steps()
    assert connecting.conn is holder.conn
    strategy.gate.set()
    await connecting.leave()


async def test_max_size_may_be_changed_at_run_time(make_pool: MakePool) -> None:
    """There it was read once."""
    pool = make_pool(max_size=1)
    made = await callers(pool, 2)
    pool.max_size = 2
    await steps()
    assert made[1].conn
    await leave_all(*made)
    assert pool.stats().idle == 2


async def test_no_connection_is_reused_in_the_middle_of_its_protocol(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """There, whoever came after a cancelled command read its reply."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    await holder.cancel()
    async with pool.get_connection() as conn:
        assert conn is not holder.conn


async def test_slow_server_is_connected_to_although_its_callers_give_up(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """There, creation died with its caller, again and again."""
    strategy.gate.clear()
    asyncio.get_running_loop().call_later(3.5, strategy.gate.set)
    pool = make_pool(acquire_timeout=1.0)
    errors = [await Caller(pool).error() for _ in range(3)]
    assert all(isinstance(error, PoolTimeoutError) for error in errors)
    async with pool.get_connection():
        assert strategy.calls["create_connection"] == 1


async def test_dead_connections_are_not_made_in_a_hot_loop(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """There, one acquire connected 10,630 times in half a second."""
    strategy.arrive_dead = 10**6
    assert isinstance(await Caller(make_pool(), timeout=0.5).error(), PoolError)
    assert len(strategy.created) < 10


def test_pool_may_be_built_before_its_loop() -> None:
    """There, the constructor captured whichever loop there was."""
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1)

    async def main() -> None:
        async with pool, pool.get_connection() as conn:
            assert conn.number == 1

    asyncio.run(main())


async def test_pool_can_be_closed(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """There was no way to."""
    pool = make_pool(max_size=2)
    await leave_all(*await callers(pool, 2))
    await pool.close()
    assert len(strategy.closed) == 2


async def test_waiters_are_not_counted_one_by_one(make_pool: MakePool) -> None:
    """There, each look at the queue went through all of it: here it takes as many steps for 500 as for 5."""
    pool = make_pool()

    def lines_run() -> int:
        count = 0

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal count
            count += 1
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            pool.stats()
        finally:
            sys.settrace(before)
        return count

    made = await callers(pool, 6)
    few = lines_run()
    made += await callers(pool, 495)
    assert pool.stats().waiting == 500
    assert lines_run() == few
    await leave_all(*made)


async def test_raising_observer_does_not_fail_the_request(make_pool: MakePool) -> None:
    """There, a statsd client that could not resolve its host did."""
    from instrumented_pool import Event, Observer

    class Unreachable(Observer):
        def on_event(self, event: Event) -> None:
            raise OSError("no such host")

    async with make_pool(observers=[Unreachable()]).get_connection() as conn:
        assert conn.number == 1
