"""Frameworks that enter a generator of ours in one task and leave it in another."""

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Any, TypeVar

import pytest

from instrumented_pool.testing import FakeConnection
from support.fakes import Pool
from support.giving_up import MOMENT
from support.whole import assert_whole

T = TypeVar("T")


async def dependency(pool: Pool) -> AsyncIterator[FakeConnection]:
    """As FastAPI and its like are given one."""
    async with pool.get_connection(timeout=2 * MOMENT) as conn:
        yield conn


def dependency_of(pool: Pool) -> AbstractAsyncContextManager[FakeConnection]:
    """As they drive it."""
    return asynccontextmanager(dependency)(pool)


async def elsewhere(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it in a task of its own, which is over then."""
    return await asyncio.create_task(coroutine, name="elsewhere")


async def enter(lent: AbstractAsyncContextManager[T]) -> T:
    return await lent.__aenter__()


async def leave(lent: AbstractAsyncContextManager[object], error: BaseException | None = None) -> None:
    """As frameworks do it: the error of the request goes back into the generator."""
    try:
        await lent.__aexit__(None if error is None else type(error), error, None)
    except BaseException as raised:
        if raised is not error:
            raise


@pytest.fixture
async def lent(pool: Pool, calm: None) -> AsyncIterator[FakeConnection]:
    """A connection for the whole of a test; pytest-asyncio ends a fixture in another task than it began in."""
    async with pool.get_connection() as conn:
        yield conn
    assert pool.stats().idle == 2


async def test_fixture_may_lend_a_connection(pool: Pool, lent: FakeConnection) -> None:
    """Beside which the test borrows another."""
    async with pool.get_connection() as another:
        assert another is not lent
        assert pool.stats().in_use == 2


@pytest.mark.usefixtures("calm")
async def test_connection_borrowed_in_a_task_that_is_over_is_given_back_in_another(pool: Pool) -> None:
    """In between, `holders()` knows that the task has ended."""
    lent = dependency_of(pool)
    await elsewhere(enter(lent))
    (holder,) = pool.holders()
    assert holder.task == "elsewhere"
    assert "finished" in holder.where[-1]
    await elsewhere(leave(lent))
    assert (pool.stats().in_use, pool.stats().idle) == (0, 1)


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize(("error", "idle"), [(ValueError(), 1), (asyncio.CancelledError(), 0)])
async def test_error_of_the_request_decides_over_the_connection(pool: Pool, error: BaseException, idle: int) -> None:
    """Although it was raised in a third task."""
    lent = dependency_of(pool)
    await elsewhere(enter(lent))
    await elsewhere(leave(lent, error))
    assert (pool.stats().in_use, pool.stats().idle) == (0, idle)


@pytest.mark.usefixtures("calm")
async def test_forgotten_generator_gives_its_connection_up(pool: Pool) -> None:
    """The loop closes what the garbage collector finds."""
    generator = dependency(pool)
    await anext(generator)
    del generator
    gc.collect()
    while pool.stats().in_use:
        await asyncio.sleep(0)
    assert pool.stats().idle == 0


async def test_requests_that_pass_from_task_to_task_lose_nothing(pool: Pool, random: Random) -> None:
    """Entered, served and left in three tasks each, of which any may be cancelled."""

    async def serve() -> None:
        await asyncio.sleep(random.uniform(0, MOMENT))

    async def impatiently(coroutine: Coroutine[Any, Any, object]) -> None:
        async with asyncio.timeout(random.uniform(0, 4 * MOMENT)):
            await elsewhere(coroutine)

    async def request() -> None:
        lent = dependency_of(pool)
        try:
            await impatiently(enter(lent))
        except (TimeoutError, OSError):
            return
        error: BaseException | None = None
        try:
            await impatiently(serve())
        except TimeoutError:
            error = asyncio.CancelledError()
        await elsewhere(leave(lent, error))
        assert_whole(pool)

    async def client() -> None:
        for _ in range(30):
            await request()

    await asyncio.gather(*(client() for _ in range(20)))
    assert pool.stats().acquires > 500
