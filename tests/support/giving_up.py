"""Callers who give up, in every way that asyncio knows."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

from .fakes import Pool

Body: TypeAlias = Callable[[], Awaitable[None]]

MOMENT = 0.002  # seconds: connecting takes less, and so does a body; patience lasts a few of them


async def at_rest(pool: Pool) -> None:
    """Wait until the pool has nothing under way that it does by itself: a reset outlives a borrower that gives up."""
    async with asyncio.timeout(10):
        while pool._errands:
            await asyncio.sleep(MOMENT / 10)


async def borrow(pool: Pool, use: Body, timeout: float | None = None) -> None:
    async with pool.get_connection(timeout=timeout):
        await use()


async def with_the_pools_timeout(pool: Pool, use: Body, patience: float) -> None:
    await borrow(pool, use, patience)


async def with_asyncio_timeout(pool: Pool, use: Body, patience: float) -> None:
    async with asyncio.timeout(patience):
        await borrow(pool, use)


async def with_wait_for(pool: Pool, use: Body, patience: float) -> None:
    await asyncio.wait_for(borrow(pool, use), patience)


async def with_wait_for_around_the_entry(pool: Pool, use: Body, patience: float) -> None:
    """On Python 3.11 the entry runs in a task of its own, and the exit in another."""
    async with AsyncExitStack() as stack:
        await asyncio.wait_for(stack.enter_async_context(pool.get_connection(timeout=None)), patience)
        await use()


async def cancelled_by_another_task(pool: Pool, use: Body, patience: float) -> None:
    task = asyncio.create_task(borrow(pool, use))
    await asyncio.wait({task}, timeout=patience)
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


WAYS_TO_GIVE_UP = (
    with_the_pools_timeout,
    with_asyncio_timeout,
    with_wait_for,
    with_wait_for_around_the_entry,
    cancelled_by_another_task,
)
