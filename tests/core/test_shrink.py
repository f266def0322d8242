"""Rule 7: a burst connection that nobody waits for is given up, and what closing it may raise."""

import asyncio

import pytest

from instrumented_pool import BurstEnded, Closed, CloseError, Shrink
from instrumented_pool.testing import FakeStrategy, RecordingObserver
from support.callers import callers, leave_all
from support.fakes import MakePool
from support.virtual import CLOCK, START, steps


async def test_connection_returned_above_max_size_with_nobody_waiting_is_closed(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver
) -> None:
    """It is the one that is returned, and only as many as are too many."""
    pool = make_pool(max_size=1, burst_limit=3, observers=[recorder])
    first, second, third = await callers(pool, 3)
    await second.leave()
    await third.leave()
    await first.leave()
    assert strategy.closed == [second.conn, third.conn]
    assert [event.reason for event in recorder.of(Closed)] == ["shrink", "shrink"]
    assert [event.total for event in recorder.of(Shrink)] == [3, 2]
    assert pool.stats().idle == 1


async def test_burst_connection_is_handed_over_while_callers_wait(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Nothing is closed that would be made again at once."""
    pool = make_pool(max_size=1, burst_limit=2)
    first, second, queued = await callers(pool, 3)
    await second.leave()
    await steps()
    assert queued.conn is second.conn
    assert not strategy.closed
    await leave_all(first, queued)


async def test_warm_connection_is_not_closed_under_callers_that_are_still_connecting(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """They take the returned one; what they had asked for is what is given up."""
    pool = make_pool(max_size=1, burst_limit=2)
    (holder,) = await callers(pool, 1)
    strategy.gate.clear()
    (connecting,) = await callers(pool, 1)
    await holder.leave()
    await steps()
    assert connecting.conn is holder.conn
    strategy.gate.set()
    await steps()
    assert [conn.number for conn in strategy.closed] == [2]
    await connecting.leave()


@pytest.mark.parametrize("close_steps", [None, 3])
async def test_close_error_is_raised_out_of_the_exit(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver, close_steps: int | None
) -> None:
    """Whether `close_connection` is a plain function or an `async def`; the connection is dropped, the event told."""
    strategy.close_steps = close_steps
    error = OSError("broken pipe")
    pool = make_pool(burst_limit=2, observers=[recorder])
    first, second = await callers(pool, 2)
    strategy.close_errors.append(error)
    await second.leave()
    assert await second.error() is error
    assert recorder.one(CloseError).error is error
    assert pool.stats().total == 1
    assert (pool.stats().close_errors, pool.stats().closed["shrink"]) == (1, 1)
    await first.leave()


@pytest.mark.parametrize("close_steps", [None, 3])
async def test_close_error_never_masks_the_bodys_exception(
    make_pool: MakePool, strategy: FakeStrategy, close_steps: int | None
) -> None:
    """It is added as a note."""
    strategy.close_steps = close_steps
    pool = make_pool(burst_limit=2)
    first, second = await callers(pool, 2)
    strategy.close_errors.append(OSError("broken pipe"))
    await second.leave(ValueError("of the application"))
    error = await second.error()
    assert isinstance(error, ValueError)
    assert error.__notes__ == ["closing the connection failed too: OSError: broken pipe"]
    await first.leave()


async def test_exit_waits_for_an_asynchronous_close(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """When the exit is over the connection is gone, as with a plain function."""
    strategy.close_steps = 3
    pool = make_pool(burst_limit=2)
    first, second = await callers(pool, 2)
    await second.leave()
    assert strategy.closed == [second.conn]
    await first.leave()


@pytest.mark.parametrize("close_steps", [None, 3])
async def test_observed_close_errors_are_events_and_no_more(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver, close_steps: int | None
) -> None:
    """With `close_errors="observe"` the exit neither waits nor raises."""
    strategy.close_steps = close_steps
    pool = make_pool(burst_limit=2, close_errors="observe", observers=[recorder])
    first, second = await callers(pool, 2)
    strategy.close_errors.append(OSError("broken pipe"))
    await second.leave()
    assert await second.error() is None
    assert pool.stats().closing == (0 if close_steps is None else 1)
    await steps()
    assert str(recorder.one(CloseError).error) == "broken pipe"
    await first.leave()


async def test_cancelled_exit_does_not_cancel_the_close(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """The close is the pool's task and goes on."""
    strategy.close_steps = 20
    pool = make_pool(burst_limit=2)
    first, second = await callers(pool, 2)
    second.let_go()
    await steps(5)
    await second.cancel()
    assert second.task.cancelled()
    assert pool.stats().closing == 1
    await steps(30)
    assert strategy.closed == [second.conn]
    assert pool.stats().closing == 0
    await first.leave()


async def test_closing_connection_still_counts_against_the_limit(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """The server still has it."""
    strategy.close_steps = 20
    pool = make_pool(burst_limit=2)
    first, second = await callers(pool, 2)
    second.let_go()
    await steps(5)
    assert (pool.stats().closing, pool.stats().total) == (1, 2)
    (queued,) = await callers(pool, 1)
    assert queued.waits
    await leave_all(first, second, queued)


async def test_close_that_overruns_its_time_is_given_up(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver
) -> None:
    """It is cancelled, its slot is free, and the error says how long it took."""
    pool = make_pool(name="orders", burst_limit=2, close_timeout=2.0, observers=[recorder])
    ended: list[BaseException] = []

    async def hang() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as error:
            ended.append(error)
            raise

    first, second = await callers(pool, 2)
    strategy.closing = hang
    await second.leave()
    error = await second.error()
    assert isinstance(error, TimeoutError)
    assert str(error) == "pool 'orders': close_connection of connection 2 took more than 2.000 s"
    assert CLOCK.now() - START == 2.0
    assert recorder.one(CloseError).error is error
    await steps()
    assert len(ended) == 1
    strategy.closing = None
    await first.leave()


async def test_close_that_ignores_its_cancellation_does_not_hold_the_slot(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """Its end, whenever it comes, changes nothing any more."""
    pool = make_pool(burst_limit=2, close_timeout=1.0)

    async def stubborn() -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(1.0)
            except asyncio.CancelledError:
                continue

    first, second = await callers(pool, 2)
    strategy.closing = stubborn
    await second.leave()
    assert isinstance(await second.error(), TimeoutError)
    assert pool.stats().total == 1
    strategy.closing = None
    await asyncio.sleep(5)
    assert pool.stats().closed["shrink"] == 1
    await first.leave()


async def test_close_that_ends_in_time_leaves_no_timer_behind(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Or it would keep the pool alive for `close_timeout`."""
    strategy.close_steps = 1
    pool = make_pool(burst_limit=2, acquire_timeout=None)
    await leave_all(*await callers(pool, 2))
    loop = asyncio.get_running_loop()
    assert not [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]


async def test_burst_tells_its_duration_and_peak(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """From the rise above `max_size` until the total is back."""
    pool = make_pool(max_size=1, burst_limit=4, observers=[recorder])
    made = await callers(pool, 3)
    await asyncio.sleep(2.5)
    await leave_all(*made)
    event = recorder.one(BurstEnded)
    assert (event.duration, event.peak, event.total, event.max_size, event.burst_limit) == (2.5, 3, 1, 1, 4)
    assert pool.stats().bursts == 1
