"""Pools of asyncpg's connections to PostgreSQL."""

from functools import partial
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has none that mypy finds
import generic_connection_pool.asyncio
from generic_connection_pool.contrib.asyncpg import DbConnectionManager
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from instrumented_pool.strategies.asyncpg import AsyncpgConnectionStrategy

from .contestants import Builders, Contestant, Ours
from .telemetry import Telemetry, ours_observed

QUERY = "SELECT $1::int"


class _Asyncpg(Contestant):
    async def query(self, conn: Any, token: int) -> int:
        reply: int = await conn.fetchval(QUERY, token)
        return reply


class OursOnAsyncpg(_Asyncpg, Ours):
    def strategy(self, url: str) -> AsyncpgConnectionStrategy:
        return AsyncpgConnectionStrategy(url)


class AsyncpgPool(_Asyncpg):
    """asyncpg's own: at each release it sends four statements that reset the session, and waits for the reply."""

    def __init__(self, url: str, size: int, **options: Any) -> None:
        self.pool: Any = asyncpg.create_pool(url, min_size=size, max_size=size, **options)
        self.lease = self.pool.acquire

    async def open(self) -> None:
        await self.pool

    async def close(self) -> None:
        await self.pool.close()


async def _leave_as_it_is(conn: object) -> None:
    """Instead of asyncpg's reset."""


class SqlAlchemyPool(_Asyncpg):
    """The pool of an engine alone. The query is the driver's own, so it is for the borrower to say when it failed."""

    def __init__(self, url: str, size: int) -> None:
        self.engine = _engine(url, size)
        self.lease = partial(_RawLease, self)

    async def close(self) -> None:
        await self.engine.dispose()


class _RawLease:
    __slots__ = ("conn", "contestant")

    conn: PoolProxiedConnection

    def __init__(self, contestant: SqlAlchemyPool) -> None:
        self.contestant = contestant

    async def __aenter__(self) -> Any:
        self.conn = await self.contestant.engine.raw_connection()
        return self.conn.driver_connection

    async def __aexit__(self, kind: object, *exc: object) -> None:
        if kind is not None:
            await greenlet_spawn(self.conn.invalidate)
        await greenlet_spawn(self.conn.close)


class SqlAlchemyEngine(Contestant):
    """An engine as its users have it, which also runs the query, in the mode that opens no transaction."""

    def __init__(self, url: str, size: int, telemetry: Telemetry | None = None) -> None:
        self.engine = _engine(url, size)
        self.lease = self.engine.connect
        self.telemetry = telemetry
        if telemetry is not None:
            telemetry.watch_engine(self.engine.sync_engine)

    async def query(self, conn: AsyncConnection, token: int) -> int:
        result = await conn.exec_driver_sql(QUERY, (token,))
        reply: int = result.scalar_one()
        return reply

    async def close(self) -> None:
        await self.engine.dispose()
        if self.telemetry is not None:
            self.telemetry.end()


def _engine(url: str, size: int) -> Any:
    where = url.replace("postgresql", "postgresql+asyncpg", 1)
    return create_async_engine(where, pool_size=size, max_overflow=0, isolation_level="AUTOCOMMIT")


class _Manager(DbConnectionManager[Any]):
    """Its own for asyncpg, whose check says of every open connection that it is dead: here it says the opposite."""

    async def check_aliveness(self, endpoint: str, conn: Any, timeout: float | None = None) -> bool:
        return not await super().check_aliveness(endpoint, conn, timeout)


class Generic(_Asyncpg):
    def __init__(self, url: str, size: int) -> None:
        manager: Any = _Manager({"server": {"dsn": url}})
        self.pool: Any = generic_connection_pool.asyncio.ConnectionPool(
            manager, background_collector=True, min_idle=size, max_size=size, total_max_size=size
        )
        self.lease = partial(self.pool.connection, "server")

    async def close(self) -> None:
        await self.pool.close()


POOLS: Builders = {
    "instrumented-pool": OursOnAsyncpg,
    "asyncpg.Pool": AsyncpgPool,
    "asyncpg.Pool, no reset": partial(AsyncpgPool, reset=_leave_as_it_is),
    "SQLAlchemy, its pool": SqlAlchemyPool,
    "SQLAlchemy, its engine": SqlAlchemyEngine,
    "generic-connection-pool": Generic,
}

OBSERVED: Builders = {
    **ours_observed(OursOnAsyncpg),
    "SQLAlchemy, its engine": SqlAlchemyEngine,
    "SQLAlchemy, its engine, OpenTelemetry": lambda url, size: SqlAlchemyEngine(url, size, Telemetry()),
}
