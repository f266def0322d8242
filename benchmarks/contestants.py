"""The pools that are compared, each driven as its own documentation tells its users to.

Each lends plain objects, or the least that it takes for a connection, so that what is measured is the pool. Time-outs
are left at each pool's default: they are what its users pay.
"""

from abc import ABC, abstractmethod
from asyncio import Semaphore
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, ClassVar

import asyncio_connection_pool
import generic_connection_pool.asyncio
from redis.asyncio import BlockingConnectionPool, Connection
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import greenlet_spawn

from instrumented_pool import ConnectionPool, ConnectionStrategy

Lease = AbstractAsyncContextManager[object]


class Contestant(ABC):
    """A pool of `size` connections.

    Attributes:
        name: as it is known.
        distribution: the package that it comes in, or None where it is written here.
        lends: the class of its connections, for what they weigh is none of the pool's.
        lease: what `async with` is given, again for each acquire.
    """

    name: ClassVar[str]
    distribution: ClassVar[str | None] = None
    lends: ClassVar[type[object]] = object
    lease: Callable[[], Lease]

    @abstractmethod
    def __init__(self, size: int) -> None: ...

    async def close(self) -> None:  # noqa: B027  some have nothing to close
        """Leave nothing behind."""


class Floor(Contestant):
    """The least that an asynchronous context manager over a deque can do: it cannot even wait."""

    name = "floor"

    def __init__(self, size: int) -> None:
        self.idle: deque[object] = deque(object() for _ in range(size))
        self.lease = self.get_connection

    def get_connection(self) -> Lease:
        return _FloorLease(self)


class _FloorLease:
    __slots__ = ("conn", "pool")

    def __init__(self, pool: Floor) -> None:
        self.pool = pool

    async def __aenter__(self) -> object:
        self.conn = self.pool.idle.pop()
        return self.conn

    async def __aexit__(self, *exc: object) -> None:
        self.pool.idle.append(self.conn)


class SemaphorePool(Contestant):
    """What people write when they want no pool: it neither makes connections nor looks at them."""

    name = "semaphore"

    def __init__(self, size: int) -> None:
        self.free = Semaphore(size)
        self.idle: deque[object] = deque(object() for _ in range(size))
        self.lease = self.get_connection

    def get_connection(self) -> Lease:
        return _SemaphoreLease(self)


class _SemaphoreLease:
    __slots__ = ("conn", "pool")

    def __init__(self, pool: SemaphorePool) -> None:
        self.pool = pool

    async def __aenter__(self) -> object:
        await self.pool.free.acquire()
        self.conn = self.pool.idle.pop()
        return self.conn

    async def __aexit__(self, *exc: object) -> None:
        self.pool.idle.append(self.conn)
        self.pool.free.release()


class Ours(Contestant):
    name = "instrumented-pool"
    distribution = "instrumented-pool"

    def __init__(self, size: int) -> None:
        self.pool: ConnectionPool[object] = ConnectionPool(strategy=Strategy(), max_size=size)
        self.lease = self.pool.get_connection

    async def close(self) -> None:
        await self.pool.close()


class Strategy(ConnectionStrategy[object]):
    async def create_connection(self) -> object:
        return object()

    def connection_is_closed(self, conn: object) -> bool:
        return False

    def close_connection(self, conn: object) -> None:
        return None


class Ancestor(Contestant):
    name = "asyncio-connection-pool"
    distribution = "asyncio-connection-pool"

    def __init__(self, size: int) -> None:
        pool: Any = asyncio_connection_pool.ConnectionPool(strategy=AncestorStrategy(), max_size=size)
        self.lease = pool.get_connection


class AncestorStrategy(asyncio_connection_pool.ConnectionStrategy[object]):
    async def make_connection(self) -> object:
        return object()

    def connection_is_closed(self, conn: object) -> bool:
        return False

    async def close_connection(self, conn: object) -> None:
        return None


class Generic(Contestant):
    """Of one endpoint, with the background collector that its README turns on."""

    name = "generic-connection-pool"
    distribution = "generic-connection-pool"

    def __init__(self, size: int) -> None:
        self.pool: Any = generic_connection_pool.asyncio.ConnectionPool(
            _GenericManager(), background_collector=True, min_idle=size, max_size=size, total_max_size=size
        )
        self.lease = partial(self.pool.connection, "endpoint")

    async def close(self) -> None:
        await self.pool.close()


class _GenericManager(generic_connection_pool.asyncio.BaseConnectionManager[str, object]):
    async def create(self, endpoint: str) -> object:
        return object()

    async def dispose(self, endpoint: str, conn: object) -> None:
        return None


class _RedisConnection(Connection):
    """One that is connected to nothing, and has nothing to read."""

    async def connect(self) -> None:
        return None

    async def can_read(self) -> bool:
        return False

    async def disconnect(self, *args: object, **kwargs: object) -> None:
        return None


class Redis(Contestant):
    """Its `BlockingConnectionPool`, by the two calls with which its client surrounds every command."""

    name = "redis-py"
    distribution = "redis"
    lends = _RedisConnection

    def __init__(self, size: int) -> None:
        self.pool = BlockingConnectionPool(max_connections=size, connection_class=_RedisConnection)
        self.lease = partial(_RedisLease, self.pool)

    async def close(self) -> None:
        await self.pool.aclose()


class _RedisLease:
    __slots__ = ("conn", "pool")

    def __init__(self, pool: BlockingConnectionPool) -> None:
        self.pool: Any = pool

    async def __aenter__(self) -> object:
        self.conn = await self.pool.get_connection()
        return self.conn

    async def __aexit__(self, *exc: object) -> None:
        await self.pool.release(self.conn)


class _SqlConnection:
    """What the pool asks of a connection: `rollback` at every return."""

    def rollback(self) -> None:
        return None

    def close(self) -> None:
        return None


class SqlAlchemy(Contestant):
    """`AsyncAdaptedQueuePool`, entered as the asyncio engines do: in a greenlet, once to acquire, once to release."""

    name = "SQLAlchemy"
    distribution = "sqlalchemy"
    lends = _SqlConnection

    def __init__(self, size: int) -> None:
        self.pool = AsyncAdaptedQueuePool(_SqlConnection, pool_size=size, max_overflow=0)  # type: ignore[arg-type]
        self.lease = partial(_SqlAlchemyLease, self.pool)

    async def close(self) -> None:
        await greenlet_spawn(self.pool.dispose)


class _SqlAlchemyLease:
    __slots__ = ("conn", "pool")

    def __init__(self, pool: AsyncAdaptedQueuePool) -> None:
        self.pool = pool

    async def __aenter__(self) -> object:
        self.conn = await greenlet_spawn(self.pool.connect)
        return self.conn.dbapi_connection

    async def __aexit__(self, *exc: object) -> None:
        await greenlet_spawn(self.conn.close)


POOLS: tuple[type[Contestant], ...] = (SemaphorePool, Ours, Ancestor, Generic, Redis, SqlAlchemy)
"""Those that can wait."""

CONTESTANTS: tuple[type[Contestant], ...] = (Floor, *POOLS)
