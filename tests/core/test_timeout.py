"""How long a caller waits."""

import asyncio

import pytest

from instrumented_pool import PoolError, PoolTimeoutError
from support.callers import Caller, callers, leave_all
from support.fakes import MakePool
from support.virtual import CLOCK, START, steps


async def test_caller_waits_for_the_pools_acquire_timeout(make_pool: MakePool) -> None:
    """And its error is a `PoolError` and a `TimeoutError`."""
    pool = make_pool(acquire_timeout=4.0)
    (holder,) = await callers(pool, 1)
    error = await Caller(pool).error()
    assert isinstance(error, PoolTimeoutError)
    assert isinstance(error, PoolError)
    assert isinstance(error, TimeoutError)
    assert CLOCK.now() == START + 4
    await holder.leave()


async def test_callers_own_timeout_comes_before_the_pools(make_pool: MakePool) -> None:
    """Shorter or longer."""
    pool = make_pool(acquire_timeout=4.0)
    (holder,) = await callers(pool, 1)
    for timeout in (1.0, 9.0):
        begun = CLOCK.now()
        assert isinstance(await Caller(pool, timeout=timeout).error(), PoolTimeoutError)
        assert CLOCK.now() == begun + timeout
    await holder.leave()


async def test_none_waits_for_ever(make_pool: MakePool) -> None:
    """A year is nothing."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    (patient,) = await callers(pool, 1, timeout=None)
    await asyncio.sleep(365 * 86400)
    assert patient.waits
    await leave_all(holder, patient)
    assert patient.conn is not None


async def test_deadlines_are_kept_in_whatever_order_they_stand(make_pool: MakePool) -> None:
    """The queue is in order of asking, the deadlines need not be."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    late = Caller(pool, timeout=9.0)
    ever = Caller(pool, timeout=None)
    soon = Caller(pool, timeout=2.0)
    middle = Caller(pool, timeout=5.0)
    await steps()
    ended = []
    for caller, after in ((soon, 2.0), (middle, 5.0), (late, 9.0)):
        assert isinstance(await caller.error(), PoolTimeoutError)
        ended.append(CLOCK.now() - START == after)
    assert ended == [True, True, True]
    assert ever.waits
    await leave_all(holder, ever)


async def test_timeout_of_zero_takes_what_is_there_and_waits_for_nothing(make_pool: MakePool) -> None:
    """An idle connection is to be had, a lent one is not."""
    pool = make_pool()
    async with pool.get_connection():
        assert isinstance(await Caller(pool, timeout=0).error(), PoolTimeoutError)
    async with pool.get_connection(timeout=0):
        pass


async def test_timeout_does_not_end_a_use(make_pool: MakePool) -> None:
    """It is about waiting alone."""
    pool = make_pool()
    async with pool.get_connection(timeout=1.0):
        await asyncio.sleep(10)
    assert pool.stats().idle == 1


@pytest.mark.parametrize("outer", [True, False], ids=["asyncio.timeout", "wait_for"])
async def test_time_out_from_outside_is_a_cancellation_that_loses_nothing(make_pool: MakePool, outer: bool) -> None:
    """What is raised is asyncio's, what is counted is `cancelled`."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)

    async def ask() -> None:
        async with asyncio.timeout(1.0 if outer else None), pool.get_connection():
            pass

    with pytest.raises(TimeoutError) as caught:
        await (ask() if outer else asyncio.wait_for(ask(), 1.0))
    assert not isinstance(caught.value, PoolTimeoutError)
    assert pool.stats().failed == {**pool.stats().failed, "cancelled": 1, "timeout": 0}
    await holder.leave()
    assert pool.stats().idle == 1


@pytest.mark.parametrize("step", [1, 0, -1], ids=["ascending", "alike", "descending"])
async def test_timers_of_callers_that_were_served_do_not_pile_up(make_pool: MakePool, step: int) -> None:
    """A thousand served callers leave one timer at most, in whatever order their deadlines stood."""
    pool = make_pool()

    async def borrow(timeout: float) -> None:
        async with pool.get_connection(timeout=timeout):
            await asyncio.sleep(0)

    await asyncio.gather(*(borrow(3600.0 + step * number) for number in range(1000)))
    loop = asyncio.get_running_loop()
    timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
    assert len(timers) <= 1
