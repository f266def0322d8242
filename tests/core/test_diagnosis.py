"""Rule 12: who holds the connections, for how long, and where they are now."""

import asyncio
import copy
import pickle
import textwrap
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import pytest

from instrumented_pool import LeakSuspected, PoolTimeoutError
from instrumented_pool.testing import FakeConnection, FakeStrategy, RecordingObserver
from support.callers import Caller, callers, leave_all
from support.fakes import MakePool, Pool
from support.virtual import steps


async def timed_out(pool: Pool) -> PoolTimeoutError:
    """The error of a caller that waits one second in vain."""
    error = await Caller(pool, timeout=1.0).error()
    assert isinstance(error, PoolTimeoutError)
    return error


async def test_time_out_error_carries_the_stats_of_its_moment(make_pool: MakePool) -> None:
    """This caller included, as it was waiting."""
    pool = make_pool(name="orders")
    (holder,) = await callers(pool, 1)
    error = await timed_out(pool)
    assert (error.stats.name, error.stats.in_use, error.stats.waiting) == ("orders", 1, 1)
    await holder.leave()


async def test_time_out_error_names_the_oldest_holders(make_pool: MakePool) -> None:
    """Three in the message, the longest hold first; all of them in `.holders`."""
    pool = make_pool(max_size=5)
    made = []
    for number in range(5):
        made += await callers(pool, 1)
        made[-1].task.set_name(f"holder {number}")
        await asyncio.sleep(1)
    error = await timed_out(pool)
    assert [holder.task for holder in error.holders] == [f"holder {number}" for number in range(5)]
    assert [holder.held for holder in error.holders] == [6.0, 5.0, 4.0, 3.0, 2.0]
    first, *named, more = str(error).splitlines()
    assert first.startswith("pool 'pool': no connection within 1.000 s (waiting=1 in_use=5 idle=0 creating=0 closing=0")
    assert [line.split(" has held connection ")[0].strip() for line in named] == ["holder 0", "holder 1", "holder 2"]
    assert "for 6.000 s, now in Caller._run (support/callers.py:" in named[0]
    assert more == "  and 2 more"
    await leave_all(*made)


async def test_time_out_error_carries_the_last_creation_error(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Redacted in the message, whole in the attribute."""
    pool = make_pool(max_size=2)
    (holder,) = await callers(pool, 1)
    refused = OSError(f"cannot connect to postgres://orders:{FakeConnection.password}@db.internal/orders")
    strategy.create_errors.append(refused)
    assert await Caller(pool).error() is refused
    strategy.gate.clear()
    error = await timed_out(pool)
    assert error.last_create_error is refused
    assert "could not be made: OSError: cannot connect to postgres://***@db.internal/orders" in str(error)
    assert FakeConnection.password not in str(error)
    strategy.gate.set()
    await holder.leave()


def pickled(error: PoolTimeoutError) -> PoolTimeoutError:
    """As it comes out of another process."""
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, PoolTimeoutError)
    return again


@pytest.mark.parametrize("over", [copy.copy, pickled])
async def test_time_out_error_survives_the_way_to_another_process(
    make_pool: MakePool, over: Callable[[PoolTimeoutError], PoolTimeoutError]
) -> None:
    """With all that it carries; what cannot be put together again there breaks a whole pool of processes."""
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    error = await timed_out(pool)
    await holder.leave()
    error.add_note("seen by nobody")
    again = over(error)
    assert (type(again), str(again), again.args) == (PoolTimeoutError, str(error), error.args)
    assert vars(again) == vars(error)
    assert again.stats == error.stats


async def test_creation_that_succeeds_ends_the_last_creation_error(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """An old trouble is no explanation of a new one."""
    strategy.create_errors.append(OSError("refused"))
    pool = make_pool()
    assert isinstance(await Caller(pool).error(), OSError)
    async with pool.get_connection():
        error = await timed_out(pool)
    assert error.last_create_error is None
    assert "refused" not in str(error)


async def test_nothing_shows_a_connection_or_a_local_variable(make_pool: MakePool) -> None:
    """Not in the message, not in the holders, not in the pool's repr."""
    pool = make_pool()

    async def handler() -> None:
        password = FakeConnection.password
        async with pool.get_connection():
            await asyncio.sleep(100)
        assert password

    task = asyncio.ensure_future(handler())
    await steps()
    error = await timed_out(pool)
    assert error.holders[0].where
    for text in (str(error), repr(error), repr(error.holders), repr(error.stats), repr(pool)):
        assert FakeConnection.password not in text
    task.cancel()
    await steps()


def frames(pool: Pool) -> list[str]:
    """The functions that the only holder is in."""
    (holder,) = pool.holders()
    return [frame.partition(" (")[0].rpartition(".")[2] for frame in holder.where]


async def deeper() -> None:
    """Await something for long."""
    await asyncio.sleep(100)


async def deep() -> None:
    """Await something that awaits."""
    await deeper()


async def held(pool: Pool, body: Any) -> "asyncio.Task[None]":
    """A task that holds a connection in `body`."""

    async def handler() -> None:
        async with pool.get_connection():
            await body()

    task = asyncio.ensure_future(handler())
    await steps()
    return task


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel it."""
    task.cancel()
    await asyncio.wait({task})


async def test_suspended_task_is_followed_down_its_awaits(make_pool: MakePool) -> None:
    """To the innermost, with file and line of each."""
    pool = make_pool()
    task = await held(pool, deep)
    assert frames(pool) == ["handler", "deep", "deeper", "sleep"]
    (holder,) = pool.holders()
    assert holder.where[1].startswith("deep (core/test_diagnosis.py:")
    await end(task)


def installed(source: str) -> Any:
    """The function that a package of somebody else's would have."""
    names: dict[str, Any] = {}
    exec(compile(textwrap.dedent(source), "/usr/lib/python3/site-packages/framework/app.py", "exec"), names)
    return names["run"]


async def test_of_libraries_only_what_was_called_last_and_the_innermost_are_told(make_pool: MakePool) -> None:
    """Not the framework around the application's own code, nor the inside of the driver; of a running task, too."""
    pool = make_pool()
    serve = installed("async def run(handler): await handler()")
    query = installed("""
        import asyncio
        async def inside(): await asyncio.sleep(100)
        async def run(): await inside()
        """)
    running: list[str] = []

    async def endpoint() -> None:
        running.extend(frames(pool))
        await query()

    async def middleware() -> None:
        await serve(endpoint)

    task = await held(pool, lambda: serve(middleware))
    assert running == ["handler", "middleware", "endpoint", "frames"]
    assert frames(pool) == ["handler", "middleware", "endpoint", "run", "sleep"]
    await end(task)


async def test_task_of_libraries_alone_is_told_whole(make_pool: MakePool) -> None:
    """Rather than not at all."""
    pool = make_pool()
    run = installed("""
        import asyncio
        async def run(pool):
            async with pool.get_connection():
                await asyncio.sleep(100)
        """)
    task = asyncio.ensure_future(run(pool))
    await steps()
    assert frames(pool) == ["run", "sleep"]
    await end(task)


async def test_suspended_task_is_followed_into_an_async_generator(make_pool: MakePool) -> None:
    """The generator is where the time goes."""

    async def rows() -> AsyncIterator[int]:
        yield 1
        await deep()

    async def body() -> None:
        async for _ in rows():
            pass

    pool = make_pool()
    task = await held(pool, body)
    assert frames(pool) == ["handler", "body", "rows", "deep", "deeper", "sleep"]
    await end(task)


async def test_suspended_task_is_followed_into_an_awaitable_object(make_pool: MakePool) -> None:
    """Drivers return objects with an `__await__`."""

    class Query:
        def __await__(self) -> Generator[Any, None, None]:
            return deep().__await__()

    async def body() -> None:
        await Query()

    pool = make_pool()
    task = await held(pool, body)
    assert frames(pool) == ["handler", "body", "deep", "deeper", "sleep"]
    await end(task)


async def test_running_task_is_read_from_the_stack(make_pool: MakePool) -> None:
    """As when a handler prints the holders itself; the pool's own frames are left out."""
    pool = make_pool()

    def report() -> list[str]:
        return frames(pool)

    async with pool.get_connection():
        assert report()[-2:] == ["report", "frames"]


async def test_finished_task_is_named_by_its_coroutine(make_pool: MakePool) -> None:
    """A handler that forgot to give its connection back."""
    pool = make_pool()
    lease = pool.get_connection()

    async def forgetful() -> None:
        await lease.__aenter__()

    await asyncio.create_task(forgetful(), name="GET /orders")
    (holder,) = pool.holders()
    assert holder.task == "GET /orders"
    assert holder.where[0].endswith(", finished without giving it back")
    assert "forgetful (core/test_diagnosis.py:" in holder.where[0]
    await lease.__aexit__(None, None, None)


async def test_nested_acquire_that_waits_for_itself_names_itself(make_pool: MakePool) -> None:
    """The silent deadlock of other pools: the holder is the one that is waiting."""
    pool = make_pool()
    async with pool.get_connection():
        with pytest.raises(PoolTimeoutError, match="test_nested_acquire_that_waits_for_itself") as caught:
            await pool.get_connection(timeout=1.0).__aenter__()
    assert caught.value.holders[0].connection_id == 1


async def test_holders_are_all_who_have_a_connection(make_pool: MakePool) -> None:
    """Also one that is just being woken."""
    pool = make_pool()
    holder, queued = await callers(pool, 2)
    holder.let_go()
    while pool.holders()[0].acquire_id == 1:
        await asyncio.sleep(0)
    assert queued.waits
    await queued.leave()
    assert pool.holders() == ()


async def test_hold_longer_than_leak_after_is_reported_once(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """With the holder; the next hold of the same connection is another one."""
    pool = make_pool(leak_after=5.0, observers=[recorder])
    for _ in range(2):
        async with pool.get_connection():
            await asyncio.sleep(30)
    first, second = recorder.of(LeakSuspected)
    assert (first.acquire_id, first.connection_id, first.held) == (1, 1, 5.0)
    assert "test_hold_longer_than_leak_after" in first.holder.where[0]
    assert second.acquire_id == 2
    assert pool.stats().leaks_suspected == 2


async def test_hold_that_ends_in_time_is_no_leak(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """However many of them there are."""
    pool = make_pool(leak_after=5.0, observers=[recorder])
    for _ in range(10):
        async with pool.get_connection():
            await asyncio.sleep(4)
    assert not recorder.of(LeakSuspected)


async def test_repr_shows_the_state(make_pool: MakePool) -> None:
    """On one line."""
    pool = make_pool(name="db", max_size=2, burst_limit=3)
    made = await callers(pool, 4)
    assert repr(pool) == "<ConnectionPool 'db' idle=0 in_use=3 waiting=1 max=2 burst=3>"
    await leave_all(*made)
    await pool.close()
    assert repr(pool) == "<ConnectionPool 'db' idle=0 in_use=0 waiting=0 max=2 burst=3 closed>"
