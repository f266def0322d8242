"""Requests through a pool of connections to a real server, for `ddtrace-run`: WHOSE pool, and the server's PORT.

WHOSE is `ancestor`, `ours` for our class of the ancestor's name, or `waits` for a pool with the observer's defaults.
"""

import asyncio
import sys
from typing import Any

from ddtrace.trace import tracer
from redis.asyncio import Redis

import instrumented_pool
import instrumented_pool_datadog
from instrumented_pool.compat import adapt_strategy

whose, port = sys.argv[1], int(sys.argv[2])


class Strategy:
    """As the ancestor knew them, and with a command of the driver's own while it connects."""

    def __init__(self) -> None:
        self.made: list[Redis] = []

    async def make_connection(self) -> Redis:
        self.made.append(conn := Redis(port=port, single_connection_client=True))
        await conn.ping()
        return conn

    def connection_is_closed(self, conn: Redis) -> bool:
        return False

    async def close_connection(self, conn: Redis) -> None:
        await conn.aclose()


def build(strategy: Strategy) -> Any:
    if whose == "ancestor":
        from asyncio_connection_pool.contrib.datadog import ConnectionPool

        return ConnectionPool("orders", strategy=strategy, max_size=1)  # type: ignore[arg-type]  # it never checks
    if whose == "ours":
        return instrumented_pool_datadog.ConnectionPool("orders", strategy=strategy, max_size=1)
    observer = instrumented_pool_datadog.DatadogObserver("orders")
    return instrumented_pool.ConnectionPool(strategy=adapt_strategy(strategy), max_size=1, observers=[observer])


async def request(pool: Any, kind: str) -> None:
    with tracer.trace("request", service=whose, resource=kind):
        async with pool.get_connection() as conn:
            await conn.set("order", kind)


async def main() -> None:
    strategy = Strategy()
    pool = build(strategy)
    await request(pool, "new")
    await request(pool, "available")
    async with pool.get_connection() as conn:
        waiter = asyncio.create_task(request(pool, "wait"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await conn.get("order")
    await waiter
    for conn in strategy.made:  # the ancestor closes nothing
        await conn.aclose()


asyncio.run(main())
