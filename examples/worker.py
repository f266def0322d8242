"""A worker that takes orders from Redis and keeps them in PostgreSQL. docs/examples.md says how to run it."""

import asyncio
import logging
import os
import signal
from typing import Any

import psycopg
from opentelemetry import trace
from redis.exceptions import RedisError

from instrumented_pool import ConnectionPool, PoolError, PoolTimeoutError
from instrumented_pool.redaction import describe_error
from instrumented_pool.strategies.psycopg import PsycopgConnectionStrategy
from instrumented_pool.strategies.redis import RedisConnectionStrategy
from instrumented_pool_otel import OTelObserver

CONSUMERS = 4
GRACE = float(os.environ.get("GRACE", "10"))  # seconds in which to finish, once told to stop

logger = logging.getLogger("worker")
tracer = trace.get_tracer("worker")
observer = OTelObserver()
queue = ConnectionPool(
    strategy=RedisConnectionStrategy(os.environ["REDIS_URL"], decode_responses=True),
    name="queue",
    max_size=CONSUMERS,  # each holds one while it waits for an order
    observers=[observer],
)
database = ConnectionPool(
    strategy=PsycopgConnectionStrategy(os.environ["DATABASE_URL"]), name="database", max_size=2, observers=[observer]
)


async def take(mine: str) -> str | None:
    """The next order, or None after a second. It stays in the consumer's own list until it is done, come what may."""
    async with queue.get_connection() as redis:
        order = await redis.lindex(mine, -1) or await redis.blmove("orders", mine, 1)
        return None if order is None else str(order)


async def keep(order: str) -> None:
    """Keep it, once: it may come again, if something went wrong before it was done."""
    number, _, item = order.partition(" ")
    async with database.get_connection() as connection, connection.transaction():
        await connection.execute("INSERT INTO orders VALUES (%s, %s) ON CONFLICT DO NOTHING", (number, item))


async def done(mine: str, order: str) -> None:
    async with queue.get_connection() as redis:
        await redis.lrem(mine, 1, order)


async def consume(mine: str, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            if order := await take(mine):
                with tracer.start_as_current_span("order"):
                    await keep(order)
                    await done(mine, order)
        except (PoolError, OSError, RedisError, psycopg.Error) as error:
            logger.warning("once more in a second: %s", describe_error(error))
            await asyncio.sleep(1)


async def close(pool: ConnectionPool[Any]) -> None:
    try:
        await pool.close(timeout=1.0)
    except PoolTimeoutError as error:
        logger.warning("%s", error)  # names who still holds a connection, and what they do with it


async def main() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with database.get_connection() as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS orders (number text PRIMARY KEY, item text)")
        await connection.commit()
    async with asyncio.TaskGroup() as group:
        names = [f"orders:{number}" for number in range(CONSUMERS)]
        consumers = [group.create_task(consume(name, stopping), name=name) for name in names]
        logger.info("working")
        await stopping.wait()
        logger.info("stopping")
        _, late = await asyncio.wait(consumers, timeout=GRACE)
        await asyncio.gather(close(database), close(queue))
        for consumer in late:
            consumer.cancel()
    logger.info("stopped, with %d unfinished", len(late))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    asyncio.run(main())
