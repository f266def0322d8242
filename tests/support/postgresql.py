"""The two drivers of PostgreSQL, as far as tests do the same with both."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg  # type: ignore[import-untyped]

from instrumented_pool import ConnectionStrategy
from instrumented_pool._servers import Postgres, Proxy
from instrumented_pool.strategies.asyncpg import AsyncpgConnectionStrategy
from instrumented_pool.strategies.psycopg import PsycopgConnectionStrategy

Strategy: TypeAlias = ConnectionStrategy[Any]

_names = itertools.count(1)


@dataclass(frozen=True)
class Driver:
    """One of them. `ask(conn, token, seconds)` has the server reply with the token, after so many seconds."""

    name: str
    strategy: Callable[..., Strategy]
    ask: Callable[..., Awaitable[str]]


async def _ask_asyncpg(conn: Any, token: str, seconds: float = 0.0) -> str:
    reply: str = await conn.fetchval("SELECT $1::text FROM pg_sleep($2)", token, seconds)
    return reply


async def _ask_psycopg(conn: Any, token: str, seconds: float = 0.0) -> str:
    cursor = await conn.execute("SELECT %s::text FROM pg_sleep(%s)", [token, seconds])
    (reply,) = await cursor.fetchone()
    return str(reply)


ASYNCPG = Driver("asyncpg", AsyncpgConnectionStrategy, _ask_asyncpg)
PSYCOPG = Driver("psycopg", PsycopgConnectionStrategy, _ask_psycopg)
DRIVERS = [ASYNCPG, PSYCOPG]


@dataclass(frozen=True)
class Way:
    """To the server by way of a proxy, under a name that no other test's connections have."""

    driver: Driver
    postgres: Postgres
    proxy: Proxy
    name: str

    @property
    def url(self) -> str:
        """A DSN for the driver."""
        where = f"{self.postgres.user}@{self.proxy.host}:{self.proxy.port}/{self.postgres.database}"
        return f"postgresql://{where}?application_name={self.name}"

    def strategy(self, **kwargs: Any) -> Strategy:
        """The strategy under test."""
        return self.driver.strategy(self.url, **kwargs)

    async def ask_server(self, query: str, *args: object) -> Any:
        """Ask the server itself, on a connection of its own."""
        conn = await asyncpg.connect(self.postgres.url)
        try:
            return await conn.fetchval(query, *args)
        finally:
            await conn.close()

    async def count(self) -> int:
        """How many connections of ours the server has."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
        count: int = await self.ask_server(query, self.name)
        return count

    async def has(self, count: int) -> None:
        """Wait until the server has so many of ours: it may need a moment to notice that one has gone."""
        async with asyncio.timeout(10):
            while await self.count() != count:
                await asyncio.sleep(0.01)


def way_to(postgres: Postgres, proxy: Proxy, driver: Driver) -> Way:
    """With a name of its own."""
    return Way(driver, postgres, proxy, f"test-{next(_names)}")


async def closed(strategy: Strategy, conn: Any) -> None:
    """Have the strategy close it, and wait where that is to be waited for."""
    pending = strategy.close_connection(conn)
    if pending is not None:
        await pending
