import asyncio

from ddtrace.trace import tracer

from instrumented_pool import ConnectionPool
from instrumented_pool.strategies.redis import RedisConnectionStrategy
from instrumented_pool_datadog import DatadogObserver

strategy = RedisConnectionStrategy("redis://localhost:6379")
observer = DatadogObserver("orders")
pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=2, name="orders-db", observers=[observer])


async def order(number: int) -> None:
    with tracer.trace("order", service="orders", resource=f"order {number}"):
        async with pool.get_connection() as redis:
            await redis.set(f"order:{number}", "paid")


async def main() -> None:
    async with pool:
        await asyncio.gather(*(order(number) for number in range(3)))


asyncio.run(main())
