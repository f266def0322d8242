"""Rule 4: creation belongs to the pool, not to the caller that asked for it."""

import asyncio
import math
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from instrumented_pool import CreateFailed, PoolError, PoolTimeoutError, _pool
from instrumented_pool.testing import FakeConnection, FakeStrategy, RecordingObserver
from support.callers import Caller, callers, leave_all
from support.fakes import MakePool
from support.virtual import CLOCK, START, steps

request_id: ContextVar[str] = ContextVar("request_id", default="nobody")


def creation_task() -> "asyncio.Task[object]":
    """The task in which the pool makes a connection."""
    return next(task for task in asyncio.all_tasks() if "create connection" in task.get_name())


async def test_cancelled_caller_does_not_cancel_the_creation(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """The connection that it asked for goes idle."""
    strategy.gate.clear()
    pool = make_pool()
    (caller,) = await callers(pool, 1)
    await caller.cancel()
    assert pool.stats().creating == 1
    strategy.gate.set()
    await steps()
    assert pool.stats().idle == 1


async def test_connection_of_a_cancelled_caller_goes_to_the_next_in_the_queue(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """It is not made twice."""
    strategy.gate.clear()
    pool = make_pool()
    asker, queued = await callers(pool, 2)
    await asker.cancel()
    strategy.gate.set()
    await steps()
    assert queued.conn is strategy.created[0]
    await queued.leave()
    assert len(strategy.created) == 1


async def test_server_slower_than_its_callers_is_connected_to_all_the_same(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """Callers that wait one second each share one attempt of two and a half."""
    strategy.gate.clear()
    pool = make_pool(acquire_timeout=1.0)
    for _ in range(2):
        assert isinstance(await Caller(pool).error(), PoolTimeoutError)
    asyncio.get_running_loop().call_later(0.5, strategy.gate.set)
    async with pool.get_connection() as conn:
        assert conn.number == 1
    assert strategy.calls["create_connection"] == 1


async def test_creation_runs_in_a_copy_of_the_callers_context(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """It sees the caller's variables and cannot change them."""
    seen = []

    async def create() -> FakeConnection:
        seen.append(request_id.get())
        request_id.set("the pool")
        return await FakeStrategy.create_connection(strategy)

    strategy.create_connection = create  # type: ignore[method-assign]  # the fake of a driver that sets a variable
    pool = make_pool()
    request_id.set("a request")
    async with pool.get_connection():
        assert seen == ["a request"]
        assert request_id.get() == "a request"


async def test_creation_begun_by_another_runs_in_the_context_of_the_caller_it_is_for(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """The slot was freed by somebody else's task, and the trace of the caller that waits goes on."""
    seen = []
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    create = strategy.create_connection

    async def noted() -> FakeConnection:
        seen.append(request_id.get())
        return await create()

    strategy.create_connection = noted  # type: ignore[method-assign]  # the fake of a driver that is traced
    request_id.set("who waits")
    (queued,) = await callers(pool, 1)
    request_id.set("somebody else")
    await holder.cancel()
    await steps()
    assert seen == ["who waits"]
    await queued.leave()


async def test_failure_is_raised_where_the_caller_that_asked_waits(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """The exception itself, not one of the pool's around it; the others go on waiting."""
    error = OSError("refused")
    strategy.gate.clear()
    strategy.create_errors.append(error)
    pool = make_pool(max_size=2)
    first, second = await callers(pool, 2)
    strategy.gate.set()
    assert await first.error() is error
    await steps()
    assert second.conn is not None
    await second.leave()
    assert pool.stats().failed["create_error"] == 1


async def test_nobody_waits_on_an_empty_pool_after_a_failure(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Each of the others in the queue gets an attempt of its own."""
    strategy.create_errors += [OSError("1"), OSError("2"), OSError("3"), None]
    pool = make_pool()
    made = await callers(pool, 4)
    assert [str(await caller.error()) for caller in made[:3]] == ["1", "2", "3"]
    assert made[3].conn is not None
    await made[3].leave()


async def test_failure_of_a_creation_that_nobody_waits_for_any_more_is_an_event(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver
) -> None:
    """Whoever asked has another connection meanwhile, and does not hear of it."""
    pool = make_pool(max_size=2, observers=[recorder])
    (holder,) = await callers(pool, 1)
    strategy.gate.clear()
    strategy.create_errors.append(OSError("refused"))
    (asker,) = await callers(pool, 1)
    await holder.leave()
    await steps()
    strategy.gate.set()
    await steps()
    assert str(recorder.one(CreateFailed).error) == "refused"
    await asker.leave()
    assert await asker.error() is None


async def test_creation_cancelled_by_the_driver_is_no_cancellation_of_the_caller(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """A driver's inner CancelledError must not look as if the caller itself had been cancelled."""
    strategy.create_errors.append(asyncio.CancelledError("inside of the driver"))
    error = await Caller(make_pool()).error()
    assert isinstance(error, PoolError)
    assert isinstance(error.__cause__, asyncio.CancelledError)


async def test_creation_cancelled_before_it_began_frees_its_slot(make_pool: MakePool) -> None:
    """As a shutdown does that cancels every task; the others are looked at again."""
    pool = make_pool()
    first = asyncio.ensure_future(pool.get_connection().__aenter__())
    second = Caller(pool)
    await asyncio.sleep(0)
    creation_task().cancel()
    with pytest.raises(PoolError, match="create_connection was cancelled"):
        await first
    await steps()
    assert second.conn is not None
    await second.leave()


async def test_task_factory_that_refuses_the_creation_costs_no_slot(make_pool: MakePool) -> None:
    """It was written before asyncio gave factories a context; everybody is told, and the pool closes."""

    def task(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=loop)

    pool, loop = make_pool(max_size=1, min_size=1), asyncio.get_running_loop()
    factory: Any = task
    loop.set_task_factory(factory)
    for _ in range(2):
        with pytest.raises(TypeError, match="context"):
            await pool.get_connection().__aenter__()
    with pytest.raises(PoolError, match="opened 0 of min_size=1") as caught:
        await pool.open()
    assert isinstance(caught.value.__cause__, TypeError)
    assert pool.stats().total == 0
    loop.set_task_factory(None)
    async with pool.get_connection():
        pass


async def test_connections_that_arrive_dead_are_tried_again_with_back_off(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """Ten seconds of a server that hangs up at once cost some attempts, not thousands."""
    strategy.arrive_dead = 10**6
    error = await Caller(make_pool(), timeout=10.0).error()
    assert isinstance(error, PoolTimeoutError)
    assert "the connection was closed when it arrived" in str(error)
    assert 5 < len(strategy.created) < 20


async def test_caller_gets_the_first_connection_that_arrives_alive(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """It has waited out the back-off, and nothing else."""
    strategy.arrive_dead = 3
    pool = make_pool()
    async with pool.get_connection() as conn:
        assert conn.number == 4
    assert CLOCK.now() - START == pytest.approx(0.01 + 0.02 + 0.04)


async def test_outage_of_an_hour_does_not_end_the_attempts(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """The pause doubles up to a second and stays there."""
    strategy.arrive_dead = 3600
    pool = make_pool()
    async with pool.get_connection(timeout=None) as conn:
        assert conn.number == 3601


async def test_caller_that_comes_during_the_back_off_is_served_after_it(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """Even if the one for whom it began is gone."""
    strategy.arrive_dead = 1
    strategy.gate.clear()
    pool = make_pool()
    (gone,) = await callers(pool, 1)
    await gone.cancel()
    strategy.gate.set()
    await steps()
    async with pool.get_connection(timeout=None):
        assert CLOCK.now() - START == pytest.approx(0.01)


async def test_timer_that_fires_early_does_not_lose_the_next_attempt(
    make_pool: MakePool, strategy: FakeStrategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As uvloop's do, by up to a millisecond; and time passes between any two looks at the clock."""
    loop, pool, tick = asyncio.get_running_loop(), make_pool(), 0.0
    call_later = loop.call_later

    def look() -> float:
        CLOCK.seconds += tick
        return CLOCK.seconds

    def rounded(delay: float, callback: Any, *args: Any, **options: Any) -> asyncio.TimerHandle:
        return call_later(math.floor(delay * 1000) / 1000, callback, *args, **options)

    monkeypatch.setattr(_pool, "monotonic", look)
    monkeypatch.setattr(loop, "call_later", rounded)
    for looks in range(90, 100):
        tick = 0.001 / looks
        strategy.arrive_dead = 1
        async with pool.get_connection(timeout=None):
            pool.clear()


async def test_connection_arriving_alive_ends_the_back_off(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Two are made together; the first arrives dead, the second does not, and the next caller does not pay."""
    strategy.arrive_dead = 1
    pool = make_pool(max_size=2)
    made = await callers(pool, 2)
    assert all(caller.conn for caller in made)
    assert CLOCK.now() == START
    await leave_all(*made)


async def test_failing_creation_of_min_size_is_tried_again_with_back_off(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """A server that is away for ten seconds is asked some times, not a thousand."""
    strategy.create_errors += [OSError("refused")] * 1000
    pool = make_pool(min_size=1)
    with pytest.raises(PoolError, match=r"opened 0 of min_size=1 connections: OSError: refused"):
        await pool.open()
    await asyncio.sleep(10)
    assert 5 < strategy.calls["create_connection"] < 20


async def test_min_size_is_filled_once_the_server_is_back(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Without any caller."""
    strategy.create_errors += [OSError("refused")] * 4
    strategy.arrive_dead = 3
    pool = make_pool(max_size=3, min_size=2)
    with pytest.raises(PoolError):
        await pool.open()
    await asyncio.sleep(10)
    assert pool.stats().idle == 2


@pytest.mark.parametrize("close_steps", [None, 3])
async def test_open_outlasts_connections_that_arrive_dead(
    make_pool: MakePool, strategy: FakeStrategy, close_steps: int | None
) -> None:
    """Also where the dead one still occupies its slot while it is closed."""
    strategy.close_steps = close_steps
    strategy.arrive_dead = 2
    pool = make_pool(min_size=1)
    await pool.open()
    assert pool.stats().idle == 1


async def test_pool_that_may_connect_only_one_at_a_time_does_not_spin(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """While one of `min_size` is being made and the others must wait, no timer runs."""
    pool = make_pool(max_size=3, min_size=3, max_connecting=1)
    opening = asyncio.ensure_future(pool.open())
    while not strategy.created:
        await asyncio.sleep(0)
    strategy.gate.clear()
    await steps()
    assert pool.stats().creating == 1
    assert pool._timer is None
    strategy.gate.set()
    await opening


async def test_creation_that_fails_after_its_caller_was_served_otherwise_fails_nobody(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """Its error is for the caller that asked for it: the next in the queue has a connection made of its own."""
    pool = make_pool(max_size=2)
    (holder,) = await callers(pool, 1)
    strategy.gate.clear()
    (asker,) = await callers(pool, 1)
    await holder.leave()
    (other,) = await callers(pool, 1)
    assert asker.conn is holder.conn
    strategy.create_errors.append(OSError("refused"))
    strategy.gate.set()
    await steps()
    assert other.conn is strategy.created[1]
    await leave_all(asker, other)


async def test_connection_that_arrives_well_ends_the_back_off(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """The next that arrives dead is made again as soon as the very first was."""
    pool = make_pool()
    for dead, pauses in ((3, 0.01 + 0.02 + 0.04), (1, 0.01)):
        strategy.arrive_dead, begun = dead, CLOCK.now()
        async with pool.get_connection(timeout=None) as conn:
            assert CLOCK.now() - begun == pytest.approx(pauses)
        conn.dead = True
