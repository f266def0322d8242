"""Rule 6: what a caller gives back, and in which state it may be."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from instrumented_pool import Released
from instrumented_pool.testing import FakeConnection, FakeStrategy, RecordingObserver
from support.callers import callers, leave_all
from support.fakes import MakePool
from support.virtual import steps


async def test_connection_is_reused_after_a_normal_exit(make_pool: MakePool) -> None:
    """The plainest case."""
    pool = make_pool()
    async with pool.get_connection() as first:
        pass
    async with pool.get_connection() as second:
        assert second is first


async def test_connection_is_reused_after_an_exception_in_the_body(make_pool: MakePool) -> None:
    """An application's error says nothing about the connection, and it leaves the pool as it was raised."""
    pool, error = make_pool(), ValueError("of the application")
    (holder,) = await callers(pool, 1)
    await holder.leave(error)
    assert await holder.error() is error
    async with pool.get_connection() as second:
        assert second is holder.conn


async def test_connection_is_closed_after_a_cancellation_in_the_body(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver
) -> None:
    """It may be in the middle of a command; the next user would read somebody else's reply."""
    pool = make_pool(observers=[recorder])
    (holder,) = await callers(pool, 1)
    await holder.cancel()
    assert strategy.closed == [holder.conn]
    assert pool.stats().closed["dirty"] == 1
    assert isinstance(recorder.one(Released).error, asyncio.CancelledError)


async def times_out() -> None:
    """As a command does that takes too long for who sent it."""
    async with asyncio.timeout(1):
        await asyncio.sleep(2)


async def waits_no_longer() -> None:
    """The older way."""
    await asyncio.wait_for(asyncio.sleep(2), 1)


async def translates() -> None:
    """As applications do."""
    try:
        await times_out()
    except TimeoutError as error:
        raise LookupError("too slow") from error


async def fails_as_a_group() -> None:
    """The tasks beside the one that failed are cancelled."""
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(2))
        group.create_task(raises())


async def raises() -> None:
    """Nothing was cut short."""
    raise LookupError("no such order")


@pytest.mark.parametrize("body", [times_out, waits_no_longer, translates, fails_as_a_group, raises])
async def test_connection_is_closed_after_a_body_of_which_a_part_was_cancelled(
    make_pool: MakePool, strategy: FakeStrategy, body: Callable[[], Awaitable[None]]
) -> None:
    """The exception is an ordinary one, and yet half a command may be on the wire."""
    pool = make_pool()
    with pytest.raises((TimeoutError, LookupError, ExceptionGroup)):
        async with pool.get_connection():
            await body()
    assert len(strategy.closed) == (body is not raises)


def test_exceptions_that_led_to_each_other_are_looked_at_once() -> None:
    """A circle of them, which Python does not rule out."""
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert FakeStrategy().connection_is_reusable(FakeConnection(1), first)


async def test_interrupted_connection_is_not_handed_to_those_who_wait(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """They get a new one."""
    pool = make_pool()
    holder, queued = await callers(pool, 2)
    await holder.cancel()
    await steps()
    assert queued.conn is strategy.created[1]
    await queued.leave()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit(), BaseException()])
async def test_connection_is_closed_after_any_other_base_exception(
    make_pool: MakePool, strategy: FakeStrategy, error: BaseException
) -> None:
    """Nobody knows where in the protocol it stands."""
    pool = make_pool()
    lease = pool.get_connection()
    await lease.__aenter__()
    await lease.__aexit__(type(error), error, None)
    assert len(strategy.closed) == 1


async def test_strategy_that_knows_better_keeps_a_connection_after_a_cancellation(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """`connection_is_reusable` is asked with the connection and the error."""
    asked: list[tuple[FakeConnection, BaseException]] = []

    def reusable(conn: FakeConnection, error: BaseException) -> bool:
        asked.append((conn, error))
        return True

    strategy.connection_is_reusable = reusable  # type: ignore[method-assign]  # a driver that can tell
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    await holder.cancel()
    ((conn, error),) = asked
    assert conn is holder.conn
    assert isinstance(error, asyncio.CancelledError)
    assert pool.stats().idle == 1


async def test_strategy_may_refuse_a_connection_after_an_ordinary_exception(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """A driver's own protocol error, for instance."""
    strategy.connection_is_reusable = lambda conn, error: not isinstance(error, OSError)  # type: ignore[method-assign]  # the same
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    await holder.leave(OSError("reset by peer"))
    assert strategy.closed == [holder.conn]


async def test_failing_connection_is_reusable_closes_and_does_not_mask(
    make_pool: MakePool, strategy: FakeStrategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body's exception gets a note."""

    def fail(conn: FakeConnection, error: BaseException) -> bool:
        raise RuntimeError("broken driver")

    monkeypatch.setattr(strategy, "connection_is_reusable", fail)
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    await holder.leave(ValueError("of the application"))
    error = await holder.error()
    assert isinstance(error, ValueError)
    assert error.__notes__ == ["connection_is_reusable failed too: RuntimeError: broken driver"]
    assert strategy.closed == [holder.conn]


async def test_connection_may_be_entered_in_one_task_and_left_in_another(make_pool: MakePool) -> None:
    """A lease belongs to nobody but who has it."""
    pool = make_pool()
    lease = pool.get_connection()
    await asyncio.ensure_future(lease.__aenter__())
    assert pool.stats().in_use == 1
    await asyncio.ensure_future(lease.__aexit__(None, None, None))
    assert pool.stats().idle == 1


async def test_giving_back_twice_is_refused(make_pool: MakePool) -> None:
    """Or two callers would be lent one connection."""
    pool = make_pool()
    lease = pool.get_connection()
    await lease.__aenter__()
    await lease.__aexit__(None, None, None)
    with pytest.raises(RuntimeError, match="gave it back already"):
        await lease.__aexit__(None, None, None)
    assert pool.stats().idle == 1


async def test_entering_twice_is_refused(make_pool: MakePool) -> None:
    """An acquire is one acquire."""
    lease = make_pool().get_connection()
    async with lease:
        with pytest.raises(RuntimeError, match="this acquire is running already"):
            await lease.__aenter__()


async def test_entering_twice_while_queued_is_refused(make_pool: MakePool) -> None:
    """Two tasks with one acquire between them: the second is told, the first is not harmed."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    lease = pool.get_connection()
    first = asyncio.ensure_future(lease.__aenter__())
    await steps()
    with pytest.raises(RuntimeError, match="this acquire is running already"):
        await lease.__aenter__()
    await holder.leave()
    assert await first is holder.conn
    await lease.__aexit__(None, None, None)


async def test_acquire_may_be_used_again_when_it_is_over(make_pool: MakePool) -> None:
    """As `get_connection()` may be kept and entered once more."""
    pool = make_pool()
    lease = pool.get_connection()
    for _ in range(2):
        async with lease as conn:
            assert conn.number == 1


async def test_async_generator_that_is_closed_gives_its_connection_up(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """`aclose()` ends the body with GeneratorExit; the connection was in the middle of something."""
    pool = make_pool()

    async def rows() -> AsyncIterator[int]:
        async with pool.get_connection() as conn:
            while True:
                yield conn.number

    generator = rows()
    assert await anext(generator) == 1
    await generator.aclose()  # type: ignore[attr-defined]  # an AsyncIterator by annotation, a generator by nature
    assert pool.stats().total == 0
    assert len(strategy.closed) == 1


async def test_body_that_raises_still_serves_the_queue(make_pool: MakePool) -> None:
    """An exception is an exit like any other."""
    pool = make_pool()
    holder, queued = await callers(pool, 2)
    await holder.leave(ValueError())
    await steps()
    assert queued.conn is holder.conn
    await leave_all(holder, queued)
