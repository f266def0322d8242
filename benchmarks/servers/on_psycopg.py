"""Pools of psycopg's connections to PostgreSQL, in the mode that opens no transaction."""

from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from instrumented_pool.strategies.psycopg import PsycopgConnectionStrategy

from .contestants import Builders, Contestant, Ours
from .telemetry import ours_observed


class _Psycopg(Contestant):
    async def query(self, conn: AsyncConnection[tuple[Any, ...]], token: int) -> int:
        cursor = await conn.execute("SELECT %s::int", (token,))
        row = await cursor.fetchone()
        return -1 if row is None else int(row[0])


class OursOnPsycopg(_Psycopg, Ours):
    def strategy(self, url: str) -> PsycopgConnectionStrategy:
        return PsycopgConnectionStrategy(url, autocommit=True)


class PsycopgPool(_Psycopg):
    """psycopg's own, which always counts what `get_stats()` tells."""

    def __init__(self, url: str, size: int) -> None:
        self.pool = AsyncConnectionPool(url, kwargs={"autocommit": True}, min_size=size, max_size=size, open=False)
        self.lease = self.pool.connection

    async def open(self) -> None:
        await self.pool.open(wait=True)

    async def close(self) -> None:
        await self.pool.close()


POOLS: Builders = {"instrumented-pool": OursOnPsycopg, "psycopg_pool": PsycopgPool}

OBSERVED: Builders = {**ours_observed(OursOnPsycopg), "psycopg_pool": PsycopgPool}
