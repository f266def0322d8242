"""The strategies on trial: what their servers are, and how their connections are asked."""

import ssl
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import psycopg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from instrumented_pool import ConnectionStrategy
from instrumented_pool._servers import Postgres, Server, Valkey
from instrumented_pool.strategies.asyncpg import AsyncpgConnectionStrategy
from instrumented_pool.strategies.psycopg import PsycopgConnectionStrategy
from instrumented_pool.strategies.redis import RedisConnectionStrategy
from instrumented_pool.strategies.streams import Stream, StreamsConnectionStrategy

CONNECT_TIMEOUT = 0.5  # seconds
LIMIT = 30  # connections that a server admits: more than the pool wants


class Subject(ABC):
    """A strategy, and what a caller does with its connections.

    Attributes:
        name: of its module.
        errors: what its callers have to expect, besides `OSError` and the pool's own.
        connect_timeout: seconds in which a connection is made or given up.
    """

    name: ClassVar[str]
    errors: ClassVar[tuple[type[Exception], ...]]
    connect_timeout: ClassVar[float] = CONNECT_TIMEOUT

    @abstractmethod
    def server(self) -> Server:
        """A new one, which admits `LIMIT` connections."""

    @abstractmethod
    def strategy(self, host: str, port: int, authority: Path | None = None) -> ConnectionStrategy[Any]:
        """The strategy on trial; with TLS if there is an authority, a file of whose certificates it trusts."""

    @abstractmethod
    async def ask(self, conn: Any, token: str) -> str:
        """Have the server repeat something."""

    @abstractmethod
    async def connections(self, server: Server) -> int:
        """How many clients the server has, the one that asks not counted."""


class OnValkey(Subject):
    def server(self) -> Server:
        return Valkey(maxclients=LIMIT)

    async def connections(self, server: Server) -> int:
        async with Redis(host=server.host, port=server.port) as client:
            return len(await client.client_list()) - 1


class OnPostgres(Subject):
    def server(self) -> Server:
        return Postgres(max_connections=LIMIT)

    async def connections(self, server: Server) -> int:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        async with await psycopg.AsyncConnection.connect(host=server.host, port=server.port, user="postgres") as conn:
            ((count,),) = await (await conn.execute(query)).fetchall()
            return int(count)


class RedisSubject(OnValkey):
    name = "redis"
    errors = (RedisError,)

    def strategy(self, host: str, port: int, authority: Path | None = None) -> RedisConnectionStrategy:
        return RedisConnectionStrategy(
            host=host,
            port=port,
            socket_connect_timeout=CONNECT_TIMEOUT,
            socket_timeout=CONNECT_TIMEOUT,
            ssl=authority is not None,
            ssl_ca_certs=None if authority is None else str(authority),
        )

    async def ask(self, conn: Any, token: str) -> str:
        reply: bytes = await conn.echo(token)
        return reply.decode()


class StreamsSubject(OnValkey):
    name = "streams"
    errors = (EOFError, ValueError)

    def strategy(self, host: str, port: int, authority: Path | None = None) -> StreamsConnectionStrategy:
        return StreamsConnectionStrategy(
            host, port, connect_timeout=CONNECT_TIMEOUT, ssl=None if authority is None else _trusting(authority)
        )

    async def ask(self, conn: Stream, token: str) -> str:
        conn.writer.write(f"ECHO {token}\r\n".encode())
        length = await conn.reader.readuntil(b"\r\n")
        if not length.startswith(b"$"):
            raise ValueError(length.decode())
        return (await conn.reader.readuntil(b"\r\n")).decode().rstrip()


class AsyncpgSubject(OnPostgres):
    name = "asyncpg"
    errors = (asyncpg.PostgresError, asyncpg.InterfaceError)

    def strategy(self, host: str, port: int, authority: Path | None = None) -> AsyncpgConnectionStrategy:
        tls = {} if authority is None else {"ssl": _trusting(authority), "direct_tls": True}
        return AsyncpgConnectionStrategy(host=host, port=port, user="postgres", timeout=CONNECT_TIMEOUT, **tls)

    async def ask(self, conn: Any, token: str) -> str:
        reply: str = await conn.fetchval("SELECT $1::text", token)
        return reply


class PsycopgSubject(OnPostgres):
    name = "psycopg"
    errors = (psycopg.Error,)
    connect_timeout = 2.0  # libpq's least

    def strategy(self, host: str, port: int, authority: Path | None = None) -> PsycopgConnectionStrategy:
        tls = {} if authority is None else {"sslmode": "verify-full", "sslrootcert": str(authority)}
        if authority is not None:
            tls["sslnegotiation"] = "direct"
        return PsycopgConnectionStrategy(
            host=host, port=port, user="postgres", connect_timeout=2, autocommit=True, **tls
        )

    async def ask(self, conn: Any, token: str) -> str:
        ((reply,),) = await (await conn.execute("SELECT %s::text", (token,))).fetchall()
        return str(reply)


def _trusting(authority: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority))


SUBJECTS: tuple[Subject, ...] = (RedisSubject(), StreamsSubject(), AsyncpgSubject(), PsycopgSubject())
