import asyncio

from instrumented_pool import ConnectionPool, PoolTimeoutError
from instrumented_pool.strategies.redis import RedisConnectionStrategy
from instrumented_pool_structlog import StructlogObserver

strategy = RedisConnectionStrategy("redis://localhost:6379")
pool = ConnectionPool(strategy=strategy, max_size=2, burst_limit=3, name="orders", observers=[StructlogObserver()])


async def order(number: int) -> None:
    async with pool.get_connection() as redis:
        await redis.set(f"order:{number}", "paid")


async def audit() -> None:
    async with pool.get_connection():
        await asyncio.Event().wait()  # a bug: nobody ever sets it


async def main() -> None:
    async with pool:
        await asyncio.gather(*(order(number) for number in range(20)))
        print("20 orders, from connections that were", dict(pool.stats().acquired))
        stuck = [asyncio.create_task(audit(), name=f"audit-{number}") for number in range(3)]
        await asyncio.sleep(0.1)
        try:
            async with pool.get_connection(timeout=0.5) as redis:
                await redis.ping()
        except PoolTimeoutError as error:
            print(error)
        for task in stuck:
            task.cancel()


asyncio.run(main())
