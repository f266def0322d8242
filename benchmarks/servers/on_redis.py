"""Pools of redis-py's connections to Valkey."""

from functools import partial
from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis

from instrumented_pool.strategies.redis import RedisConnectionStrategy

from .contestants import Builders, Contestant, Ours
from .telemetry import Telemetry, ours_observed


class OursOnRedis(Ours):
    def strategy(self, url: str) -> RedisConnectionStrategy:
        return RedisConnectionStrategy(url)

    async def query(self, conn: Redis, token: int) -> int:
        return int(await conn.echo(str(token)))


class RedisPool(Contestant):
    """One of redis-py's own, by a client of it, which acquires and releases within each command."""

    def __init__(self, pool: Any, telemetry: Telemetry | None = None) -> None:
        self.pool = pool
        self.client = Redis.from_pool(pool)
        self.lease = partial(_RedisLease, pool)
        self.telemetry = telemetry
        if telemetry is not None:
            telemetry.watch_redis()

    async def query(self, conn: Any, token: int) -> int:
        await conn.send_command("ECHO", str(token))
        return int(await conn.read_response())

    async def ask(self, token: int) -> int:
        return int(await self.client.echo(str(token)))

    async def close(self) -> None:
        await self.client.aclose()
        if self.telemetry is not None:
            self.telemetry.end()


class _RedisLease:
    """The two calls with which its client surrounds a command."""

    __slots__ = ("conn", "pool")

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    async def __aenter__(self) -> Any:
        self.conn = await self.pool.get_connection()
        return self.conn

    async def __aexit__(self, *exc: object) -> None:
        await self.pool.release(self.conn)


def _blocking(url: str, size: int, telemetry: Telemetry | None = None) -> RedisPool:
    return RedisPool(BlockingConnectionPool.from_url(url, max_connections=size), telemetry)


def _default(url: str, size: int) -> RedisPool:
    """It does not let anybody wait, and opens up to a hundred connections: a limit of `size` would refuse the rest."""
    return RedisPool(ConnectionPool.from_url(url))


POOLS: Builders = {
    "instrumented-pool": OursOnRedis,
    "BlockingConnectionPool": _blocking,
    "redis-py's default": _default,
}

OBSERVED: Builders = {
    **ours_observed(OursOnRedis),
    "BlockingConnectionPool": _blocking,
    "BlockingConnectionPool, OpenTelemetry": lambda url, size: _blocking(url, size, Telemetry()),
}
