"""The servers, and what they know of who is connected."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

from instrumented_pool._servers import Postgres, Valkey

_LOOKS, _APART = 100, 0.02  # at the server, until what has been closed is closed there, too


class Backend(ABC):
    """A server of ours, with a connection of our own beside the pools'.

    Attributes:
        server: which may be killed and started again; then the books are not asked any more.
    """

    def __init__(self, server: Postgres | Valkey) -> None:
        self.server = server

    async def __aenter__(self) -> Self:
        await self.server.start()
        await self._look_in()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._look_out()
        self.server.stop()

    @property
    def url(self) -> str:
        return self.server.url

    @abstractmethod
    async def _look_in(self) -> None:
        """Connect."""

    @abstractmethod
    async def _look_out(self) -> None:
        """Disconnect, be the server there or not."""

    @abstractmethod
    async def opened(self) -> int:
        """Connections ever opened, our own among them; exact once they are closed."""

    @abstractmethod
    async def connected(self) -> int:
        """Connections that are open now, besides our own."""

    async def left(self, before: int) -> int:
        """Connections that are open beyond those before, when those that are being closed have had two seconds."""
        looks = _LOOKS
        while (left := await self.connected() - before) > 0 and looks:
            looks -= 1
            await asyncio.sleep(_APART)
        return max(left, 0)


class PostgresBackend(Backend):
    def __init__(self) -> None:
        super().__init__(Postgres(max_connections=300))

    async def _look_in(self) -> None:
        import asyncpg  # type: ignore[import-untyped]  # here, as nothing of it is wanted where Redis is measured

        self._own: Any = await asyncpg.connect(self.url)

    async def _look_out(self) -> None:
        self._own.terminate()

    async def opened(self) -> int:
        count: int = await self._own.fetchval(
            "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
        )
        return count

    async def connected(self) -> int:
        count: int = await self._own.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return count


class ValkeyBackend(Backend):
    def __init__(self) -> None:
        super().__init__(Valkey())

    async def _look_in(self) -> None:
        from redis.asyncio import Redis

        self._own = Redis.from_url(self.url, single_connection_client=True)
        await self._own.ping()

    async def _look_out(self) -> None:
        await self._own.aclose()

    async def opened(self) -> int:
        return await self._told("stats", "total_connections_received")

    async def connected(self) -> int:
        return await self._told("clients", "connected_clients") - 1

    async def _told(self, section: str, field: str) -> int:
        told: dict[str, Any] = await self._own.info(section)
        return int(told[field])


BACKENDS: dict[str, Callable[[], Backend]] = {
    "asyncpg": PostgresBackend,
    "psycopg": PostgresBackend,
    "redis": ValkeyBackend,
}
"""By the names of drivers."""
