"""What a strategy undoes of what a borrower left behind, before anybody else has the connection."""

import asyncio

import pytest

from instrumented_pool import Closed, CloseError, Observer, PoolTimeoutError, Released
from instrumented_pool.testing import FakeConnection, RecordingObserver
from support.callers import callers
from support.fakes import CarefulStrategy, MakePool
from support.virtual import steps


@pytest.fixture
def strategy() -> CarefulStrategy:
    """Resets take two steps, unless a test says otherwise."""
    return CarefulStrategy()


async def test_connection_is_reset_before_it_lies_idle(make_pool: MakePool, strategy: CarefulStrategy) -> None:
    """The exit waits for it."""
    pool = make_pool()
    async with pool.get_connection() as conn:
        pass
    assert strategy.reset == [conn]
    assert pool.stats().idle == 1


async def test_connection_is_reset_before_it_is_handed_on(make_pool: MakePool, strategy: CarefulStrategy) -> None:
    """Who queues has it when the reset is over, and not before."""
    pool = make_pool()
    holder, queued = await callers(pool, 2)
    holder.let_go()
    await steps(2)
    assert (pool.stats().in_use, pool.stats().waiting, strategy.reset) == (1, 1, [])
    await steps()
    assert strategy.reset == [holder.conn]
    assert queued.conn is holder.conn
    await queued.leave()


async def test_exit_with_nothing_to_reset_does_not_yield(make_pool: MakePool, strategy: CarefulStrategy) -> None:
    """A strategy that looks at its driver's state costs no step of the loop."""
    pool = make_pool()
    async with pool.get_connection():
        strategy.left_behind = False
    lease = pool.get_connection()
    await lease.__aenter__()
    with pytest.raises(StopIteration):
        lease.__aexit__(None, None, None).send(None)


@pytest.mark.parametrize("reset_steps", [None, 2], ids=["at once", "in some steps"])
async def test_connection_whose_reset_fails_is_closed(
    make_pool: MakePool, strategy: CarefulStrategy, recorder: RecordingObserver, reset_steps: int | None
) -> None:
    """The caller has had what it wanted and is not bothered; observers are told why."""
    pool, error = make_pool(observers=[recorder]), OSError("broken")
    strategy.reset_steps = reset_steps
    strategy.reset_errors.append(error)
    async with pool.get_connection() as conn:
        pass
    assert strategy.closed == [conn]
    assert [(event.reason, event.error) for event in recorder.of(CloseError)] == [("dirty", error)]
    assert recorder.one(Closed).reason == "dirty"
    assert pool.stats().close_errors == 1


@pytest.mark.parametrize("reset_steps", [None, 2], ids=["at once", "in some steps"])
async def test_caller_does_not_wait_for_the_close_after_a_failed_reset(
    make_pool: MakePool, strategy: CarefulStrategy, recorder: RecordingObserver, reset_steps: int | None
) -> None:
    """Nor hears of it, which as often as not goes wrong, too: observers are told."""
    pool = make_pool(observers=[recorder])
    strategy.reset_steps, strategy.close_steps = reset_steps, 20
    reset_error, close_error = OSError("broken"), OSError("still broken")
    strategy.reset_errors.append(reset_error)
    strategy.close_errors.append(close_error)
    async with pool.get_connection():
        pass
    assert pool.stats().closing == 1
    await steps(30)
    assert [event.error for event in recorder.of(CloseError)] == [reset_error, close_error]


async def test_reset_that_overruns_its_time_is_given_up(
    make_pool: MakePool, strategy: CarefulStrategy, recorder: RecordingObserver
) -> None:
    """After `close_timeout` the connection is closed, and whoever queues gets a new one."""
    pool = make_pool(close_timeout=2.0, acquire_timeout=None, observers=[recorder])
    holder, queued = await callers(pool, 2)
    strategy.reset_gate.clear()
    holder.let_go()
    await asyncio.sleep(1.9)
    assert queued.waits
    await asyncio.sleep(0.2)
    assert queued.conn is strategy.created[1]
    assert "reset_connection of connection 1 took more than 2.000 s" in str(recorder.one(CloseError).error)
    strategy.reset_gate.set()
    await queued.leave()
    assert strategy.reset == [queued.conn], "what was given up goes on"


async def test_cancelled_exit_leaves_the_reset_to_the_pool(make_pool: MakePool, strategy: CarefulStrategy) -> None:
    """The connection comes back all the same, reset."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    holder.let_go()
    await steps(1)
    await holder.cancel()
    await steps()
    assert strategy.reset == [holder.conn]
    assert pool.stats().idle == 1


async def test_what_was_cancelled_may_be_entered_again_during_its_reset(
    make_pool: MakePool, strategy: CarefulStrategy, recorder: RecordingObserver
) -> None:
    """It waits for what it has given up itself, which is no deadlock, and ends no acquire but its own."""
    strategy.reset_gate.clear()
    async with make_pool(observers=[recorder]) as pool:
        lease = pool.get_connection()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), lease:
                pass
        asyncio.get_running_loop().call_later(1, strategy.reset_gate.set)
        async with lease as conn:
            assert strategy.reset == [conn]
    assert [event.acquire_id for event in recorder.of(Released)] == [1, 2]
    recorder.assert_paired()


async def test_holder_whose_body_is_over_is_not_said_to_keep_its_connection(
    make_pool: MakePool, strategy: CarefulStrategy
) -> None:
    """Cancelled in its exit it is gone, and the reset, not the application, is what takes so long."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    strategy.reset_gate.clear()
    holder.let_go()
    await steps()
    await holder.cancel()
    (told,) = pool.holders()
    assert str(told).endswith("now in reset_connection, after the body")
    strategy.reset_gate.set()
    await steps()
    assert pool.holders() == ()


async def test_connection_that_is_closed_anyway_is_not_reset(make_pool: MakePool, strategy: CarefulStrategy) -> None:
    """After a cancelled body, and after `clear()`."""
    pool = make_pool(max_size=2)
    cancelled, cleared = await callers(pool, 2)
    await cancelled.cancel()
    pool.clear()
    await cleared.leave()
    assert strategy.reset == []
    assert len(strategy.closed) == 2


async def test_failed_body_is_reset_after_and_raises_its_own_error(
    make_pool: MakePool, strategy: CarefulStrategy, recorder: RecordingObserver
) -> None:
    """Also where the reset fails."""
    pool, error = make_pool(observers=[recorder]), ValueError("of the application")
    strategy.reset_errors.append(OSError("broken"))
    (holder,) = await callers(pool, 1)
    await holder.leave(error)
    assert await holder.error() is error
    assert recorder.one(Released).error is error
    assert recorder.one(Closed).reason == "dirty"


async def test_closing_pool_waits_for_a_reset(make_pool: MakePool, strategy: CarefulStrategy) -> None:
    """The holder is named where that takes too long."""
    pool = make_pool(close_timeout=30.0)
    (holder,) = await callers(pool, 1)
    strategy.reset_gate.clear()
    holder.let_go()
    await steps()
    with pytest.raises(PoolTimeoutError) as caught:
        await pool.close(timeout=1)
    assert len(caught.value.holders) == 1
    strategy.reset_gate.set()
    await pool.close(timeout=1)


async def test_resets_may_await_one_future(
    make_pool: MakePool, strategy: CarefulStrategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a strategy sees to all that came back in one go."""
    flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def reset_connection(conn: FakeConnection) -> "asyncio.Future[None]":
        return flushed

    monkeypatch.setattr(strategy, "reset_connection", reset_connection)
    pool = make_pool(max_size=2)
    holders = await callers(pool, 2)
    for holder in holders:
        holder.let_go()
    await steps()
    assert pool.stats().in_use == 2
    flushed.set_result(None)
    await steps()
    assert pool.stats().idle == 2
    assert all(holder.task.done() for holder in holders)


async def test_cancellation_raised_by_a_hook_after_the_borrower_has_gone_is_nobodys(
    make_pool: MakePool, strategy: CarefulStrategy
) -> None:
    """It reaches neither the event loop's exception handler nor the next caller."""

    class Cancelling(Observer):
        def on_released(self, event: Released) -> None:
            raise asyncio.CancelledError

    complaints = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    pool = make_pool(observers=[Cancelling()])
    (holder,) = await callers(pool, 1)
    holder.let_go()
    await steps(1)
    await holder.cancel()
    await steps()
    assert pool.stats().idle == 1
    assert not complaints
