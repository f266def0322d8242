"""Time-outs and cancellations that race with hand-offs, creations and closes, thousands of them."""

import asyncio
from contextlib import suppress
from random import Random

import pytest

from support.fakes import Pool
from support.giving_up import MOMENT, WAYS_TO_GIVE_UP, at_rest, borrow
from support.whole import assert_whole

CALLERS, TIMES, GROUPS = 40, 60, 60

pytestmark = pytest.mark.parametrize("chaos", ["plain", "careful"], indirect=True)


async def test_callers_that_give_up_at_any_moment_lose_nothing(pool: Pool, random: Random) -> None:
    """Who came to use a connection, and nobody else, was counted as having acquired one."""
    used = 0

    async def use() -> None:
        nonlocal used
        used += 1
        assert_whole(pool)
        await asyncio.sleep(random.uniform(0, MOMENT))
        if random.random() < 0.05:
            raise ValueError("in the body")

    async def caller() -> None:
        for _ in range(TIMES):
            try:
                await random.choice(WAYS_TO_GIVE_UP)(pool, use, random.uniform(0, 4 * MOMENT))
            except (TimeoutError, OSError, ValueError):
                assert_whole(pool)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    stats = pool.stats()
    assert sum(stats.acquired.values()) == used
    assert sum(stats.acquired.values()) + sum(stats.failed.values()) == stats.acquires
    assert min(used, sum(stats.failed.values())) > CALLERS, "too little happened to have tested anything"


async def test_siblings_of_a_task_that_fails_give_everything_back(pool: Pool, random: Random) -> None:
    """A TaskGroup cancels them in the queue, in the hand-off, in their bodies and while they leave."""

    async def use() -> None:
        await asyncio.sleep(random.uniform(0, MOMENT))

    async def fail() -> None:
        await asyncio.sleep(random.uniform(0, 2 * MOMENT))
        raise ValueError("of a sibling")

    for _ in range(GROUPS):
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(8):
                    group.create_task(borrow(pool, use))
                group.create_task(borrow(pool, fail) if random.random() < 0.5 else fail())
        except* (ValueError, OSError):
            pass
        assert_whole(pool)
        await at_rest(pool)
        assert (pool.stats().in_use, pool.stats().waiting) == (0, 0)


async def test_limits_and_connections_that_change_under_callers_lose_nothing(pool: Pool, random: Random) -> None:
    """`clear()` and other sizes at any moment, while callers come and give up."""

    async def use() -> None:
        await asyncio.sleep(random.uniform(0, MOMENT))

    async def caller() -> None:
        for _ in range(TIMES):
            with suppress(TimeoutError, OSError):
                await random.choice(WAYS_TO_GIVE_UP)(pool, use, random.uniform(0, 4 * MOMENT))

    async def owner() -> None:
        while True:
            await asyncio.sleep(random.uniform(0, 2 * MOMENT))
            pool.burst_limit = None
            pool.max_size = random.randint(1, 4)
            pool.burst_limit = pool.max_size + random.randint(0, 3)
            if random.random() < 0.3:
                pool.clear()
            assert_whole(pool, limit=7)

    changing = asyncio.create_task(owner())
    await asyncio.gather(*(caller() for _ in range(CALLERS // 2)))
    changing.cancel()
    await asyncio.wait({changing})
    assert changing.cancelled()
