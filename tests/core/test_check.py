"""Rule 5: `connection_is_closed` is asked before every hand-out."""

import asyncio

import pytest

from instrumented_pool import Closed, CloseError
from instrumented_pool.testing import FakeStrategy, RecordingObserver
from support.callers import callers
from support.fakes import MakePool
from support.virtual import steps


async def test_every_hand_out_is_preceded_by_a_check(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """A new connection, an idle one, and one handed over."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    assert strategy.calls["connection_is_closed"] == 1
    await holder.leave()
    holder, queued = await callers(pool, 2)
    assert strategy.calls["connection_is_closed"] == 2
    await holder.leave()
    await queued.leave()
    assert strategy.calls["connection_is_closed"] == 3


@pytest.mark.parametrize("fault", [None, OSError("cannot tell")])
@pytest.mark.parametrize("observed", [True, False])
async def test_stale_connection_is_dropped_and_the_next_is_tried(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver, fault: Exception | None, observed: bool
) -> None:
    """True or any `Exception` of the check: closed, and the caller notices nothing."""
    pool = make_pool(max_size=2, observers=[recorder] if observed else [])
    async with pool.get_connection() as first, pool.get_connection() as second:
        pass
    if fault is None:
        first.dead = True
    else:
        strategy.check_errors.append(fault)
    async with pool.get_connection() as conn:
        assert conn is second
    assert strategy.closed == [first]
    assert pool.stats().closed["stale"] == 1


async def test_where_all_are_stale_a_new_one_is_made(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """After a fail-over of the server, the first caller sweeps and connects."""
    pool = make_pool(max_size=3)
    async with pool.get_connection(), pool.get_connection(), pool.get_connection():
        pass
    for old in strategy.created:
        old.dead = True
    async with pool.get_connection() as conn:
        assert conn.number == 4
    assert pool.stats().closed["stale"] == 3


async def test_error_on_closing_a_stale_connection_is_an_event_only(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver
) -> None:
    """The caller asked for a connection, not for the old one's end."""
    pool = make_pool(observers=[recorder])
    async with pool.get_connection() as first:
        pass
    first.dead = True
    strategy.close_errors.append(OSError("broken pipe"))
    async with pool.get_connection() as conn:
        assert conn is not first
    assert recorder.one(CloseError).reason == "stale"


async def test_error_on_closing_one_that_came_back_stale_is_an_event_only(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver
) -> None:
    """It was found dead because somebody waits for it; the one who returns it does not hear of that."""
    pool = make_pool(observers=[recorder])
    holder, queued = await callers(pool, 2)
    strategy.created[0].dead = True
    strategy.close_errors.append(OSError("broken pipe"))
    await holder.leave()
    assert await holder.error() is None
    assert recorder.of(Closed)[0].reason == "stale"
    await steps()
    await queued.leave()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), asyncio.CancelledError()])
def test_what_is_no_exception_propagates_out_of_the_check(error: BaseException, strategy: FakeStrategy) -> None:
    """With the slot freed, and the connection closed because nobody knows what it is worth."""
    from instrumented_pool import ConnectionPool
    from instrumented_pool.testing._loop import drive
    from support.virtual import VirtualLoop

    raised: list[BaseException] = []

    async def main() -> None:
        pool = ConnectionPool(strategy=strategy, max_size=1)
        async with pool.get_connection():
            pass
        strategy.check_errors.append(error)
        try:
            await pool.get_connection().__aenter__()
        except BaseException as caught:
            raised.append(caught)
        assert pool.stats().total == 0
        async with pool.get_connection() as conn:
            assert conn.number == 2
        await pool.close()

    loop = VirtualLoop()
    drive(loop, main())
    loop.close()
    assert raised == [error]
    assert [conn.number for conn in strategy.closed] == [1, 2]
