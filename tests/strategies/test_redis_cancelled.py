"""The cancel sweep beside a real server: at whatever moment a caller is cancelled, the next one is served."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest
from redis.asyncio import Redis

from instrumented_pool import ConnectionPool
from instrumented_pool._servers import Valkey
from instrumented_pool.strategies.redis import RedisConnectionStrategy
from instrumented_pool.testing import RecordingObserver, sweep_cancellations

Pool: TypeAlias = "ConnectionPool[Redis]"


def one_connection_to(
    server: Valkey, recorder: RecordingObserver, **options: Any
) -> Callable[[], Coroutine[Any, Any, Pool]]:
    async def setup() -> Pool:
        strategy = RedisConnectionStrategy(server.url, **options)
        return ConnectionPool(strategy=strategy, max_size=1, observers=[recorder])

    return setup


async def order(pool: Pool) -> None:
    async with pool.get_connection() as redis:
        await redis.incr("orders")
        await redis.get("orders")


async def next_one_reads_its_own_reply(pool: Pool) -> None:
    async with pool, pool.get_connection(timeout=5.0) as redis:
        assert await redis.echo("mine") == b"mine"


@pytest.mark.parametrize("repeatedly", [False, True])
def test_caller_cancelled_anywhere_leaves_its_slot_and_no_reply_behind(server: Valkey, repeatedly: bool) -> None:
    """While it connects, sends, waits for a reply, or gives the connection back."""
    recorder = RecordingObserver()
    setup, check = one_connection_to(server, recorder), next_one_reads_its_own_reply
    assert sweep_cancellations(order, setup=setup, check=check, repeatedly=repeatedly) > 10
    recorder.assert_paired()


def test_cancellation_that_redis_py_loses_costs_the_pool_nothing(server: Valkey) -> None:
    """Until 3.12, `asyncio.wait_for`, in which redis-py writes, swallows one that comes as the write ends.

    The task goes on as if nobody had cancelled it, and the pool must not take it for gone: it is whole either way.
    """
    lost = []

    async def told_too_late(pool: Pool) -> None:
        await order(pool)
        task = asyncio.current_task()
        assert task is not None
        lost.append(task.cancelling() > 0)

    async def check(pool: Pool) -> None:
        assert pool.stats().in_use == 0
        await next_one_reads_its_own_reply(pool)

    setup = one_connection_to(server, RecordingObserver(), socket_timeout=5.0)
    sweep_cancellations(told_too_late, setup=setup, check=check)
    assert any(lost) == (sys.version_info < (3, 12))
