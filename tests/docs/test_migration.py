"""The migration page: its code runs, and each difference it names is one, shown on the ancestor and on this pool."""

import asyncio
import gc
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import asyncio_connection_pool as ancestor
import pytest
from ddtrace.trace import tracer

from instrumented_pool import ConnectionPool, PoolDeadlockError, PoolLoopError, PoolTimeoutError, _bus, _pool
from instrumented_pool._servers import Valkey
from instrumented_pool.compat import adapt_strategy
from support.pages import DOCS, blocks
from support.virtual import CLOCK, START, VirtualLoop, steps

PAGE = DOCS / "migration.md"


class Conn:
    dead = False


class Old(ancestor.ConnectionStrategy[Conn]):
    """As users of the ancestor wrote it; what it raises and how long it takes is up to the test."""

    def __init__(self) -> None:
        self.made: list[Conn] = []
        self.closed: list[Conn] = []
        self.open = asyncio.Event()
        self.open.set()
        self.create_error: Exception | None = None
        self.check_error: Exception | None = None
        self.close_error: Exception | None = None
        self.arrive_dead = 0

    async def make_connection(self) -> Conn:
        await self.open.wait()
        if self.create_error is not None:
            error, self.create_error = self.create_error, None
            raise error
        self.made.append(Conn())
        if len(self.made) <= self.arrive_dead:
            self.made[-1].dead = True
        return self.made[-1]

    def connection_is_closed(self, conn: Conn) -> bool:
        if self.check_error is not None:
            error, self.check_error = self.check_error, None
            raise error
        return conn.dead

    async def close_connection(self, conn: Conn) -> None:
        self.closed.append(conn)
        if self.close_error is not None:
            raise self.close_error


Pool: TypeAlias = ancestor.ConnectionPool[Conn] | ConnectionPool[Conn]
Scene: TypeAlias = Callable[[Pool, Old], Awaitable[object]]


def there(strategy: Old, max_size: int = 1, burst_limit: int | None = None) -> ancestor.ConnectionPool[Conn]:
    return ancestor.ConnectionPool(strategy=strategy, max_size=max_size, burst_limit=burst_limit)


def here(strategy: Old, max_size: int = 1, burst_limit: int | None = None, **options: Any) -> ConnectionPool[Conn]:
    return ConnectionPool(strategy=adapt_strategy(strategy), max_size=max_size, burst_limit=burst_limit, **options)


async def both(scene: Scene, max_size: int = 1, burst_limit: int | None = None) -> tuple[object, object]:
    """What comes of one scene with the ancestor, and with this pool."""
    old, new = Old(), Old()
    then = await scene(there(old, max_size, burst_limit), old)
    async with here(new, max_size, burst_limit) as pool:
        return then, await scene(pool, new)


async def use(pool: Pool, until: asyncio.Event | None = None) -> Conn:
    async with pool.get_connection() as conn:
        if until is not None:
            await until.wait()
        return conn


async def outcome(task: "asyncio.Future[Any]") -> object:
    """How a task ends within a few steps: its result, the type of what it raised, or that it hangs."""
    await steps(30)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        return "hangs"
    error = task.exception()
    return task.result() if error is None else type(error)


def start(pool: Pool, until: asyncio.Event | None = None) -> "asyncio.Task[Conn]":
    return asyncio.ensure_future(use(pool, until))


# ---- the page


def page() -> dict[str, Any]:
    """What the page's code defines, run from top to bottom."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(PAGE, "python"):
        names = {**names}  # what it defined keeps the names that it saw
        exec(compile(block, "docs/migration.md", "exec"), names)
    return names


@pytest.mark.parametrize("make", ["make_pool", "make_adapted_pool", "make_new_pool", "make_datadog_pool"])
async def test_every_pool_of_the_page_lends(make: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old one, the adapted one, the new one and Datadog's: the same body, with the same line given twice."""
    monkeypatch.setattr(tracer, "enabled", False)  # there is no agent
    pool = page()[make]()
    lines = []
    for _ in range(2):
        async with pool.get_connection() as line:
            assert line.open
            lines.append(line)
    assert lines[0] is lines[1]
    if isinstance(pool, ConnectionPool):
        await pool.close()
        assert not lines[0].open


async def test_redis_pool_of_the_page_lends(server: Valkey) -> None:
    """Text comes back as text, as with aioredis' encoding."""
    async with (
        page()["make_redis_pool"](f"redis://{server.host}:{server.port}") as pool,
        pool.get_connection() as redis,
    ):
        await redis.set("key", "text", ex=10)
        assert await redis.get("key") == "text"


def test_each_difference_of_the_page_has_its_test() -> None:
    """Its heading is the name of a test below, in the same order, and no test of a difference is without a heading."""
    headings = re.findall(r"^### (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    below = Path(__file__).read_text().partition("\n# ---- the differences")[2]
    assert [f"test_{heading.lower().replace(' ', '_')}" for heading in headings] == re.findall(r"def (test_\w+)", below)


def rows() -> list[tuple[str, str]]:
    return re.findall(r"^\| `pool\.(\w+)` \| `pool\.stats\(\)\.(\w+)` \|$", PAGE.read_text(), flags=re.MULTILINE)


async def test_what_the_pool_no_longer_has_is_in_its_stats() -> None:
    """The page's table: each name on its left is the ancestor's alone, each on its right this pool's."""
    then, now = there(Old()), here(Old())
    assert len(rows()) == 6
    for old, new in rows():
        assert hasattr(then, old)
        assert getattr(now.stats(), new) == 0
    for old in ("in_use", "currently_allocating", "currently_deallocating", "available", "strategy", "_get_conn"):
        assert hasattr(then, old)
        assert not hasattr(now, old)


# ---- the differences: the strategy


async def test_make_connection_is_called_create_connection() -> None:
    """A strategy by the ancestor's README cannot be built there."""

    class ByItsReadme(ancestor.ConnectionStrategy[Conn]):
        async def create_connection(self) -> Conn:
            return Conn()

        def connection_is_closed(self, conn: Conn) -> bool:
            return False

        async def close_connection(self, conn: Conn) -> None: ...

    abstract: Any = ByItsReadme
    with pytest.raises(TypeError, match="make_connection"):
        abstract()
    async with here(Old()) as pool:
        assert isinstance(await use(pool), Conn)


async def test_close_connection_may_be_a_plain_function_or_an_async_def() -> None:
    """Either closes a burst connection, there and here."""

    class Plain(Old):
        def close_connection(self, conn: Conn) -> None:  # type: ignore[override]  # as for 0.1.1
            self.closed.append(conn)

    for make in (there, here):
        for strategy in (Old(), Plain()):
            pool: Any = make(strategy, 1, 2)
            async with pool.get_connection(), pool.get_connection():
                pass
            assert len(strategy.closed) == 1
            if make is here:
                await pool.close()


async def test_a_check_that_raises_costs_the_connection_and_not_the_caller() -> None:
    """There, the caller is told what the check raised."""

    async def scene(pool: Pool, strategy: Old) -> object:
        await use(pool)
        strategy.check_error = KeyError()
        return await outcome(start(pool))

    then, now = await both(scene)
    assert then is KeyError
    assert isinstance(now, Conn)


async def test_a_dead_connection_is_given_to_close_connection() -> None:
    """There it is dropped."""

    async def scene(pool: Pool, strategy: Old) -> object:
        (await use(pool)).dead = True
        await use(pool)
        await steps()
        return len(strategy.closed)

    assert await both(scene) == (0, 1)


async def test_connections_that_arrive_dead_are_retried_with_a_pause() -> None:
    """Loop steps suffice there to make hundreds."""

    async def scene(pool: Pool, strategy: Old) -> object:
        strategy.arrive_dead = sys.maxsize
        task = start(pool)
        await steps(1000)
        strategy.arrive_dead = 0
        await asyncio.wait({task})
        return len(strategy.made)

    then, now = await both(scene)
    assert isinstance(then, int)
    assert isinstance(now, int)
    assert then > 100
    assert now < 10


# ---- the pool


async def test_sizes_are_checked() -> None:
    """There, a pool of none lets its callers hang."""
    assert await outcome(start(there(Old(), 0))) == "hangs"
    with pytest.raises(ValueError, match="max_size"):
        here(Old(), 0)
    for make in (there, here):
        with pytest.raises(ValueError, match=r"^burst_limit must be greater than or equal to max_size"):
            make(Old(), 2, 1)


def test_a_pool_belongs_to_the_loop_of_its_first_use() -> None:
    """There, to that of its constructor."""

    async def build(make: Callable[[Old], Pool]) -> Pool:
        return make(Old())

    async def close(pool: ConnectionPool[Conn]) -> None:
        await use(pool)
        await pool.close()

    with asyncio.Runner() as first, asyncio.Runner() as second:
        with pytest.raises(RuntimeError):
            second.run(use(first.run(build(there))))
        second.run(close(here(Old())))
        pool = here(Old())
        first.run(use(pool))
        with pytest.raises(PoolLoopError) as refused:
            second.run(use(pool))
        assert not isinstance(refused.value, RuntimeError)
        first.run(pool.close())
    gc.collect()


async def test_sizes_may_be_set_at_run_time() -> None:
    """There, who waits is not served, and the second connection does not stay."""

    async def scene(pool: Pool, strategy: Old) -> object:
        end = asyncio.Event()
        holder, waiting = start(pool, end), start(pool, end)
        await steps()
        pool.max_size = 2
        await steps()
        served = len(strategy.made) == 2
        end.set()
        await asyncio.wait({holder, waiting})
        async with pool.get_connection(), pool.get_connection():
            pass
        await steps()
        return served, len(strategy.closed)

    assert await both(scene) == ((False, 1), (True, 0))


async def test_a_pool_can_be_closed() -> None:
    """And one that is not says so when it is dropped."""
    assert not hasattr(there(Old()), "close")
    strategy = Old()
    async with here(strategy) as pool:
        await use(pool)
    assert strategy.closed == strategy.made
    dropped = here(Old())
    await use(dropped)
    await steps()
    with pytest.warns(ResourceWarning, match="never closed"):
        del dropped  # refers to itself nowhere, so that is the end of it


# ---- getting a connection


def test_a_caller_gives_up_after_30_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """There it waits for ever: after a day it still does."""
    monkeypatch.setattr(CLOCK, "seconds", START)
    monkeypatch.setattr(_pool, "monotonic", CLOCK.now)
    monkeypatch.setattr(_bus, "monotonic", CLOCK.now)

    async def scene(pool: Pool) -> object:
        async with pool.get_connection():
            began = asyncio.get_running_loop().time()
            waiting = start(pool)
            await asyncio.wait({waiting}, timeout=86400)
            waited = asyncio.get_running_loop().time() - began
            return await outcome(waiting), round(waited)

    async def scenes() -> tuple[object, object]:
        then = await scene(there(Old()))
        async with here(Old()) as pool:
            return then, await scene(pool)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(scenes()) == (("hangs", 86400), (PoolTimeoutError, 30))
    assert issubclass(PoolTimeoutError, TimeoutError)


async def test_tasks_that_wait_for_each_other_are_told_at_once() -> None:
    """There they hang."""

    async def scene(pool: Pool, strategy: Old) -> object:
        async def nested() -> None:
            async with pool.get_connection(), pool.get_connection():
                pass

        waiting = asyncio.ensure_future(nested())
        await asyncio.wait({waiting}, timeout=0.1)
        return await outcome(waiting)

    assert await both(scene) == ("hangs", PoolDeadlockError)


async def test_a_cancelled_caller_loses_nothing() -> None:
    """There its slot is gone, and with it the pool of one."""

    async def scene(pool: Pool, strategy: Old) -> object:
        early = start(pool)
        await asyncio.sleep(0)
        early.cancel()
        return await outcome(start(pool))

    then, now = await both(scene)
    assert then == "hangs"
    assert isinstance(now, Conn)


async def test_callers_are_served_first_come_first() -> None:
    """There, who gives back and asks again is served a hundred times before who waits."""

    async def scene(pool: Pool, strategy: Old) -> object:
        async with pool.get_connection():
            waiting = start(pool)
            await steps()
        served = 0
        while served < 100 and not waiting.done():
            async with pool.get_connection():
                served += 1
        await asyncio.wait({waiting})
        return served

    then, now = await both(scene)
    assert then == 100
    assert now in (0, 1)


async def test_a_caller_takes_whatever_comes_first() -> None:
    """There it waits for its own creation, and what came back is closed."""

    async def scene(pool: Pool, strategy: Old) -> object:
        served = asyncio.Event()
        async with pool.get_connection() as warm:
            strategy.open.clear()
            connecting = start(pool, served)
            await steps()
        closed = len(strategy.closed)
        strategy.open.set()
        served.set()
        return await connecting is warm, closed

    assert await both(scene, 1, 2) == ((False, 1), (True, 0))


async def test_a_creation_outlives_the_caller_that_asked() -> None:
    """There it dies with it."""

    async def scene(pool: Pool, strategy: Old) -> object:
        strategy.open.clear()
        impatient = start(pool)
        await steps()
        impatient.cancel()
        await steps()
        strategy.open.set()
        await steps()
        return len(strategy.made)

    assert await both(scene) == (0, 1)


async def test_a_failed_creation_leaves_nobody_waiting() -> None:
    """There, who waited behind it hangs."""

    async def scene(pool: Pool, strategy: Old) -> object:
        strategy.open.clear()
        strategy.create_error = OSError()
        asked, behind = start(pool), start(pool)
        await steps()
        strategy.open.set()
        return await outcome(asked), type(await outcome(behind))

    assert await both(scene) == ((OSError, str), (OSError, Conn))


async def test_the_connection_used_last_is_lent_first() -> None:
    """There, the one that has rested the longest."""

    async def scene(pool: Pool, strategy: Old) -> object:
        async with pool.get_connection() as given_back_last, pool.get_connection():
            pass
        return await use(pool) is given_back_last

    assert await both(scene, 2) == (False, True)


async def test_what_get_connection_returns_is_no_decorator() -> None:
    """There it happens to be one."""
    assert callable(there(Old()).get_connection())
    assert not callable(here(Old()).get_connection())


# ---- giving it back


async def test_a_connection_is_closed_after_its_body_was_cancelled() -> None:
    """There the next caller has it; after an Exception it has it here, too."""

    async def scene(pool: Pool, strategy: Old) -> object:
        busy = start(pool, asyncio.Event())
        await steps()
        busy.cancel()
        await asyncio.wait({busy})
        await steps()
        after_cancellation = await use(pool)
        with pytest.raises(KeyError):
            async with pool.get_connection():
                raise KeyError
        return after_cancellation is strategy.made[0], await use(pool) is after_cancellation

    assert await both(scene) == ((True, True), (False, True))


async def test_a_burst_connection_is_kept_while_anybody_waits() -> None:
    """There, who has only just begun to wait is overlooked."""

    async def scene(pool: Pool, strategy: Old) -> object:
        end = asyncio.Event()
        async with pool.get_connection():
            async with pool.get_connection() as second:
                waiting = start(pool, end)
                await asyncio.sleep(0)
            closed = len(strategy.closed)
        end.set()
        return await waiting is second, closed

    assert await both(scene, 1, 2) == ((False, 1), (True, 0))


async def test_a_close_error_does_not_hide_the_error_of_the_body() -> None:
    """There it does. After a good body it is raised by both."""

    async def scene(pool: Pool, strategy: Old) -> object:
        raised = []
        strategy.close_error = OSError()
        for wrong in (KeyError, None):
            try:
                async with pool.get_connection(), pool.get_connection():
                    if wrong is not None:
                        raise wrong
            except (KeyError, OSError) as error:
                raised.append(type(error))
        strategy.close_error = None
        return raised

    assert await both(scene, 1, 2) == ([OSError, OSError], [KeyError, OSError])
