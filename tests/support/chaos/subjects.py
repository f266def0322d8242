"""The strategies on trial: what their servers are, and how their connections are asked."""

import ssl
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import asyncpg  # type: ignore[import-untyped]
import psycopg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from instrumented_pool import ConnectionStrategy
from instrumented_pool._servers import Postgres, Server, Valkey
from instrumented_pool.strategies.asyncpg import AsyncpgConnectionStrategy
from instrumented_pool.strategies.psycopg import PsycopgConnectionStrategy
from instrumented_pool.strategies.redis import RedisConnectionStrategy
from instrumented_pool.strategies.streams import Stream, StreamsConnectionStrategy

PATIENCE = 0.5  # seconds for connecting
LIMIT = 30  # connections that a server admits: more than the pool wants


class Subject(ABC):
    """A strategy, and what a caller does with its connections.

    Attributes:
        name: of its module.
        errors: of its driver's own.
        whole_within: seconds after the end of a fault in which everybody must have been served again.
        at_rest_within: seconds in which all must be over once nobody asks any more.
    """

    name: ClassVar[str]
    errors: ClassVar[tuple[type[Exception], ...]]
    whole_within: ClassVar[float] = 5.0
    at_rest_within: ClassVar[float] = 15.0

    @property
    def expected(self) -> tuple[type[Exception], ...]:
        """All that its callers have to expect. Time-outs are `OSError`s, the pool's too."""
        return (OSError, *self.errors)

    @abstractmethod
    def server(self) -> Server:
        """A new one, which admits `LIMIT` connections."""

    @abstractmethod
    def strategy(
        self, host: str, port: int, authority: Path | None = None, *, patience: float = PATIENCE
    ) -> ConnectionStrategy[Any]:
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
        try:
            async with Redis(host=server.host, port=server.port) as client:
                return len(await client.client_list()) - 1
        except RedisError:  # not even we are let in
            return LIMIT


class OnPostgres(Subject):
    def server(self) -> Server:
        return Postgres(max_connections=LIMIT)

    async def connections(self, server: Server) -> int:
        query = "SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
        where = f"host={server.host} port={server.port} user=postgres"
        try:
            async with await psycopg.AsyncConnection.connect(where) as conn:
                ((count,),) = await (await conn.execute(query)).fetchall()
                return int(count)
        except psycopg.OperationalError:
            return LIMIT


class RedisSubject(OnValkey):
    name = "redis"
    errors = (RedisError,)

    def strategy(
        self, host: str, port: int, authority: Path | None = None, *, patience: float = PATIENCE
    ) -> RedisConnectionStrategy:
        return RedisConnectionStrategy(
            host=host,
            port=port,
            socket_connect_timeout=patience,
            socket_timeout=patience,
            ssl=authority is not None,
            ssl_ca_certs=None if authority is None else str(authority),
        )

    async def ask(self, conn: Any, token: str) -> str:
        reply: bytes = await conn.echo(token)
        return reply.decode()


class StreamsSubject(OnValkey):
    name = "streams"
    errors = (EOFError, ValueError)

    made: type[StreamsConnectionStrategy] = StreamsConnectionStrategy

    def strategy(
        self, host: str, port: int, authority: Path | None = None, *, patience: float = PATIENCE
    ) -> StreamsConnectionStrategy:
        return self.made(host, port, connect_timeout=patience, ssl=None if authority is None else _trusting(authority))

    async def ask(self, conn: Stream, token: str) -> str:
        conn.writer.write(f"ECHO {token}\r\n".encode())
        length = await conn.reader.readuntil(b"\r\n")
        if not length.startswith(b"$"):
            raise ValueError(length.decode())
        return (await conn.reader.readuntil(b"\r\n")).decode().rstrip()


class AsyncpgSubject(OnPostgres):
    name = "asyncpg"
    errors = (asyncpg.PostgresError, asyncpg.InterfaceError)

    def strategy(
        self, host: str, port: int, authority: Path | None = None, *, patience: float = PATIENCE
    ) -> AsyncpgConnectionStrategy:
        tls: dict[str, Any] = {} if authority is None else {"ssl": _trusting(authority), "direct_tls": True}
        return AsyncpgConnectionStrategy(host=host, port=port, user="postgres", timeout=patience, **tls)

    async def ask(self, conn: Any, token: str) -> str:
        reply: str = await conn.fetchval("SELECT $1::text", token)
        return reply


class PsycopgSubject(OnPostgres):
    name = "psycopg"
    errors = (psycopg.Error,)
    whole_within = 15.0  # it has the server cancel what its caller gave up, and is patient for 10 s

    def strategy(
        self, host: str, port: int, authority: Path | None = None, *, patience: float = PATIENCE
    ) -> PsycopgConnectionStrategy:
        tls: dict[str, Any] = {}
        if authority is not None:
            tls = {"sslmode": "verify-full", "sslrootcert": str(authority), "sslnegotiation": "direct"}
        return PsycopgConnectionStrategy(
            host=host,
            port=port,
            user="postgres",
            connect_timeout=max(2, round(patience)),  # libpq's least
            autocommit=True,
            **tls,
        )

    async def ask(self, conn: Any, token: str) -> str:
        ((reply,),) = await (await conn.execute("SELECT %s::text", (token,))).fetchall()
        return str(reply)


def _trusting(authority: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority))


SUBJECTS: tuple[Subject, ...] = (RedisSubject(), StreamsSubject(), AsyncpgSubject(), PsycopgSubject())
